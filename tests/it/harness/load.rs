//! Clients that write, read and swap while things go wrong, and the judgment of what they were told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use quorate::proto::etcdserverpb as pb;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tonic::Status;

use super::{Client, Node, wait};
use crate::linear::{Action, Call, is_linearizable};

const CLIENTS: usize = 6;
/// Registers that all clients share.
const KEYS: u64 = 4;
/// A client that waits longer asks another member, and never learns what came of it.
const CALL: Duration = Duration::from_secs(2);
/// After an error, so that a cluster without a leader is not asked as fast as it can refuse.
const BACKOFF: Duration = Duration::from_millis(5);

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Record>>>,
}

#[derive(Debug)]
struct Shared {
    urls: Vec<String>,
    stop: AtomicBool,
    /// One clock for all clients: what ended before something began has a smaller number.
    clock: AtomicU64,
    /// Every write has a value of its own.
    values: AtomicU64,
    written: AtomicU64,
}

/// A call, and what is known of it.
#[derive(Debug)]
struct Record {
    key: u64,
    call: Call,
    /// Of the answer.
    revision: Option<i64>,
    /// It wrote its value into the ledger too, which nobody overwrites.
    in_ledger: bool,
}

impl Load {
    pub fn start(nodes: &[Node]) -> Self {
        let shared = Arc::new(Shared {
            urls: nodes.iter().map(Node::client_url).collect(),
            stop: AtomicBool::new(false),
            clock: AtomicU64::new(0),
            values: AtomicU64::new(0),
            written: AtomicU64::new(0),
        });
        let client = |at| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.work(at))
        };
        let threads = (0..CLIENTS).map(client).collect();
        Self { shared, threads }
    }

    /// Waits until so many more writes were acknowledged.
    #[track_caller]
    pub fn wait_for_writes(&self, count: u64) {
        let enough = self.shared.written.load(Ordering::Relaxed) + count;
        wait("writes to be acknowledged", || {
            (self.shared.written.load(Ordering::Relaxed) >= enough).then_some(())
        });
    }

    /// Ends the clients and judges: all calls have an explanation in one order, revisions grow with time, and
    /// `survivor` has everything that was acknowledged. How many writes were.
    #[track_caller]
    pub fn judge(self, survivor: &Client) -> usize {
        self.shared.stop.store(true, Ordering::Relaxed);
        let done = self.threads.into_iter().flat_map(|thread| thread.join().unwrap());
        let records: Vec<Record> = done.collect();
        for key in 0..KEYS {
            let of_key = records.iter().filter(|record| record.key == key);
            let calls: Vec<Call> = of_key.map(|record| record.call).collect();
            assert!(is_linearizable(&calls), "nothing explains the calls of key {key}: {calls:?}");
        }
        assert_revisions_grow(&records);
        let ledger = read_ledger(survivor);
        let kept = records.iter().filter(|record| record.in_ledger && record.revision.is_some());
        for record in kept {
            let (Action::Put(value) | Action::Swap { new: value, .. }) = record.call.action else {
                continue;
            };
            assert_eq!(ledger.get(&value), Some(&record.key), "acknowledged and lost: {record:?}");
        }
        usize::try_from(self.shared.written.load(Ordering::Relaxed)).unwrap()
    }
}

impl Shared {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn work(&self, at: usize) -> Vec<Record> {
        let clients: Vec<Client> =
            self.urls.iter().map(|url| Client::connect_for(url, CALL)).collect();
        let mut random = SmallRng::seed_from_u64(at as u64);
        let mut node = at % clients.len();
        let mut seen = BTreeMap::new();
        let mut records = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let key = random.random_range(0..KEYS);
            let new = self.values.fetch_add(1, Ordering::SeqCst) + 1;
            let in_ledger = random.random_range(0..2) == 0;
            let begin = self.now();
            let (answer, doubt) = match (random.random_range(0..10), seen.get(&key).copied()) {
                (0..3, _) => (get(&clients[node], key), None),
                (3..6, Some(old)) => {
                    let doubt = Action::MaybeSwap { old, new };
                    (swap(&clients[node], key, old, new, in_ledger), Some(doubt))
                }
                _ => (put(&clients[node], key, new, in_ledger), Some(Action::MaybePut(new))),
            };
            let end = self.now();
            let Ok((action, revision)) = answer else {
                records.extend(doubt.map(|action| {
                    let call = Call { action, begin, end: u64::MAX };
                    Record { key, call, revision: None, in_ledger }
                }));
                node = (node + 1) % clients.len();
                std::thread::sleep(BACKOFF);
                continue;
            };
            let (value, wrote) = match action {
                Action::Swap { old, new, found } if found == Some(old) => (Some(new), true),
                Action::Get(found) | Action::Swap { found, .. } => (found, false),
                _ => (Some(new), true),
            };
            seen.extend(value.map(|value| (key, value)));
            self.written.fetch_add(u64::from(wrote), Ordering::Relaxed);
            let call = Call { action, begin, end };
            records.push(Record {
                key,
                call,
                revision: Some(revision),
                in_ledger: in_ledger && wrote,
            });
        }
        records
    }
}

type Answer = Result<(Action, i64), Status>;

fn revision(header: Option<pb::ResponseHeader>) -> i64 {
    header.expect("every answer has a header").revision
}

fn register(key: u64) -> bytes::Bytes {
    format!("register/{key}").into()
}

fn range_of(key: u64) -> pb::RangeRequest {
    pb::RangeRequest { key: register(key), ..pb::RangeRequest::default() }
}

fn value_of(range: &pb::RangeResponse) -> Option<u64> {
    Some(String::from_utf8_lossy(&range.kvs.first()?.value).parse().unwrap())
}

fn get(client: &Client, key: u64) -> Answer {
    let range = client.range(range_of(key))?;
    Ok((Action::Get(value_of(&range)), revision(range.header)))
}

/// What a write is made of: the register, and an entry of the ledger.
fn writes(key: u64, value: u64, in_ledger: bool) -> Vec<pb::RequestOp> {
    let put = |key: bytes::Bytes, value: u64| {
        let put =
            pb::PutRequest { key, value: value.to_string().into(), ..pb::PutRequest::default() };
        pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put)) }
    };
    let mut writes = vec![put(register(key), value)];
    if in_ledger {
        writes.push(put(format!("ledger/{value}").into(), key));
    }
    writes
}

fn put(client: &Client, key: u64, value: u64, in_ledger: bool) -> Answer {
    if !in_ledger {
        let put = client.put(&format!("register/{key}"), &value.to_string())?;
        return Ok((Action::Put(value), put.revision));
    }
    let success = writes(key, value, in_ledger);
    let txn = client.txn(pb::TxnRequest { success, ..pb::TxnRequest::default() })?;
    Ok((Action::Put(value), revision(txn.header)))
}

fn swap(client: &Client, key: u64, old: u64, new: u64, in_ledger: bool) -> Answer {
    let compare = pb::Compare {
        result: pb::compare::CompareResult::Equal.into(),
        target: pb::compare::CompareTarget::Value.into(),
        key: register(key),
        target_union: Some(pb::compare::TargetUnion::Value(old.to_string().into())),
        ..pb::Compare::default()
    };
    let otherwise = pb::request_op::Request::RequestRange(range_of(key));
    let txn = client.txn(pb::TxnRequest {
        compare: vec![compare],
        success: writes(key, new, in_ledger),
        failure: vec![pb::RequestOp { request: Some(otherwise) }],
    })?;
    let met = txn.responses.first().and_then(|response| response.response.as_ref());
    let found = match met {
        Some(pb::response_op::Response::ResponseRange(range)) => value_of(range),
        _ => Some(old),
    };
    Ok((Action::Swap { old, new, found }, revision(txn.header)))
}

/// What was answered earlier is of an earlier revision than a later write, and of none later than a later read.
#[track_caller]
fn assert_revisions_grow(records: &[Record]) {
    let mut answered: Vec<&Record> =
        records.iter().filter(|record| record.revision.is_some()).collect();
    let mut ended = answered.clone();
    answered.sort_by_key(|record| record.call.begin);
    ended.sort_by_key(|record| record.call.end);
    let mut ended = ended.into_iter().peekable();
    let mut before = 0;
    for record in answered {
        while let Some(earlier) = ended.next_if(|it| it.call.end < record.call.begin) {
            before = earlier.revision.unwrap().max(before);
        }
        let wrote = match record.call.action {
            Action::Swap { old, found, .. } => found == Some(old),
            action => matches!(action, Action::Put(_)),
        };
        let least = before + i64::from(wrote);
        assert!(record.revision.unwrap() >= least, "at least revision {least}: {record:?}");
    }
}

/// The register that each value was written to.
fn read_ledger(client: &Client) -> BTreeMap<u64, u64> {
    let request = pb::RangeRequest {
        key: "ledger/".into(),
        range_end: "ledger0".into(),
        ..pb::RangeRequest::default()
    };
    let range = wait("the ledger", || client.range(request.clone()).ok());
    let number = |bytes: &[u8]| String::from_utf8_lossy(bytes).parse::<u64>().unwrap();
    let entries = range.kvs.iter();
    entries.map(|kv| (number(&kv.key["ledger/".len()..]), number(&kv.value))).collect()
}
