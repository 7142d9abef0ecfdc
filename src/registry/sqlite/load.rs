//! What a start reads: all tokens and their registrations.

use std::path::Path;

use serde::de::DeserializeOwned;
use sqlx::SqliteConnection;

use super::rows::sum;
use super::trouble;
use crate::admission::{ClusterSize, Founding, Registered, UnixMillis};
use crate::membership::{InitialCluster, MemberId};
use crate::registry::OpenError;
use crate::registry::state::Loaded;
use crate::registry::timeline::Head;
use crate::registry::tokens::Tokens;
use crate::token::TokenPath;

/// How many rows are read at a time. They travel as one JSON text, because each hand-over from the
/// thread of the connection costs two changes of tasks: a million tokens are a million rows.
const PACK: i64 = 1024;

const TOKENS: &str = "
    select json_group_array(json_array(created_index, path, size, label, created_at, expires_at,
               revoked_at, noted, expiry_recorded, client_port, first_entry, sum, state_sum)
               order by created_index)
        from (select * from token where created_index > ? order by created_index limit ?)";

/// A row of [`TOKENS`]; the last two are its sums, which rows of earlier versions do not have.
type StoredToken = (
    i64,
    String,
    i64,
    Option<String>,
    i64,
    i64,
    Option<i64>,
    i64,
    i64,
    Option<i64>,
    i64,
    Option<u32>,
    Option<u32>,
);

const REGISTRATIONS: &str = "
    select json_group_array(json_array(created_index, token_index, member, value, founder,
               registered_at, origin, sum) order by created_index)
        from (select * from registration where created_index > ? order by created_index limit ?)";

type StoredRegistration = (i64, i64, String, String, i64, i64, Option<String>, Option<u32>);

/// Reads everything.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<Loaded, OpenError> {
    let failed = |source| trouble::failure(path.to_owned(), "read it", source);
    let damaged = |finding| OpenError::Damaged { path: path.to_owned(), finding };
    let (cluster_id, last_index): (String, i64) =
        sqlx::query_as("select cluster_id, last_index from registry")
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
    let (seq, hash): (i64, String) =
        sqlx::query_as("select timeline_seq, timeline_hash from registry")
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
    let head = Head::stored(seq.cast_unsigned(), &hash)
        .ok_or_else(|| damaged("the end of the timeline is no hash".to_owned()))?;
    let last_index = last_index.cast_unsigned();
    let mut tokens = Tokens::default();
    let mut after = i64::MIN;
    while let Some(pack) = pack::<StoredToken>(&mut *connection, TOKENS, after).await {
        for stored in pack.map_err(failed)? {
            after = stored.0;
            let founding = founding(stored).ok_or_else(|| {
                damaged(format!("the token with index {after} is not what was written"))
            })?;
            if founding.created_index > last_index {
                return Err(damaged(format!("the token with index {after} is from later")));
            }
            if !tokens.store(&founding) {
                return Err(damaged(format!(
                    "the path of the token with index {after} is there twice"
                )));
            }
        }
    }
    after = i64::MIN;
    while let Some(pack) = pack::<StoredRegistration>(&mut *connection, REGISTRATIONS, after).await
    {
        for stored in pack.map_err(failed)? {
            after = stored.0;
            let (token, is_founder) = (stored.1.cast_unsigned(), stored.4 != 0);
            let Some(registered) = registered(stored) else {
                let finding =
                    format!("the registration with index {after} is not what was written");
                return Err(damaged(finding));
            };
            if registered.index > last_index || !tokens.add(token, &registered, is_founder) {
                let finding = format!(
                    "the registration with index {after} is from later, or of a token that cannot have it"
                );
                return Err(damaged(finding));
            }
        }
    }
    Ok(Loaded { tokens, last_index, cluster_id, head })
}

/// The next rows of a query of packs; `None` behind the last.
async fn pack<T: DeserializeOwned>(
    connection: &mut SqliteConnection,
    query: &'static str,
    after: i64,
) -> Option<Result<Vec<T>, sqlx::Error>> {
    let text: Result<String, _> =
        sqlx::query_scalar(query).bind(after).bind(PACK).fetch_one(connection).await;
    let rows = text.and_then(|text| {
        serde_json::from_str::<Vec<T>>(&text).map_err(|error| sqlx::Error::Decode(error.into()))
    });
    rows.map(|rows| (!rows.is_empty()).then_some(rows)).transpose()
}

fn founding(stored: StoredToken) -> Option<Founding> {
    let (created_index, path, size, label, created_at, expires_at, revoked_at, ..) = stored;
    let (.., noted, expiry_recorded, client_port, first_entry, fixed_sum, state_sum) = stored;
    let fixed = (created_index, &path, size, &label, created_at, client_port, first_entry);
    let state = (created_index, expires_at, revoked_at, noted, expiry_recorded);
    if fixed_sum.is_some_and(|stored| stored != sum(&fixed))
        || state_sum.is_some_and(|stored| stored != sum(&state))
    {
        return None;
    }
    let created_index = u64::try_from(created_index).ok()?;
    Some(Founding {
        path: TokenPath::stored(path),
        size: ClusterSize::stored(u32::try_from(size).ok()?)?,
        label: label.map(|text| text.parse()).transpose().ok()?,
        created_index,
        index: created_index,
        created_at: UnixMillis(u64::try_from(created_at).ok()?),
        expires_at: UnixMillis(u64::try_from(expires_at).ok()?),
        revoked_at: revoked_at.map(|at| UnixMillis(at.cast_unsigned())),
        noted: u32::try_from(noted).ok()?,
        expiry_recorded: expiry_recorded != 0,
        client_port: client_port.map(u16::try_from).transpose().ok()?,
        first_entry: u64::try_from(first_entry).ok()?,
        founders: Vec::new(),
        surplus: Vec::new(),
    })
}

fn registered(stored: StoredRegistration) -> Option<Registered> {
    let (index, token_index, member, value, founder, at, origin, stored_sum) = stored;
    let all = (index, token_index, &member, &value, founder, at, &origin);
    if stored_sum.is_some_and(|stored| stored != sum(&all)) {
        return None;
    }
    let key: MemberId = member.parse().ok()?;
    value.parse::<InitialCluster>().ok()?;
    let index = u64::try_from(index).ok()?;
    let at = UnixMillis(u64::try_from(at).ok()?);
    let from = origin.and_then(|text| text.parse().ok());
    Some(Registered { key, value, index, at, from })
}
