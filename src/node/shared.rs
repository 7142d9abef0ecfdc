use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::arrival::Arrivals;
use super::authenticate::Hashing;
use super::driver::Driver;
use super::flusher::Orders;
use super::lease_clock::LeaseClock;
use super::metrics::Metrics;
use super::reads::Reads;
use super::renewals::Renewals;
use super::tokens::Tokens;
use super::waiters::Waiters;
use super::{Config, Error, State};
use crate::apply;
use crate::membership::{Member, Roster};
use crate::proto::quorate::replica::Request;
use crate::raft::{Index, PeerProgress};
use crate::replica::{Event, Status};
use crate::transport::{Identity, Peers};

/// What a client that waits for a request gets.
pub(super) type Answer = Result<Done, Error>;

/// What came of a request.
#[derive(Debug)]
pub(super) enum Done {
    Request(apply::Response),
    Membership(Vec<Member>),
}

/// Everything that the threads and the handles of one node have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    /// What entries may take of the memory: those that followers could still need, and as much what waits for the store.
    pub(super) buffer_bytes: usize,
    pub(super) identity: Identity,
    /// A writer that waits goes before readers that come after it. The standard library's lock makes no such promise: who
    /// reads slice after slice would be back before the writer is awake, until the whole range is read.
    pub(super) state: RwLock<State>,
    pub(super) roster: Arc<ArcSwap<Roster>>,
    pub(super) driver: Driver,
    /// The way there for requests of clients, of which there are many.
    pub(super) requests: mpsc::Sender<Event>,
    pub(super) waiters: Waiters<Answer>,
    pub(super) reads: Reads,
    pub(super) renewals: Renewals,
    pub(super) status: watch::Sender<Status>,
    /// When the last leader was elected that this member has heard of.
    pub(super) elected: Mutex<Option<Instant>>,
    /// How far the peers are; filled on the leader only, once a tick.
    pub(super) progress: ArcSwap<Vec<PeerProgress>>,
    pub(super) applied: watch::Sender<Index>,
    pub(super) commit: AtomicU64,
    pub(super) peers: Arc<Peers>,
    pub(super) arrivals: Arrivals,
    pub(super) watches: super::watch::Hub,
    pub(super) leases: LeaseClock,
    pub(super) tokens: Tokens,
    pub(super) hashing: Hashing,
    pub(super) metrics: Metrics,
    /// The way to the flush thread, from when it runs.
    pub(super) orders: OnceLock<Orders>,
    /// The ids of applied requests that found no room here: they are answered when the alarm is raised.
    pub(super) found_no_room: mpsc::Sender<u64>,
    /// Requests whose answer is waited for.
    pub(super) pending: AtomicI64,
    /// Cancelled once the cluster knows this member's name: from then on the node serves.
    pub(super) published: CancellationToken,
    pub(super) stop: CancellationToken,
    /// Why the node cannot go on; the first reason counts.
    pub(super) failed: watch::Sender<Option<String>>,
}

impl Shared {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read()
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write()
    }

    /// Ends the node: an error that only this replica has must not become an answer.
    pub(super) fn fail(&self, reason: String) {
        tracing::error!(error = reason, "the node cannot go on");
        self.failed.send_if_modified(|held| {
            let first = held.is_none();
            held.get_or_insert(reason);
            first
        });
        self.stop.cancel();
    }

    /// Ends the node without fault: the cluster goes on without it.
    pub(super) fn leave(&self) {
        tracing::warn!(member.id = %self.identity.member, "{}", crate::transport::REMOVED);
        tracing::warn!(
            data_dir = %self.config.data_dir.display(),
            "data-dir used by this member must be removed"
        );
        self.stop.cancel();
    }

    /// Answers the client whose encoded request found no room.
    pub(super) fn refuse(&self, request: &[u8]) {
        let Ok(request) = Request::decode(request) else { return };
        self.complete(request.id, Err(Error::TooManyRequests));
    }

    /// Answers whoever waits for this request here.
    pub(super) fn complete(&self, id: u64, answer: Answer) {
        if let Some(waiter) = self.waiters.take(id) {
            // A client that gave up needs no answer.
            drop(waiter.reply.send(answer));
        }
    }

    pub(super) fn applied_index(&self) -> Index {
        *self.applied.borrow()
    }

    pub(super) fn commit_index(&self) -> Index {
        Index(self.commit.load(Ordering::Acquire))
    }
}
