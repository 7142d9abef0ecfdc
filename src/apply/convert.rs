use crate::mvcc::{Event, KeyValue};
use crate::proto::{etcdserverpb as pb, mvccpb};

impl From<KeyValue> for mvccpb::KeyValue {
    fn from(kv: KeyValue) -> Self {
        Self {
            key: kv.key,
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            value: kv.value,
            lease: kv.lease,
        }
    }
}

impl From<Event> for mvccpb::Event {
    fn from(event: Event) -> Self {
        use mvccpb::event::EventType;
        let kind = if event.deleted { EventType::Delete } else { EventType::Put };
        Self { r#type: kind.into(), kv: Some(event.kv.into()), prev_kv: None }
    }
}

/// A header as the state machine fills it: revision only.
pub(super) fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision, ..Default::default() })
}
