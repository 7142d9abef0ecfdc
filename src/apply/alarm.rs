use std::collections::BTreeSet;

use bytes::Bytes;

use super::check;
use crate::membership::MemberId;
use crate::mvcc::{Storage, StorageError};
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::request::Op;
use pb::AlarmType;
use pb::alarm_request::AlarmAction;

const ALARMS: &[u8] = b"alarm/";

/// The alarms that members have raised; they hold for the whole cluster until somebody disarms them
/// (etcd `server/etcdserver/api/v3alarm`).
#[derive(Debug, Clone, Default)]
pub struct Alarms {
    raised: BTreeSet<(i32, MemberId)>,
}

impl Alarms {
    pub(super) fn open(storage: &impl Storage) -> Result<Self, StorageError> {
        let mut alarms = Self::default();
        for (key, _) in storage.scan_meta(ALARMS)? {
            let alarm = decode(&key).ok_or_else(|| StorageError::Corrupt {
                file: storage.name(),
                what: "an alarm makes no sense".to_owned(),
            })?;
            alarms.raised.insert((alarm.alarm, MemberId(alarm.member_id)));
        }
        Ok(alarms)
    }

    /// Does what was asked; the alarms that it concerned.
    pub(super) fn apply(
        &mut self,
        request: &pb::AlarmRequest,
        storage: &mut impl Storage,
    ) -> Vec<pb::AlarmMember> {
        let entry = (request.alarm, MemberId(request.member_id));
        match request.action() {
            AlarmAction::Get => self.list(request.alarm()),
            // A nameless alarm would hold nothing and could not be disarmed by name.
            AlarmAction::Activate if request.alarm() == AlarmType::None => Vec::new(),
            AlarmAction::Activate => {
                if self.raised.insert(entry) {
                    storage.set_meta(&key(entry), Some(Bytes::new()));
                }
                vec![member(entry)]
            }
            AlarmAction::Deactivate if self.raised.remove(&entry) => {
                storage.set_meta(&key(entry), None);
                vec![member(entry)]
            }
            AlarmAction::Deactivate => Vec::new(),
        }
    }

    /// The alarms of one kind, or all for none.
    pub fn list(&self, kind: AlarmType) -> Vec<pb::AlarmMember> {
        let wanted = |alarm: &pb::AlarmMember| kind == AlarmType::None || alarm.alarm() == kind;
        self.raised.iter().copied().map(member).filter(wanted).collect()
    }

    /// Whether any member has raised this alarm.
    pub fn is_raised(&self, kind: AlarmType) -> bool {
        self.raised.iter().any(|(raised, _)| *raised == i32::from(kind))
    }

    /// Why a request is refused while alarms are on, if it is: data that is known to be wrong is
    /// neither changed nor compacted away, and a full store takes nothing more.
    pub(super) fn refusal(&self, op: &Op) -> Option<super::Error> {
        if self.raised.is_empty() {
            return None;
        }
        let changes_data = matches!(
            op,
            Op::Put(_)
                | Op::DeleteRange(_)
                | Op::Txn(_)
                | Op::Compaction(_)
                | Op::LeaseGrant(_)
                | Op::LeaseRevoke(_)
        );
        if self.is_raised(AlarmType::Corrupt) && changes_data {
            return Some(super::Error::Corrupt);
        }
        let needs_space = check::cost(op) > 0;
        (needs_space && self.is_raised(AlarmType::Nospace)).then_some(super::Error::NoSpace)
    }
}

/// The alarm that an entry of the storage stands for; `None` when it is none.
pub fn decode(key: &[u8]) -> Option<pb::AlarmMember> {
    let (id, kind) = key.strip_prefix(ALARMS)?.split_first_chunk()?;
    let [kind] = kind else { return None };
    Some(member((i32::from(*kind), MemberId(u64::from_be_bytes(*id)))))
}

/// The reverse of [`decode`]: the key of an alarm in the storage.
pub fn encode(alarm: &pb::AlarmMember) -> Vec<u8> {
    key((alarm.alarm, MemberId(alarm.member_id)))
}

fn key((kind, id): (i32, MemberId)) -> Vec<u8> {
    let kind = u8::try_from(kind).expect("alarms are few");
    [ALARMS, &id.0.to_be_bytes(), &[kind]].concat()
}

fn member((alarm, id): (i32, MemberId)) -> pb::AlarmMember {
    pb::AlarmMember { member_id: id.0, alarm }
}
