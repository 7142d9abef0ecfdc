use std::ops::ControlFlow;

use bytes::Bytes;
use prost::Message;

use super::alarm::Alarms;
use super::auth::AuthNews;
use super::cluster::Cluster;
use super::command::Response;
use super::convert::header;
use super::write::Changes;
use super::{Error, Fatal, Pairs, Parts, RangeScan, Rebuild, auth, check, name, range, txn};
use crate::auth::{Auth, Caller};
use crate::lease::{LeaseId, Leases};
use crate::membership::{Member, Roster};
use crate::mvcc::{
    Applied, Event, HashScan, KeyRange, KeyValue, Keyspace, Revision, Revisions, Storage,
    StorageError,
};
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::auth_change::Change;
use crate::proto::quorate::replica::{AuthChange, Request, request::Op};
use crate::raft::{Index, Term};

pub(super) const LEASES: &[u8] = b"lease/";
const DOWNGRADE: &[u8] = b"downgrade";
const PAGE_BYTES: u64 = 4096;

/// Everything that is replicated, over a storage for the values.
#[derive(Debug)]
pub struct State<S> {
    keys: Keyspace<S>,
    leases: Leases,
    cluster: Cluster,
    auth: Auth,
    alarms: Alarms,
    downgrade: pb::DowngradeInfo,
    /// Bytes the store may take before this member answers that it is full; `None`: no limit.
    quota_bytes: Option<i64>,
}

/// What applying one request came to.
#[derive(Debug)]
pub struct Outcome {
    /// The request's id; 0 when nobody waits.
    pub id: u64,
    /// etcd's name for what was asked for.
    pub op: &'static str,
    pub response: Result<Response, Error>,
    /// What watchers must hear of, all of `revision`.
    pub events: Vec<Event>,
    /// The store's revision from now on.
    pub revision: i64,
    /// What the leader's clock must know.
    pub lease: Option<LeaseChange>,
    /// What the holder of the tokens must know.
    pub auth: Option<AuthNews>,
}

/// A lease that came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseChange {
    Granted {
        id: LeaseId,
        ttl_seconds: i64,
    },
    Revoked(LeaseId),
    /// The seconds that are left of each, 0 for all.
    Checkpointed(Vec<(LeaseId, i64)>),
}

impl<S: Storage> State<S> {
    /// The state that a storage holds, fresh or not. Reads all of it once.
    pub fn open(storage: S) -> Result<Self, StorageError> {
        let mut rebuild = Rebuild::default();
        for (key, value) in storage.scan_meta(LEASES)? {
            rebuild.meta(&key, &value).map_err(|senseless| StorageError::Corrupt {
                file: storage.name(),
                what: senseless.to_string(),
            })?;
        }
        storage.scan(Revision::default(), &mut |at, record| {
            rebuild.record(at, record);
            ControlFlow::Continue(())
        })?;
        Self::rebuilt(storage, rebuild)
    }

    /// The same over a storage of which all has come by already.
    pub fn rebuilt(storage: S, rebuild: Rebuild) -> Result<Self, StorageError> {
        let cluster = Cluster::open(&storage)?;
        let auth = auth::open(&storage)?;
        let alarms = Alarms::open(&storage)?;
        let downgrade = storage.meta(DOWNGRADE)?.and_then(|bytes| Message::decode(bytes).ok());
        let downgrade = downgrade.unwrap_or_default();
        let Rebuild { leases, index } = rebuild;
        let keys = Keyspace::rebuilt(storage, index)?;
        Ok(Self { keys, leases, cluster, auth, alarms, downgrade, quota_bytes: None })
    }

    /// Applies one committed request, an encoded `quorate.replica.Request`.
    ///
    /// `None` for what has no effect: an entry that is in the state already, and the empty one
    /// that opens a term.
    pub fn apply(
        &mut self,
        index: Index,
        term: Term,
        data: &Bytes,
    ) -> Result<Option<Outcome>, Fatal> {
        if index <= self.applied().0 {
            return Ok(None);
        }
        let outcome = if data.is_empty() { None } else { Some(self.request(index, term, data)?) };
        self.set_applied(index, term);
        Ok(outcome)
    }

    /// Notes the members that hold after a committed membership change.
    pub fn apply_membership(&mut self, index: Index, term: Term, roster: &Roster) {
        if index > self.applied().0 {
            self.set_roster(roster);
            self.set_applied(index, term);
        }
    }

    /// Sets the members a cluster is founded with.
    pub fn set_roster(&mut self, roster: &Roster) {
        self.cluster.set_roster(roster, self.keys.storage_mut());
    }

    fn set_applied(&mut self, index: Index, term: Term) {
        self.keys.storage_mut().set_applied(Applied { index: index.0, term: term.0 });
    }

    fn request(&mut self, index: Index, term: Term, data: &Bytes) -> Result<Outcome, Fatal> {
        let unknown = || Fatal::UnknownRequest { index: index.0 };
        let request = Request::decode(data.clone()).ok().ok_or_else(unknown)?;
        let op = request.op.ok_or_else(unknown)?;
        let lease = match &op {
            Op::LeaseGrant(grant) => {
                Some(LeaseChange::Granted { id: LeaseId(grant.id), ttl_seconds: grant.ttl })
            }
            Op::LeaseRevoke(revoke) => Some(LeaseChange::Revoked(LeaseId(revoke.id))),
            Op::LeaseCheckpoint(request) => Some(checkpointed(request)),
            _ => None,
        };
        let name = name::of(&op);
        let caller = request.caller.map_or(Caller::Nobody, Caller::from);
        let mut news = None;
        let full = self.exceeds_quota(check::cost(&op));
        let permitted = auth::permit(&self.auth, &self.leases, &caller, &op).map_err(Error::from);
        let late = (request.term != 0 && request.term != term.0).then_some(Error::LeaderChanged);
        let refused = permitted.err().or(late).or_else(|| self.alarms.refusal(&op));
        let (response, events) = match refused {
            Some(refused) => (Err(refused), Vec::new()),
            None => self.operation(index, op, &mut news),
        };
        let mut response = match response {
            Err(Error::Storage(error)) => return Err(Fatal::Storage(error)),
            other => other,
        };
        let lease = lease.filter(|_| response.is_ok());
        if full && response.is_ok() {
            // It has its effect, as on members that have room; only the answer differs.
            response = Err(Error::NoSpace);
        }
        let (id, revision) = (request.id, self.revision());
        Ok(Outcome { id, op: name, response, events, revision, lease, auth: news })
    }

    fn operation(
        &mut self,
        index: Index,
        op: Op,
        news: &mut Option<AuthNews>,
    ) -> (Result<Response, Error>, Vec<Event>) {
        let response = match op {
            Op::Put(request) => {
                return self.changes(|changes| {
                    changes.check_put(&request)?;
                    Ok(Response::Put(changes.put(request)?))
                });
            }
            Op::DeleteRange(request) => {
                return self
                    .changes(|changes| Ok(Response::DeleteRange(changes.delete_range(request)?)));
            }
            Op::Txn(request) => {
                return self.changes(|changes| Ok(Response::Txn(txn::run(changes, request)?)));
            }
            Op::LeaseRevoke(request) => return self.lease_revoke(LeaseId(request.id)),
            Op::LeaseGrant(request) => self.lease_grant(&request),
            Op::Compaction(request) => self.compact(request.revision),
            Op::Auth(AuthChange { change: Some(change) }) => self.change_users(index, change, news),
            // Whoever proposed it asked for nothing.
            Op::Auth(AuthChange { change: None }) => Ok(self.users_changed(String::new())),
            Op::LeaseCheckpoint(request) => Ok(self.lease_checkpoint(&request)),
            Op::Alarm(request) => {
                let alarms = self.alarms.apply(&request, self.keys.storage_mut());
                let header = header(self.revision());
                Ok(Response::Alarm(pb::AlarmResponse { header, alarms }))
            }
            Op::Downgrade(info) => {
                let kept = info.enabled.then(|| info.encode_to_vec().into());
                self.keys.storage_mut().set_meta(DOWNGRADE, kept);
                self.downgrade = info;
                Ok(Response::Done)
            }
            Op::Publish(published) => {
                self.cluster.publish(&published, self.keys.storage_mut());
                Ok(Response::Done)
            }
        };
        (response, Vec::new())
    }

    fn changes(
        &mut self,
        make: impl FnOnce(&mut Changes<'_, S>) -> Result<Response, Error>,
    ) -> (Result<Response, Error>, Vec<Event>) {
        let mut changes = Changes::begin(&mut self.keys, &mut self.leases);
        let response = make(&mut changes);
        (response, changes.finish())
    }

    fn compact(&mut self, revision: i64) -> Result<Response, Error> {
        self.keys.compact(revision)?;
        let header = header(self.revision());
        Ok(Response::Compaction(pb::CompactionResponse { header }))
    }

    fn lease_grant(&mut self, request: &pb::LeaseGrantRequest) -> Result<Response, Error> {
        check::lease_grant(request)?;
        let id = LeaseId(request.id);
        if !self.leases.grant(id, request.ttl) {
            return Err(Error::LeaseExists);
        }
        self.keep_lease(id);
        Ok(Response::LeaseGrant(pb::LeaseGrantResponse {
            header: header(self.revision()),
            id: request.id,
            ttl: request.ttl,
            error: String::new(),
        }))
    }

    /// Notes how long leases still live. Unknown ones have been revoked meanwhile.
    fn lease_checkpoint(&mut self, request: &pb::LeaseCheckpointRequest) -> Response {
        for checkpoint in &request.checkpoints {
            let id = LeaseId(checkpoint.id);
            if self.leases.checkpoint(id, checkpoint.remaining_ttl) {
                self.keep_lease(id);
            }
        }
        Response::Done
    }

    /// Stores a lease that exists.
    fn keep_lease(&mut self, id: LeaseId) {
        let ttl_seconds = self.leases.ttl(id).unwrap_or_default();
        let value = encode_lease(ttl_seconds, self.leases.remaining(id));
        self.keys.storage_mut().set_meta(&lease_key(id), Some(value));
    }

    fn lease_revoke(&mut self, id: LeaseId) -> (Result<Response, Error>, Vec<Event>) {
        let revoked = self.changes(|changes| {
            changes.revoke(id)?;
            let header = header(changes.revision());
            Ok(Response::LeaseRevoke(pb::LeaseRevokeResponse { header }))
        });
        if revoked.0.is_ok() {
            self.keys.storage_mut().set_meta(&lease_key(id), None);
        }
        revoked
    }

    fn change_users(
        &mut self,
        index: Index,
        change: Change,
        news: &mut Option<AuthNews>,
    ) -> Result<Response, Error> {
        let (token, heard) = auth::change(&mut self.auth, self.keys.storage_mut(), index, change)?;
        *news = heard;
        Ok(self.users_changed(token))
    }

    fn users_changed(&self, token: String) -> Response {
        Response::Auth(pb::AuthenticateResponse { header: header(self.revision()), token })
    }

    /// Removes what compaction left behind of up to `limit` keys; whether more is to be done.
    ///
    /// Not replicated and not visible: each replica does it when it likes. A thousand keys take
    /// well under a millisecond.
    pub fn compaction_step(&mut self, limit: usize) -> bool {
        self.keys.sweep(limit)
    }

    /// How many records [`Self::compaction_step`] has removed since the state was opened.
    pub fn compacted_records(&self) -> u64 {
        self.keys.removed()
    }

    /// Whether the next [`Self::compaction_step`] goes through the index; else it removes records.
    pub fn compacts_index(&self) -> bool {
        self.keys.sweeps_index()
    }

    /// Whether [`Self::compaction_step`] has work.
    pub fn compacting(&self) -> bool {
        self.keys.sweeping()
    }

    /// Answers a range at once, for the cluster itself.
    pub fn range(&self, request: &pb::RangeRequest) -> Result<pb::RangeResponse, Error> {
        range::read(&self.keys, self.revision(), request)
    }

    /// Begins a range that is read slice by slice, so that nobody waits long for the state.
    pub fn range_scan<P: Pairs>(
        &self,
        caller: &Caller,
        request: &pb::RangeRequest,
    ) -> Result<RangeScan<P>, Error> {
        self.may_read(caller, request)?;
        RangeScan::begin(&self.keys, self.revision(), request)
    }

    /// Answers a transaction for which [`check::is_read_only`] holds.
    pub fn txn_read(
        &self,
        caller: &Caller,
        request: &pb::TxnRequest,
    ) -> Result<pb::TxnResponse, Error> {
        auth::txn(&self.auth, caller, request)?;
        self.auth.is_current(caller)?;
        txn::read(&self.keys, &self.leases, request)
    }

    /// The same as it is sent, appended to `out` but for its header. Tells how many ranges there were.
    pub fn txn_read_into(
        &self,
        caller: &Caller,
        request: &pb::TxnRequest,
        out: &mut Parts,
    ) -> Result<u64, Error> {
        auth::txn(&self.auth, caller, request)?;
        self.auth.is_current(caller)?;
        txn::read_into(&self.keys, &self.leases, request, out)
    }

    /// What changed in a range from a revision on, oldest first, and the revision to go on from.
    /// Looks at no more than `limit` revisions, whether they touch the range or not.
    pub fn events(
        &self,
        range: &KeyRange,
        from: i64,
        limit: usize,
    ) -> Result<(Revisions, i64), Error> {
        Ok(self.keys.events(range, from, limit)?)
    }

    /// A key as it was just before `revision`; `None` when it did not exist or that is compacted.
    pub fn prev_kv(&self, key: &[u8], revision: i64) -> Result<Option<KeyValue>, StorageError> {
        if revision - 1 < self.compact_revision() {
            return Ok(None);
        }
        self.keys.get(key, revision - 1)
    }

    /// The newest revision; 1 when nothing was ever written.
    pub fn revision(&self) -> i64 {
        self.keys.revision()
    }

    /// The oldest revision that can be read; -1 when nothing was ever compacted.
    pub fn compact_revision(&self) -> i64 {
        self.keys.compact_revision()
    }

    /// The last entry of the log that is in the state.
    pub fn applied(&self) -> (Index, Term) {
        let applied = self.storage().applied();
        (Index(applied.index), Term(applied.term))
    }

    /// The members consensus knows.
    pub fn roster(&self) -> &Roster {
        self.cluster.roster()
    }

    /// The members with what they published, ascending by id.
    pub fn members(&self) -> Vec<Member> {
        self.cluster.members()
    }

    /// The users, their roles, and what those allow.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Whether a caller, known by the users of this very state, may read a range: asked of every read.
    pub fn may_read(&self, caller: &Caller, request: &pb::RangeRequest) -> Result<(), Error> {
        self.auth.may_read(caller, &request.key, &request.range_end)?;
        Ok(self.auth.is_current(caller)?)
    }

    /// Whether a caller may write every key of a lease.
    pub fn may_write_leased(&self, caller: &Caller, id: LeaseId) -> Result<(), Error> {
        Ok(auth::may_write_leased(&self.auth, &self.leases, caller, id.0)?)
    }

    /// Whether a caller may know every key of a lease.
    pub fn may_read_leased(&self, caller: &Caller, id: LeaseId) -> Result<(), Error> {
        Ok(auth::may_read_leased(&self.auth, &self.leases, caller, id.0)?)
    }

    /// The leases and their keys.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// The alarms that are on.
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Which version the cluster is on its way down to.
    pub fn downgrade(&self) -> &pb::DowngradeInfo {
        &self.downgrade
    }

    /// Sets how many bytes the store may take; `None`: as many as it likes.
    pub fn set_quota(&mut self, bytes: Option<i64>) {
        self.quota_bytes = bytes;
    }

    /// Whether a request of this cost finds no room, by the quota of this member alone
    /// (etcd `server/storage/quota.go`).
    pub fn exceeds_quota(&self, cost: i64) -> bool {
        let Some(quota) = self.quota_bytes.filter(|_| cost > 0) else { return false };
        let taken = self.storage().size_on_disk() + self.storage().size_pending();
        i64::try_from(taken).unwrap_or(i64::MAX).saturating_add(cost) >= quota
    }

    /// How many keys there are.
    pub fn key_count(&self) -> usize {
        self.keys.count(&KeyRange::everything(), self.revision(), None, usize::MAX).0
    }

    /// Begins to compute etcd's `HashKV` at a revision (0: the newest), slice by slice so that nobody waits long for
    /// the state.
    pub fn hash_scan(&self, revision: i64) -> Result<HashScan, Error> {
        Ok(HashScan::begin(&self.keys, revision)?)
    }

    /// Goes on with it; true when it is complete.
    pub fn hash_step(&self, scan: &mut HashScan, limit: usize) -> Result<bool, Error> {
        Ok(scan.step(&self.keys, limit)?)
    }

    /// Bytes the storage takes: what the quota limits.
    pub fn db_size(&self) -> i64 {
        i64::try_from(self.storage().size_on_disk()).unwrap_or(i64::MAX)
    }

    /// Bytes of [`Self::db_size`] that hold something.
    pub fn db_size_in_use(&self) -> i64 {
        // As with etcd, a store of nothing has a page at least. What waits for the store counts before the file grows.
        let bytes = self.storage().size_in_use().max(PAGE_BYTES);
        i64::try_from(bytes).unwrap_or(i64::MAX).min(self.db_size())
    }

    pub(super) fn keys(&self) -> &Keyspace<S> {
        &self.keys
    }

    pub fn storage(&self) -> &S {
        self.keys.storage()
    }

    pub fn storage_mut(&mut self) -> &mut S {
        self.keys.storage_mut()
    }
}

/// The key of a lease in the storage.
pub fn lease_key(id: LeaseId) -> Vec<u8> {
    [LEASES, &id.0.to_be_bytes()].concat()
}

/// The lease that an entry of the storage stands for: its id, the seconds granted, and those left
/// at the last checkpoint, 0 for all of them. `None` when it is none.
pub fn decode_lease(key: &[u8], value: &[u8]) -> Option<(LeaseId, i64, i64)> {
    let id = key.strip_prefix(LEASES)?.try_into().ok()?;
    let (ttl, rest) = value.split_first_chunk()?;
    let remaining = if rest.is_empty() { [0; 8] } else { rest.try_into().ok()? };
    let id = LeaseId(i64::from_be_bytes(id));
    Some((id, i64::from_be_bytes(*ttl), i64::from_be_bytes(remaining)))
}

/// The seconds granted, and those left where that is less: eight bytes each.
pub fn encode_lease(ttl_seconds: i64, remaining_seconds: i64) -> Bytes {
    let mut value = ttl_seconds.to_be_bytes().to_vec();
    if remaining_seconds != 0 {
        value.extend_from_slice(&remaining_seconds.to_be_bytes());
    }
    value.into()
}

fn checkpointed(request: &pb::LeaseCheckpointRequest) -> LeaseChange {
    let left = |told: &pb::LeaseCheckpoint| (LeaseId(told.id), told.remaining_ttl);
    LeaseChange::Checkpointed(request.checkpoints.iter().map(left).collect())
}
