use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::warn;

use super::apply_loop::ApplyWork;
use super::error::Error;
use super::log_loop::LogWork;
use super::reads::ReadNews;
use super::shared::Shared;
use crate::raft::Role;
use crate::replica::{Effects, Event, Replica, Status};

/// Events taken from one queue in one round. The round's batch is written with one sync, so more
/// would only make the first of them wait longer.
const ROUND: usize = 1024;
/// Heartbeats by which one may be late before it is counted (etcd warns at the same lateness).
const LATE: u32 = 2;

/// The thread that drives consensus: takes everything that is queued, steps, sends, and hands
/// entries to the log thread and the apply thread. It never touches the disk.
pub(super) struct ReplicaLoop {
    pub(super) replica: Replica,
    pub(super) shared: Arc<Shared>,
    /// Peers, and what clients seldom want; bounded, they wait.
    pub(super) outside: mpsc::Receiver<Event>,
    /// Requests of clients, as many as came together.
    pub(super) requests: mpsc::Receiver<Vec<Event>>,
    /// Acknowledgments of the log and apply threads. Without a bound of its own: there are never more
    /// than what this thread handed out, and that is bounded by their queues.
    pub(super) inside: mpsc::UnboundedReceiver<Event>,
    pub(super) log: SyncSender<LogWork>,
    pub(super) apply: SyncSender<ApplyWork>,
    pub(super) reads: mpsc::UnboundedSender<ReadNews>,
    pub(super) tick: Duration,
    /// Ticks to let pass at once at the start, so that the first election need not be waited for.
    pub(super) advance: u32,
}

/// The threads behind have stopped; so does this one.
struct Stopped;

impl ReplicaLoop {
    /// Runs until the node stops.
    pub(super) fn run(mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime without I/O needs nothing that could be missing");
        runtime.block_on(async {
            let mut tick = interval(self.tick);
            tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
            for _ in 0..self.advance {
                self.replica.step(Event::Tick);
            }
            let mut events = Vec::with_capacity(ROUND);
            while self.drain().is_ok() {
                if !self.wait(&mut tick, &mut events).await {
                    break;
                }
                let mut ticked = false;
                for event in events.drain(..) {
                    ticked |= matches!(event, Event::Tick);
                    self.replica.step(event);
                }
                // A learner may be promoted as soon as it has caught up, and not a tick later.
                if ticked || self.replica.leads_learners() {
                    self.shared.progress.store(Arc::new(self.replica.progress()));
                }
            }
        });
    }

    /// Waits for something to happen and collects all of it in the empty `events`; false when the node stops.
    async fn wait(&mut self, tick: &mut Interval, events: &mut Vec<Event>) -> bool {
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return false,
            due = tick.tick() => {
                let exceeded = due.elapsed().saturating_sub(self.tick * LATE);
                if !exceeded.is_zero() && self.replica.status().role == Role::Leader {
                    shared.metrics.counts().late_heartbeats.inc();
                    warn!(
                        heartbeat_interval = ?self.tick,
                        expected_duration = ?(self.tick * LATE),
                        exceeded_duration = ?exceeded,
                        "leader failed to send out heartbeat on time; took too long, leader is overloaded \
                         likely from slow disk"
                    );
                }
                events.push(Event::Tick);
            }
            acknowledged = self.inside.recv() => events.extend(acknowledged),
            arrived = self.outside.recv() => events.extend(arrived),
            requests = self.requests.recv() => events.extend(requests.into_iter().flatten()),
        }
        if events.is_empty() {
            return false;
        }
        while events.len() < ROUND
            && let Ok(event) = self.inside.try_recv()
        {
            events.push(event);
        }
        while events.len() < ROUND
            && let Ok(event) = self.outside.try_recv()
        {
            events.push(event);
        }
        // Of these there are never many, however many members talk.
        while let Ok(requests) = self.requests.try_recv() {
            events.extend(requests);
        }
        true
    }

    /// Does everything the replica asks for.
    fn drain(&mut self) -> Result<(), Stopped> {
        loop {
            let effects = self.replica.effects();
            if effects.is_empty() {
                return Ok(());
            }
            self.perform(effects)?;
        }
    }

    fn perform(&mut self, effects: Effects) -> Result<(), Stopped> {
        if let Some(status) = effects.status {
            self.announce(status);
        }
        // Before anybody else hears of it, or a read of a member that rules alone could miss it.
        self.shared.commit.store(self.replica.status().commit.0, Ordering::Release);
        self.shared.peers.send(effects.send);
        if let Some(persist) = effects.persist {
            self.log.send(LogWork::Persist(persist)).map_err(|_closed| Stopped)?;
        }
        if !effects.committed.is_empty() {
            self.apply.send(ApplyWork::Committed(effects.committed)).map_err(|_closed| Stopped)?;
        }
        if effects.snapshot_wanted {
            self.apply.send(ApplyWork::MakeSnapshot).map_err(|_closed| Stopped)?;
        }
        for ready in effects.reads {
            self.reads.send(ReadNews::Ready(ready)).map_err(|_closed| Stopped)?;
        }
        for lost in effects.reads_lost {
            self.reads.send(ReadNews::Lost(lost)).map_err(|_closed| Stopped)?;
        }
        for refused in effects.refused {
            self.shared.refuse(&refused);
        }
        for id in effects.unknown {
            self.shared.complete(id, Err(Error::FateUnknown));
        }
        Ok(())
    }

    fn announce(&self, status: Status) {
        let before = self.shared.status.send_replace(status);
        if before.leader != status.leader {
            self.shared.metrics.leader_changed(status.leader.is_some());
            if status.leader.is_some() {
                let mut elected = self.shared.elected.lock();
                *elected = Some(Instant::now());
            }
        }
        if before.role != Role::Leader && status.role == Role::Leader {
            let state = self.shared.read();
            self.shared.leases.promote(state.leases().iter(), self.shared.config.election);
        } else if before.role == Role::Leader && status.role != Role::Leader {
            self.shared.leases.demote();
        }
    }
}
