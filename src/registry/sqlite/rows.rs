//! The rows of the tables, and the sums by which a start knows that they are what was written.

use serde::Serialize;

/// A row with its sums.
#[derive(Debug, Serialize)]
pub(super) struct Summed<'a, R> {
    #[serde(flatten)]
    row: &'a R,
    #[serde(skip_serializing_if = "Option::is_none")]
    sum: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_sum: Option<u32>,
}

/// CRC-32C of the fields of a row, in the order of its table and as JSON.
pub(super) fn sum(fields: &impl Serialize) -> u32 {
    let text = serde_json::to_vec(fields).expect("rows are numbers and texts");
    crc32c::crc32c(&text)
}

/// A new token.
#[derive(Debug, Serialize)]
pub(in crate::registry) struct TokenRow {
    pub(in crate::registry) path: String,
    pub(in crate::registry) size: u32,
    pub(in crate::registry) label: Option<String>,
    pub(in crate::registry) created_index: u64,
    pub(in crate::registry) created_at: u64,
    pub(in crate::registry) expires_at: u64,
    pub(in crate::registry) client_port: Option<u16>,
    pub(in crate::registry) first_entry: u64,
}

#[derive(Debug, Serialize)]
pub(in crate::registry) struct RegistrationRow {
    pub(in crate::registry) created_index: u64,
    pub(in crate::registry) token_index: u64,
    pub(in crate::registry) member: String,
    pub(in crate::registry) value: String,
    pub(in crate::registry) founder: u8,
    pub(in crate::registry) registered_at: u64,
    pub(in crate::registry) origin: Option<String>,
}

/// All of a token that may change.
#[derive(Debug, Serialize)]
pub(in crate::registry) struct UpdateRow {
    pub(in crate::registry) token_index: u64,
    pub(in crate::registry) expires_at: u64,
    pub(in crate::registry) revoked_at: Option<u64>,
    pub(in crate::registry) noted: u32,
    pub(in crate::registry) expiry_recorded: u8,
}

impl TokenRow {
    /// With the sum of what never changes and the one of what [`UpdateRow`] changes.
    pub(super) fn summed(&self) -> Summed<'_, Self> {
        let Self { created_index, path, size, label, created_at, client_port, first_entry, .. } =
            self;
        let fixed = (created_index, path, size, label, created_at, client_port, first_entry);
        let state = UpdateRow {
            token_index: self.created_index,
            expires_at: self.expires_at,
            revoked_at: None,
            noted: 0,
            expiry_recorded: 0,
        };
        Summed { row: self, sum: Some(sum(&fixed)), state_sum: state.summed().state_sum }
    }
}

impl RegistrationRow {
    pub(super) fn summed(&self) -> Summed<'_, Self> {
        let Self { created_index, token_index, member, value, founder, registered_at, origin } =
            self;
        let all = (created_index, token_index, member, value, founder, registered_at, origin);
        Summed { row: self, sum: Some(sum(&all)), state_sum: None }
    }
}

impl UpdateRow {
    pub(super) fn summed(&self) -> Summed<'_, Self> {
        let Self { token_index, expires_at, revoked_at, noted, expiry_recorded } = self;
        let state = (token_index, expires_at, revoked_at, noted, expiry_recorded);
        Summed { row: self, sum: None, state_sum: Some(sum(&state)) }
    }
}
