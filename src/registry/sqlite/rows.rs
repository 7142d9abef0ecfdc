//! The rows of the tables, and the sums by which a start knows that they are what was written.

use serde::Serialize;

use crate::registry::timeline::Row as Link;

/// CRC-32C of the fields of a row, in the order of its table and as JSON.
pub(super) fn sum(fields: &impl Serialize) -> u32 {
    written(&mut Vec::new(), fields)
}

/// A row that can be written as a JSON array.
pub(super) trait Row {
    fn write(&self, out: &mut Vec<u8>);
}

/// Rows of a table as one JSON array, for its statement.
pub(super) fn array<'a, R: Row + 'a>(rows: impl ExactSizeIterator<Item = &'a R>) -> String {
    /// Most rows have fewer bytes.
    const ROW: usize = 384;
    let mut out = Vec::with_capacity(2 + rows.len() * ROW);
    out.push(b'[');
    for row in rows {
        if out.len() > 1 {
            out.push(b',');
        }
        row.write(&mut out);
    }
    out.push(b']');
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// Writes fields as a JSON array; their sum.
fn written(out: &mut Vec<u8>, fields: &impl Serialize) -> u32 {
    let at = out.len();
    serde_json::to_writer(&mut *out, fields).expect("rows are numbers and texts");
    crc32c::crc32c(&out[at..])
}

/// Writes fields and, as one more of them, their sum.
fn summed(out: &mut Vec<u8>, fields: &impl Serialize) {
    let sum = written(out, fields);
    out.pop();
    out.extend_from_slice(format!(",{sum}]").as_bytes());
}

/// A new token.
#[derive(Debug)]
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

#[derive(Debug)]
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
#[derive(Debug)]
pub(in crate::registry) struct UpdateRow {
    pub(in crate::registry) token_index: u64,
    pub(in crate::registry) expires_at: u64,
    pub(in crate::registry) revoked_at: Option<u64>,
    pub(in crate::registry) noted: u32,
    pub(in crate::registry) expiry_recorded: u8,
}

/// What never changes, what [`UpdateRow`] changes, and their sums.
impl Row for TokenRow {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { created_index, path, size, label, created_at, client_port, first_entry, .. } =
            self;
        let fixed = (created_index, path, size, label, created_at, client_port, first_entry);
        out.push(b'[');
        let sum = written(out, &fixed);
        out.push(b',');
        let state = UpdateRow {
            token_index: self.created_index,
            expires_at: self.expires_at,
            revoked_at: None,
            noted: 0,
            expiry_recorded: 0,
        };
        let state_sum = written(out, &state.fields());
        out.extend_from_slice(format!(",{sum},{state_sum}]").as_bytes());
    }
}

impl Row for RegistrationRow {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { created_index, token_index, member, value, founder, registered_at, origin } =
            self;
        let all = (created_index, token_index, member, value, founder, registered_at, origin);
        summed(out, &all);
    }
}

impl UpdateRow {
    fn fields(&self) -> impl Serialize {
        let Self { token_index, expires_at, revoked_at, noted, expiry_recorded } = *self;
        (token_index, expires_at, revoked_at, noted, expiry_recorded)
    }
}

impl Row for UpdateRow {
    fn write(&self, out: &mut Vec<u8>) {
        summed(out, &self.fields());
    }
}

impl Row for Link {
    fn write(&self, out: &mut Vec<u8>) {
        written(out, &(self.seq, &self.token, &self.body, &self.hash));
    }
}
