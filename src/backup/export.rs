use std::ops::ControlFlow;

use bytes::Bytes;
use prost::Message as _;

use super::bolt::{Layout, Writer};
use super::schema::{
    ALARM, AUTH, AUTH_ROLES, AUTH_USERS, CLUSTER, KEY, LEASE, Lease, MEMBERS, MEMBERS_REMOVED,
    META, STORAGE_VERSION, StoredConfState, StoredMember,
};
use crate::apply::{alarm, cluster, decode_lease};
use crate::membership::Roster;
use crate::mvcc::{COMPACT_FINISHED, COMPACT_SCHEDULED, REVISION_FLOOR, Revision, StorageError};
use crate::proto::quorate::replica::PublishAttributes;
use crate::store::Frozen;

/// A frozen state as etcd's backend file, page by page.
///
/// The file is made twice, first to learn its layout: its size is known before its first byte
/// is sent, and nothing of it has to be kept.
#[derive(Debug)]
pub struct Export {
    state: Frozen,
    layout: Layout,
}

impl Export {
    /// Goes over the state once. Takes about a second for a million keys.
    pub fn prepare(state: Frozen) -> Result<Self, StorageError> {
        let layout = pass(&state, Layout::default(), &mut |_page| Ok::<(), StorageError>(()))?;
        Ok(Self { state, layout })
    }

    /// Bytes of the file, without the checksum behind it.
    pub fn file_bytes(&self) -> u64 {
        self.layout.file_bytes()
    }

    /// Gives all pages in order to `sink`.
    pub fn write<E: From<StorageError>>(
        &self,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let layout = pass(&self.state, self.layout, sink)?;
        assert_eq!(layout, self.layout, "a frozen state does not change");
        Ok(())
    }
}

fn pass<E: From<StorageError>>(
    state: &Frozen,
    layout: Layout,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<Layout, E> {
    let mut writer = Writer::begin(layout, sink)?;
    entries(state, &mut |entry| match entry {
        Entry::Bucket(name) => writer.bucket(name),
        Entry::Pair(key, value) => writer.put(key, value),
    })?;
    writer.finish()
}

/// CRC-32C over names of buckets, keys and values: etcd's `Hash`, and what `snapshot status` shows.
pub fn hash(state: &Frozen) -> Result<u32, StorageError> {
    let mut crc = 0;
    entries(state, &mut |entry| {
        match entry {
            Entry::Bucket(name) => crc = crc32c::crc32c_append(crc, name),
            Entry::Pair(key, value) => {
                crc = crc32c::crc32c_append(crc, key);
                crc = crc32c::crc32c_append(crc, value);
            }
        }
        Ok::<(), StorageError>(())
    })?;
    Ok(crc)
}

enum Entry<'a> {
    Bucket(&'a [u8]),
    Pair(&'a [u8], &'a [u8]),
}

type Visit<'a, E> = &'a mut dyn FnMut(Entry<'_>) -> Result<(), E>;

/// Everything of the file, in its order.
fn entries<E: From<StorageError>>(state: &Frozen, visit: Visit<'_, E>) -> Result<(), E> {
    let roster = roster(state)?;
    visit(Entry::Bucket(ALARM))?;
    for (key, _) in state.scan_meta(b"alarm/")? {
        let alarm = alarm::decode(&key).ok_or_else(|| senseless("an alarm"))?;
        visit(Entry::Pair(&alarm.encode_to_vec(), &[]))?;
    }
    for bucket in [AUTH, AUTH_ROLES, AUTH_USERS] {
        visit(Entry::Bucket(bucket))?;
        let prefix = [bucket, b"/"].concat();
        for (key, value) in state.scan_meta(&prefix)? {
            visit(Entry::Pair(&key[prefix.len()..], &value))?;
        }
    }
    visit(Entry::Bucket(CLUSTER))?;
    keys(state, visit)?;
    visit(Entry::Bucket(LEASE))?;
    leases(state, visit)?;
    members(state, &roster, visit)?;
    visit(Entry::Bucket(META))?;
    meta(state, &roster, visit)
}

fn keys<E: From<StorageError>>(state: &Frozen, visit: Visit<'_, E>) -> Result<(), E> {
    visit(Entry::Bucket(KEY))?;
    let mut value = Vec::new();
    let mut ended = Ok(());
    let mut last = 0;
    state.scan(&mut |at, record| {
        value.clear();
        record.marshal(&mut value);
        last = at.main;
        ended = visit(Entry::Pair(&at.to_etcd(record.deleted), &value));
        if ended.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    ended?;
    match number(state, REVISION_FLOOR)? {
        // As `etcdutl snapshot restore --bump-revision` marks it.
        Some(floor) if floor > last => {
            visit(Entry::Pair(&Revision::start_of(floor).to_etcd(false), &[]))
        }
        _ => Ok(()),
    }
}

fn leases<E: From<StorageError>>(state: &Frozen, visit: Visit<'_, E>) -> Result<(), E> {
    for (key, value) in state.scan_meta(b"lease/")? {
        let (id, ttl, remaining_ttl) =
            decode_lease(&key, &value).ok_or_else(|| senseless("a lease"))?;
        let lease = Lease { id: id.0, ttl, remaining_ttl };
        visit(Entry::Pair(&id.0.to_be_bytes(), &lease.encode_to_vec()))?;
    }
    Ok(())
}

fn members<E: From<StorageError>>(
    state: &Frozen,
    roster: &Roster,
    visit: Visit<'_, E>,
) -> Result<(), E> {
    let mut members = Vec::new();
    for (id, entry) in &roster.members {
        let published = state.meta(&[cluster::ATTRIBUTES, &id.0.to_be_bytes()].concat())?;
        let published = published.map(PublishAttributes::decode).transpose();
        let published = published.map_err(|_damage| senseless("what a member published"))?;
        let published = published.unwrap_or_default();
        let member = StoredMember {
            id: id.0,
            peer_urls: entry.peer_urls.iter().map(|url| url.as_str().to_owned()).collect(),
            learner: entry.learner,
            name: published.name,
            client_urls: published.client_urls,
        };
        members.push((id.to_string(), json(&member)));
    }
    // By name, which is not the order of numbers.
    members.sort_unstable();
    visit(Entry::Bucket(MEMBERS))?;
    for (id, member) in &members {
        visit(Entry::Pair(id.as_bytes(), member))?;
    }
    visit(Entry::Bucket(MEMBERS_REMOVED))?;
    let mut removed: Vec<String> = roster.removed.iter().map(ToString::to_string).collect();
    removed.sort_unstable();
    for id in removed {
        visit(Entry::Pair(id.as_bytes(), b"removed"))?;
    }
    Ok(())
}

fn meta<E: From<StorageError>>(
    state: &Frozen,
    roster: &Roster,
    visit: Visit<'_, E>,
) -> Result<(), E> {
    let conf_state = StoredConfState {
        voters: roster.voters().map(|id| id.0).collect(),
        learners: roster.learners().map(|id| id.0).collect(),
        auto_leave: false,
    };
    let applied = state.applied();
    visit(Entry::Pair(b"confState", &json(&conf_state)))?;
    visit(Entry::Pair(b"consistent_index", &applied.index.to_be_bytes()))?;
    let compactions = [
        (&b"finishedCompactRev"[..], COMPACT_FINISHED),
        (b"scheduledCompactRev", COMPACT_SCHEDULED),
    ];
    for (name, key) in compactions {
        if let Some(revision) = number(state, key)? {
            visit(Entry::Pair(name, &Revision::start_of(revision).to_etcd(false)))?;
        }
    }
    visit(Entry::Pair(b"storageVersion", STORAGE_VERSION.as_bytes()))?;
    visit(Entry::Pair(b"term", &applied.term.to_be_bytes()))
}

fn roster(state: &Frozen) -> Result<Roster, StorageError> {
    let Some(bytes) = state.meta(cluster::ROSTER)? else { return Ok(Roster::default()) };
    cluster::decode_roster(bytes).ok_or_else(|| senseless("the list of members"))
}

fn number(state: &Frozen, key: &[u8]) -> Result<Option<i64>, StorageError> {
    let bytes: Option<Bytes> = state.meta(key)?;
    Ok(bytes.and_then(|bytes| Some(i64::from_be_bytes(*bytes.first_chunk()?))))
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain structures have a form in JSON")
}

fn senseless(what: &str) -> StorageError {
    StorageError::Corrupt { file: "snapshot".to_owned(), what: format!("{what} makes no sense") }
}
