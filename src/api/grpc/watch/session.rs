use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{pending, ready};
use std::pin::Pin;

use bytes::Bytes;
use tokio::time::Interval;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Status, Streaming};

use super::encode;
use crate::api::grpc::caller::Claim;
use crate::api::grpc::led::Led;
use crate::api::grpc::{self, every};
use crate::apply;
use crate::auth;
use crate::mvcc::{Event, KeyRange, StorageError};
use crate::node::watch::{Delivery, Interest, Subscription};
use crate::node::{Error, Handle};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::watch_create_request::FilterType;
use crate::proto::etcdserverpb::watch_request::RequestUnion;

/// Revisions of history read at once at first, and at most: as long as the state may be kept from changing.
const SLICE: (usize, usize) = (16, 1000);
/// What a slice should hold, in bytes of keys and values; the next one is cut or stretched for it.
const SLICE_BYTES: usize = 1 << 20;
/// The watch id of an answer that is about no watcher, or about all of them.
const NO_WATCH: i64 = -1;
/// Deliveries dealt with for one progress message; events that come faster than that are progress enough.
const PATIENCE: usize = 2048;

const DUPLICATE: &str = "mvcc: duplicate watch ID provided on the WatchStream";
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";

/// One client stream. It is polled for the next answer and does all its work then, so a client that
/// does not read keeps nothing but its bounded queue busy.
#[derive(Debug)]
pub(super) struct Session {
    handle: Handle,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    claim: Claim,
    /// `None` after the client has closed its side; its watchers live on.
    requests: Option<Streaming<pb::WatchRequest>>,
    subscription: Subscription,
    watchers: BTreeMap<i64, Watcher>,
    /// Ids of watchers that a compaction ended. The client still has to cancel them, as in etcd: until then
    /// nobody else gets the id.
    compacted: BTreeSet<i64>,
    /// Those that read the store, in turn.
    behind: VecDeque<i64>,
    /// Revisions that the next of them reads.
    slice: usize,
    next_id: i64,
    answers: VecDeque<pb::WatchResponse>,
    progress: Interval,
    led: Led,
    ended: bool,
}

#[derive(Debug)]
struct Watcher {
    interest: Interest,
    /// As the client asked; 0 means from now on.
    start: i64,
    /// Everything before this was sent, or was not wanted.
    next: i64,
    in_step: bool,
    previous: bool,
    fragment: bool,
    progress: bool,
    /// Whether events were sent since the last round of progress messages.
    busy: bool,
}

impl Session {
    pub(super) fn new(
        handle: Handle,
        claim: Claim,
        requests: Streaming<pb::WatchRequest>,
        led: Led,
    ) -> Self {
        let jitter = 1.0 + rand::random::<f64>() / 10.0;
        let progress = every(handle.limits().watch_progress_interval.mul_f64(jitter));
        handle.counts().watch_streams.inc();
        Self {
            subscription: handle.watches().subscribe(),
            stopping: Box::pin(handle.stopping()),
            handle,
            claim,
            requests: Some(requests),
            watchers: BTreeMap::new(),
            compacted: BTreeSet::new(),
            behind: VecDeque::new(),
            slice: SLICE.0,
            next_id: 0,
            answers: VecDeque::new(),
            progress,
            led,
            ended: false,
        }
    }

    /// The next answer; `None` when the stream is over.
    pub(super) async fn next(&mut self) -> Option<Result<pb::WatchResponse, Status>> {
        loop {
            if let Some(mut answer) = self.answers.pop_front() {
                answer.header = grpc::header(&self.handle, answer.header.as_ref());
                return Some(Ok(answer));
            }
            if self.ended {
                return None;
            }
            if let Err(end) = self.work().await {
                self.ended = true;
                return Some(Err(end));
            }
        }
    }

    /// Waits for one thing to happen and deals with it; an error ends the stream.
    async fn work(&mut self) -> Result<(), Status> {
        let Self { requests, led, handle, .. } = self;
        let request = async {
            match requests {
                Some(requests) => requests.message().await,
                None => pending().await,
            }
        };
        tokio::select! {
            request = request => match request {
                Ok(Some(request)) => self.request(request).await?,
                Ok(None) => self.requests = None,
                Err(status) => return Err(grpc::unread(&self.handle, "watch", status)),
            },
            delivery = self.subscription.next() => self.deliver(delivery)?,
            _ = self.progress.tick() => self.report_progress()?,
            () = led.lost(handle) => return Err(Error::NoLeader.into()),
            () = &mut self.stopping => return Err(Error::Stopped.into()),
            () = ready(()), if !self.behind.is_empty() => {
                self.catch_up()?;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn request(&mut self, request: pb::WatchRequest) -> Result<(), Error> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => {
                // As in etcd 3.6: a revision that cannot be is told to anybody.
                let refused = match request.start_revision {
                    ..0 => Some(COMPACTED),
                    _ => self.refused(&request).await,
                };
                self.create(request, refused);
            }
            Some(RequestUnion::CancelRequest(request)) => self.cancel(request.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => self.answer_progress()?,
            None => {}
        }
        Ok(())
    }

    /// Why the caller may not watch this, if so. Checked once, when the watch is made, as in etcd.
    async fn refused(&self, request: &pb::WatchCreateRequest) -> Option<&'static str> {
        let caller = match self.claim.caller(&self.handle).await {
            Ok(caller) => caller,
            Err(Error::Apply(apply::Error::Auth(error))) => return Some(refusal(error)),
            Err(_) => return Some(refusal(auth::Error::PermissionDenied)),
        };
        let key = if request.key.is_empty() { &[0][..] } else { &request.key };
        let state = self.handle.state();
        state.auth().may_read(&caller, key, &request.range_end).err().map(refusal)
    }

    fn create(&mut self, request: pb::WatchCreateRequest, refused: Option<&'static str>) {
        let revision = self.handle.state().revision();
        let created =
            pb::WatchResponse { header: header(revision), created: true, ..Default::default() };
        let start = request.start_revision;
        let checked = refused.map_or_else(|| self.checked(request, revision), Err);
        let (id, watcher) = match checked {
            Ok(checked) => checked,
            Err(reason) => {
                self.answers.push_back(pb::WatchResponse {
                    watch_id: NO_WATCH,
                    canceled: true,
                    cancel_reason: reason.to_owned(),
                    ..created
                });
                return;
            }
        };
        self.answers.push_back(pb::WatchResponse { watch_id: id, ..created });
        let in_step =
            watcher.next > revision && self.subscription.join(id, &watcher.interest, watcher.next);
        if !in_step {
            self.behind.push_back(id);
        }
        self.watchers.insert(id, Watcher { in_step, start, ..watcher });
        self.handle.counts().watchers.inc();
    }

    /// Gives a new watcher its id, or says why there cannot be one.
    fn checked(
        &mut self,
        request: pb::WatchCreateRequest,
        revision: i64,
    ) -> Result<(i64, Watcher), &'static str> {
        let filtered = |filter: FilterType| request.filters.contains(&filter.into());
        let (puts, deletes) = (!filtered(FilterType::Noput), !filtered(FilterType::Nodelete));
        let key = if request.key.is_empty() { Bytes::from_static(&[0]) } else { request.key };
        let range = KeyRange::new(key, request.range_end);
        if range.is_empty() {
            return Err(EMPTY_RANGE);
        }
        let id = match request.watch_id {
            0 => {
                while self.is_taken(self.next_id) {
                    self.next_id += 1;
                }
                self.next_id += 1;
                self.next_id - 1
            }
            taken if self.is_taken(taken) => return Err(DUPLICATE),
            free => free,
        };
        let next = match request.start_revision {
            0 => revision + 1,
            start => start,
        };
        let watcher = Watcher {
            interest: Interest { range, puts, deletes },
            start: request.start_revision,
            next,
            in_step: false,
            previous: request.prev_kv,
            fragment: request.fragment,
            progress: request.progress_notify,
            busy: false,
        };
        Ok((id, watcher))
    }

    fn is_taken(&self, id: i64) -> bool {
        self.watchers.contains_key(&id) || self.compacted.contains(&id)
    }

    fn cancel(&mut self, watch: i64) {
        if self.forget(watch) || self.compacted.remove(&watch) {
            let header = header(self.handle.state().revision());
            let canceled = true;
            self.answers.push_back(pb::WatchResponse {
                header,
                watch_id: watch,
                canceled,
                ..Default::default()
            });
        }
    }

    fn forget(&mut self, watch: i64) -> bool {
        self.subscription.leave(watch);
        self.behind.retain(|id| *id != watch);
        let known = self.watchers.remove(&watch).is_some();
        if known {
            self.handle.counts().watchers.dec();
        }
        known
    }

    fn deliver(&mut self, delivery: Delivery) -> Result<(), Error> {
        match delivery {
            Delivery::Events { watch, batch } => {
                self.send(watch, batch.revision, batch.revision + 1, &batch.events)?;
            }
            Delivery::Behind { watch, next } => {
                if let Some(watcher) = self.watchers.get_mut(&watch) {
                    watcher.in_step = false;
                    watcher.next = next;
                    self.behind.push_back(watch);
                }
            }
        }
        Ok(())
    }

    /// Queues the wanted ones of these events, all below `next`, under a header with `revision`.
    fn send(
        &mut self,
        watch: i64,
        revision: i64,
        next: i64,
        events: &[Event],
    ) -> Result<(), Error> {
        let Some(watcher) = self.watchers.get_mut(&watch) else { return Ok(()) };
        watcher.next = next;
        let wanted = events.iter().filter(|event| watcher.interest.wants(event));
        let events: Vec<_> = if watcher.previous {
            let state = self.handle.state();
            let with_previous = |event: &Event| {
                let kv = &event.kv;
                // The first put of a life has nothing before it, even where the same revision ended another.
                let created = !event.deleted && kv.create_revision == kv.mod_revision;
                let previous =
                    if created { None } else { state.prev_kv(&kv.key, kv.mod_revision)? };
                Ok::<_, StorageError>(encode::event(event, previous))
            };
            let read: Result<_, _> = wanted.map(with_previous).collect();
            self.handle.check(read.map_err(apply::Error::from))?
        } else {
            wanted.map(|event| encode::event(event, None)).collect()
        };
        if events.is_empty() {
            return Ok(());
        }
        watcher.busy = true;
        self.handle.counts().events.inc_by(events.len() as u64);
        let response = pb::WatchResponse {
            header: header(revision),
            watch_id: watch,
            events,
            ..Default::default()
        };
        if watcher.fragment {
            let limit = self.handle.limits().max_request_bytes + grpc::MESSAGE_OVERHEAD;
            encode::fragments(response, limit, &mut self.answers);
        } else {
            self.answers.push_back(response);
        }
        Ok(())
    }

    /// Lets the watcher whose turn it is read a slice of history, and join when it has read all.
    fn catch_up(&mut self) -> Result<(), Error> {
        let Some(watch) = self.behind.pop_front() else { return Ok(()) };
        let Some(watcher) = self.watchers.get_mut(&watch) else { return Ok(()) };
        let state = self.handle.state();
        let (revision, compacted) = (state.revision(), state.compact_revision());
        let read = state.events(&watcher.interest.range, watcher.next, self.slice);
        drop(state);
        let (events, next) = match read {
            Ok(read) => read,
            Err(apply::Error::Compacted) => {
                self.forget(watch);
                self.compacted.insert(watch);
                self.answers.push_back(pb::WatchResponse {
                    header: header(0),
                    watch_id: watch,
                    canceled: true,
                    compact_revision: compacted,
                    ..Default::default()
                });
                return Ok(());
            }
            Err(error) => return self.handle.check(Err(error)),
        };
        let events: Vec<Event> = events.into_iter().flat_map(|(_, events)| events).collect();
        let bytes: usize =
            events.iter().map(|event| event.kv.key.len() + event.kv.value.len()).sum();
        self.slice = match bytes {
            0..=SLICE_BYTES => (self.slice * 2).min(SLICE.1),
            _ => (self.slice / 4).max(1),
        };
        self.send(watch, revision, next, &events)?;
        let Some(watcher) = self.watchers.get_mut(&watch) else { return Ok(()) };
        watcher.in_step = next > revision && self.subscription.join(watch, &watcher.interest, next);
        if !watcher.in_step {
            self.behind.push_back(watch);
        }
        Ok(())
    }

    /// The revision up to which every watcher in step has had everything, after what waits is dealt with.
    fn position(&mut self) -> Result<Option<i64>, Error> {
        for _ in 0..PATIENCE {
            match self.subscription.try_next() {
                Some(delivery) => self.deliver(delivery)?,
                None => return Ok(self.subscription.position()),
            }
        }
        Ok(None)
    }

    /// Tells the quiet watchers how far they are.
    fn report_progress(&mut self) -> Result<(), Error> {
        let Some(position) = self.position()? else { return Ok(()) };
        for (id, watcher) in &mut self.watchers {
            let busy = std::mem::take(&mut watcher.busy);
            let revision = watcher.reached(position);
            if watcher.progress && watcher.in_step && !busy && watcher.start <= revision {
                self.answers.push_back(pb::WatchResponse {
                    header: header(revision),
                    watch_id: *id,
                    ..Default::default()
                });
            }
        }
        Ok(())
    }

    /// Answers a progress request, if every watcher of the stream is in step.
    fn answer_progress(&mut self) -> Result<(), Error> {
        let Some(position) = self.position()? else { return Ok(()) };
        let reached = self.watchers.values().map(|watcher| watcher.reached(position)).min();
        let Some(revision) = reached else { return Ok(()) };
        if self.watchers.values().all(|watcher| watcher.in_step && watcher.start <= revision) {
            self.answers.push_back(pb::WatchResponse {
                header: header(revision),
                watch_id: NO_WATCH,
                ..Default::default()
            });
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let counts = self.handle.counts();
        counts.watch_streams.dec();
        counts.watchers.sub(i64::try_from(self.watchers.len()).unwrap_or(i64::MAX));
    }
}

impl Watcher {
    /// Up to where this watcher has had everything when the hub has got to `position`. What was read
    /// from the store may be ahead of it; a start that is still to come is not.
    fn reached(&self, position: i64) -> i64 {
        if self.start > position { position } else { position.max(self.next - 1) }
    }
}

/// How etcd says that somebody may not watch: as an error of the Go library is printed.
fn refusal(error: auth::Error) -> &'static str {
    match error {
        auth::Error::InvalidToken => {
            "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
        }
        auth::Error::OldRevision => {
            "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old"
        }
        auth::Error::UserEmpty => {
            "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"
        }
        _ => "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
    }
}

fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision, ..Default::default() })
}
