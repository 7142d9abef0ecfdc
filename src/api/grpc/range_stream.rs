//! The pieces of `KV.RangeStream` (etcd 3.7): a range of any size, without holding it in memory.

use bytes::Bytes;
use tonic::Status;

use crate::auth::Caller;
use crate::node::{Error, Handle};
use crate::proto::etcdserverpb as pb;
use pb::range_request::{SortOrder, SortTarget};

/// Keys in the first piece; the next ones are fitted to [`PIECE_BYTES`].
const FIRST_KEYS: i64 = 10;
/// Keys in a piece at most.
const MOST_KEYS: i64 = 10_000;
/// What a piece should hold, in bytes of keys and values.
const PIECE_BYTES: usize = 512 << 10;

/// Refuses what would need the whole range first.
pub(super) fn check(request: &pb::RangeRequest) -> Result<(), Status> {
    let by_key = request.sort_target == i32::from(SortTarget::Key);
    let as_stored = request.sort_order == i32::from(SortOrder::None)
        || (by_key && request.sort_order == i32::from(SortOrder::Ascend));
    if !as_stored {
        return Err(Status::unimplemented("RangeStream does not support custom sort orders"));
    }
    let filters = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    if filters.iter().any(|bound| *bound != 0) {
        return Err(Status::unimplemented("RangeStream does not support revision filters"));
    }
    Ok(())
}

/// A range that is sent piece by piece.
#[derive(Debug)]
pub(super) struct Pieces {
    handle: Handle,
    /// What is left to read, at the revision that was fixed.
    left: pb::RangeRequest,
    /// Keys that may still be sent, if the request has a limit.
    limit: Option<i64>,
    keys: i64,
    /// Keys of the whole range, which the last piece tells.
    count: i64,
    /// The newest revision when it began, which the header says.
    current: i64,
}

impl Pieces {
    /// Fixes the revision and counts; the caller is checked against the users of that state.
    pub(super) fn begin(
        handle: Handle,
        caller: &Caller,
        request: pb::RangeRequest,
    ) -> Result<Self, Error> {
        let count = pb::RangeRequest { count_only: true, limit: 0, ..request.clone() };
        let (counted, current) = {
            let state = handle.state();
            state.may_read(caller, &request)?;
            (state.range(&count), state.revision())
        };
        let count = handle.check(counted)?.count;
        let revision = if request.revision > 0 { request.revision } else { current };
        // No number below one is a limit.
        let limit = Some(request.limit).filter(|it| *it > 0);
        // As in etcd, a piece that holds everything is sorted by what is named without an order. More
        // pieces are in the order of the keys: each begins behind the last key of the one before.
        let whole = count <= FIRST_KEYS && limit.is_none_or(|limit| count <= limit);
        let sort_target = if whole { request.sort_target } else { SortTarget::Key.into() };
        let left = pb::RangeRequest { revision, sort_target, ..request };
        Ok(Self { handle, left, limit, keys: FIRST_KEYS, count, current })
    }

    /// The next piece; the last one has a header.
    pub(super) async fn next(&mut self) -> Result<pb::RangeResponse, Error> {
        // Others on this thread get their turn.
        tokio::task::yield_now().await;
        let wanted = self.limit.map_or(self.keys, |limit| self.keys.min(limit));
        let request = pb::RangeRequest { limit: wanted, ..self.left.clone() };
        let read = self.handle.state().range(&request);
        let mut piece = self.handle.check(read)?;
        piece.header = None;
        piece.count = 0;
        let got = i64::try_from(piece.kvs.len()).unwrap_or(i64::MAX);
        self.limit = self.limit.map(|limit| limit - got);
        let exhausted = self.limit.is_some_and(|limit| limit <= 0);
        let last = !piece.more || exhausted || self.left.count_only;
        if last {
            piece.header = Some(self.handle.header_at(self.current));
            piece.count = self.count;
            piece.more &= exhausted;
            return Ok(piece);
        }
        piece.more = false;
        if let Some(kv) = piece.kvs.last() {
            self.left.key = after(&kv.key);
        }
        let bytes: usize = piece.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
        self.keys = if bytes > PIECE_BYTES {
            (self.keys / 2).max(1)
        } else {
            self.keys.saturating_mul(2).min(MOST_KEYS)
        };
        Ok(piece)
    }
}

/// The first key behind another.
fn after(key: &Bytes) -> Bytes {
    [&key[..], &[0]].concat().into()
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::membership::{InitialCluster, PeerUrl};
    use crate::node::{Config, start};
    use crate::proto::quorate::replica::UserAdd;
    use crate::proto::quorate::replica::auth_change::Change;

    /// As of a token that was signed by a member which is ahead of this one.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_is_known_by_users_to_come_reads_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut list = InitialCluster::new();
        list.add("n1", PeerUrl::parse("http://127.0.0.1:1").unwrap());
        let config = Config::for_test(dir.path(), "n1", &list, "test");
        let running = start(config, CancellationToken::new()).unwrap();
        running.ready().await;
        let handle = running.handle();
        let root = UserAdd { name: "root".into(), password: "r".into(), no_password: false };
        let role = pb::AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() };
        for change in [
            Change::UserAdd(root),
            Change::UserGrantRole(role),
            Change::Enable(pb::AuthEnableRequest {}),
        ] {
            handle.change_users(Caller::Cluster, change).await.unwrap();
        }
        let revision = handle.state().auth().revision();
        let begin = |revision| {
            let caller = Caller::User { name: "root".into(), revision };
            let request = pb::RangeRequest { key: "a".into(), ..Default::default() };
            Pieces::begin(handle.clone(), &caller, request).map(drop)
        };
        begin(revision).unwrap();
        for other in [revision - 1, revision + 1] {
            let refused = begin(other).unwrap_err();
            assert_eq!(refused.to_string(), "etcdserver: revision of auth store is old", "{other}");
        }
        running.close().await;
    }

    #[test]
    fn orders_and_filters_are_refused() {
        let plain = pb::RangeRequest { key: "a".into(), ..Default::default() };
        assert!(check(&plain).is_ok());
        let ascending = pb::RangeRequest { sort_order: SortOrder::Ascend.into(), ..plain.clone() };
        assert!(check(&ascending).is_ok());
        let unordered = pb::RangeRequest { sort_target: SortTarget::Mod.into(), ..plain.clone() };
        assert!(check(&unordered).is_ok());
        for (request, words) in [
            (
                pb::RangeRequest { sort_order: SortOrder::Descend.into(), ..plain.clone() },
                "RangeStream does not support custom sort orders",
            ),
            (
                pb::RangeRequest { sort_target: SortTarget::Mod.into(), ..ascending },
                "RangeStream does not support custom sort orders",
            ),
            (
                pb::RangeRequest { min_mod_revision: 3, ..plain.clone() },
                "RangeStream does not support revision filters",
            ),
        ] {
            let refused = check(&request).unwrap_err();
            assert_eq!((refused.code(), refused.message()), (tonic::Code::Unimplemented, words));
        }
    }
}
