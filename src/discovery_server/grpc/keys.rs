use bytes::Bytes;
use tonic::Status;

use super::refuse;
use crate::admission::{Founding, Registered};
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::etcdserverpb::{RangeRequest, RangeResponse};
use crate::proto::mvccpb::KeyValue;
use crate::token::{self, Token, TokenPath};

/// Where etcd keeps its registries.
pub(super) const PREFIX: &str = "/_etcd/registry/";
/// What `etcdctl endpoint health` reads.
pub(super) const HEALTH: &str = "health";

/// A key or a range of keys that all belong to one token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    token: Result<TokenPath, token::Error>,
    /// The key below the token, as `_config/size`; empty for the token itself.
    below: String,
    key: Bytes,
    /// The end of the range, not in it; empty for a single key.
    end: Bytes,
}

/// A key that can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leaf<'a> {
    Size,
    Member(&'a str),
}

impl Scope {
    /// Understands a range, which must not reach beyond one token.
    pub(super) fn of(key: &Bytes, end: &Bytes) -> Result<Self, Status> {
        let text = std::str::from_utf8(key).map_err(|_no_text| outside())?;
        let rest = text.strip_prefix(PREFIX).ok_or_else(outside)?;
        let (name, below) = rest.split_once('/').unwrap_or((rest, ""));
        // The end of all keys that start with the token.
        let mut last = format!("{PREFIX}{name}").into_bytes();
        match last.last_mut() {
            Some(byte) if !name.is_empty() => *byte += 1,
            _ => return Err(outside()),
        }
        let everything = end.as_ref() == [0];
        if everything || end.as_ref() > last.as_slice() {
            return Err(outside());
        }
        let token = name.parse::<Token>().map(|token| TokenPath::short(&token));
        Ok(Self { token, below: below.to_owned(), key: key.clone(), end: end.clone() })
    }

    /// The token, if the text can be one.
    pub(super) fn token(&self) -> Option<&TokenPath> {
        self.token.as_ref().ok()
    }

    /// What a node that was given more than a token asks with, such as a whole URL (in which etcd has made
    /// one slash of two), and the token at its end.
    pub(super) fn not_bare(&self) -> Option<(String, String)> {
        let asked = std::str::from_utf8(&self.key).ok()?.strip_prefix(PREFIX)?;
        let used = asked.strip_suffix("/_config/size")?;
        let (_, last) = used.rsplit_once('/')?;
        last.parse::<Token>().ok()?;
        Some((used.replacen(":/", "://", 1), last.to_owned()))
    }

    /// What a write to this key means.
    pub(super) fn leaf(&self) -> Result<(&TokenPath, Leaf<'_>), Status> {
        let token = self.token.as_ref().map_err(refuse::no_token)?;
        match self.below.split_once('/') {
            Some(("_config", "size")) => Ok((token, Leaf::Size)),
            Some(("members", id)) if !id.contains('/') => Ok((token, Leaf::Member(id))),
            _ => Err(outside()),
        }
    }

    fn contains(&self, key: &[u8]) -> bool {
        if self.end.is_empty() { self.key == key } else { *self.key <= *key && *key < *self.end }
    }

    /// The keys of a token that are in this range and were made at `from` or later, oldest first.
    pub(super) fn since(&self, founding: &Founding, from: u64) -> Vec<KeyValue> {
        all(founding)
            .filter(|kv| kv.mod_revision >= revision(from) && self.contains(&kv.key))
            .collect()
    }
}

/// A revision as etcd's messages have it.
pub(super) fn revision(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

/// All keys of a token, oldest first.
fn all(founding: &Founding) -> impl Iterator<Item = KeyValue> {
    let members = founding.founders.iter().chain(&founding.surplus);
    std::iter::once(size(founding)).chain(members.map(|held| member(&founding.path, held)))
}

/// The key of the size.
pub(super) fn size(founding: &Founding) -> KeyValue {
    let value = founding.size.to_string();
    key_value(&founding.path, "_config/size", value, founding.created_index)
}

/// The key of a registration.
pub(super) fn member(path: &TokenPath, held: &Registered) -> KeyValue {
    key_value(path, &format!("members/{}", held.key), held.value.clone(), held.index)
}

fn key_value(path: &TokenPath, below: &str, value: String, index: u64) -> KeyValue {
    let token = path.as_str().trim_start_matches('/');
    KeyValue {
        key: format!("{PREFIX}{token}/{below}").into(),
        value: value.into(),
        create_revision: revision(index),
        mod_revision: revision(index),
        version: 1,
        lease: 0,
    }
}

/// Answers a read; the header is left to the caller.
pub(super) fn range(
    scope: &Scope,
    request: &RangeRequest,
    founding: Option<&Founding>,
    now: u64,
) -> Result<RangeResponse, Status> {
    if request.revision > revision(now) {
        return Err(refuse::future());
    }
    // Keys are only ever added: an older state is what was there by then.
    let at = if request.revision > 0 { request.revision } else { i64::MAX };
    let mut kvs = founding.map_or_else(Vec::new, |founding| scope.since(founding, 0));
    kvs.retain(|kv| kv.create_revision <= at);
    let count = i64::try_from(kvs.len()).unwrap_or(i64::MAX);
    let bound = |max: i64| if max == 0 { i64::MAX } else { max };
    kvs.retain(|kv| {
        (request.min_mod_revision..=bound(request.max_mod_revision)).contains(&kv.mod_revision)
            && (request.min_create_revision..=bound(request.max_create_revision))
                .contains(&kv.create_revision)
    });
    kvs.sort_by(|a, b| a.key.cmp(&b.key));
    match request.sort_target() {
        SortTarget::Key | SortTarget::Version => {}
        SortTarget::Create | SortTarget::Mod => kvs.sort_by_key(|kv| kv.create_revision),
        SortTarget::Value => kvs.sort_by(|a, b| a.value.cmp(&b.value)),
    }
    if request.sort_order() == SortOrder::Descend {
        kvs.reverse();
    }
    let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0);
    let more = limit.is_some_and(|limit| kvs.len() > limit) && !request.count_only;
    kvs.truncate(if request.count_only { 0 } else { limit.unwrap_or(usize::MAX) });
    if request.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value.clear());
    }
    Ok(RangeResponse { header: None, kvs, more, count })
}

/// A key that is not one of a token's.
fn outside() -> Status {
    Status::permission_denied(format!(
        "the discovery service has the keys {PREFIX}<token>/_config/size and \
         {PREFIX}<token>/members/<id> of one token at a time, and no others"
    ))
}
