use std::collections::VecDeque;

use prost::Message as _;

use crate::mvcc::{Event, KeyValue};
use crate::proto::etcdserverpb::WatchResponse;
use crate::proto::mvccpb;

/// An event as clients get it; keys and values are shared, not copied.
pub(super) fn event(event: &Event, previous: Option<KeyValue>) -> mvccpb::Event {
    let kind = if event.deleted {
        mvccpb::event::EventType::Delete
    } else {
        mvccpb::event::EventType::Put
    };
    mvccpb::Event {
        r#type: kind.into(),
        kv: Some(event.kv.clone().into()),
        prev_kv: previous.map(mvccpb::KeyValue::from),
    }
}

/// Sends a response in parts below `limit` bytes, as far as single events allow; all but the last
/// are marked as fragments.
pub(super) fn fragments(mut whole: WatchResponse, limit: usize, to: &mut VecDeque<WatchResponse>) {
    if whole.events.len() < 2 || whole.encoded_len() < limit {
        to.push_back(whole);
        return;
    }
    let events = std::mem::take(&mut whole.events);
    let empty = whole.encoded_len();
    let mut part = WatchResponse { fragment: true, ..whole.clone() };
    let mut size = empty;
    for event in events {
        // The tag and the length around an event take up to 11 bytes.
        let more = event.encoded_len() + 11;
        if !part.events.is_empty() && size + more >= limit {
            to.push_back(std::mem::replace(
                &mut part,
                WatchResponse { fragment: true, ..whole.clone() },
            ));
            size = empty;
        }
        size += more;
        part.events.push(event);
    }
    part.fragment = false;
    to.push_back(part);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn response(sizes: &[usize]) -> WatchResponse {
        let put = |size: &usize| {
            let kv = KeyValue { value: Bytes::from(vec![0; *size]), ..KeyValue::default() };
            event(&Event { kv, deleted: false }, None)
        };
        WatchResponse { watch_id: 3, events: sizes.iter().map(put).collect(), ..Default::default() }
    }

    #[test]
    fn a_large_response_is_cut_between_events() {
        for (sizes, counts) in [
            (&[10, 10][..], &[2][..]),
            (&[5000], &[1]),
            (&[600, 600], &[1, 1]),
            (&[300, 300, 300, 300, 2000, 10], &[3, 1, 1, 1]),
        ] {
            let mut parts = VecDeque::new();
            fragments(response(sizes), 1000, &mut parts);
            let got: Vec<usize> = parts.iter().map(|part| part.events.len()).collect();
            assert_eq!(got, counts, "{sizes:?}");
            let last = parts.pop_back().unwrap();
            assert!(!last.fragment && last.watch_id == 3);
            assert!(parts.iter().all(|part| part.fragment && part.watch_id == 3));
        }
    }
}
