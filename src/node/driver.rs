use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::Handle;
use super::error::Error;
use super::shared::Shared;
use super::turns::{Stopped, Turns};
use super::work::{ApplyWork, LogWork, Queues, ReadNews, Room};
use crate::raft::Role;
use crate::replica::{Effects, Event, Replica, Status};

/// Peer messages that may wait for the replica; beyond it they wait at their source.
const OUTSIDE: usize = 4096;
/// Times that requests may be taken along before the replica has looked.
const REQUESTS: usize = 4;
/// Events taken from one queue in one turn. The turn's batch is written with one sync, so more
/// would only make the first of them wait longer.
const TURN: usize = 1024;
/// Heartbeats by which one may be late before it is counted (etcd warns at the same lateness).
const LATE: u32 = 2;

/// Drives consensus: takes everything that was brought, steps the replica, sends, and hands entries to the log and the
/// state. It never touches the disk, and never waits.
///
/// Whoever brings an event takes a turn, unless somebody else does: to wake a thread takes longer than most turns. The
/// thread `replica` ([`run`]) takes its turn when time has passed, when one was not enough, and when the log or the
/// state, which were too far behind, have room again. The peers' connections are served on that thread, too, so that
/// no message between members has to wake another.
pub(super) struct Driver {
    outside: mpsc::Sender<Event>,
    requests: mpsc::Sender<Vec<Event>>,
    /// Without a bound of its own: there are never more acknowledgments than work was handed out, and that is bounded
    /// by the queues of those who do it. They must not wait here, since the replica may be waiting for them.
    inside: mpsc::UnboundedSender<Event>,
    turns: Turns<Machine>,
    /// Calls the thread.
    bell: Notify,
}

/// The queues of what was brought.
#[derive(Debug)]
pub(super) struct Inbox {
    /// From peers, and what clients seldom want; bounded, they wait.
    outside: mpsc::Receiver<Event>,
    /// Requests of clients, as many as came together.
    requests: mpsc::Receiver<Vec<Event>>,
    /// Acknowledgments of the log and of the state.
    inside: mpsc::UnboundedReceiver<Event>,
}

/// The replica, and what it works with.
pub(super) struct Machine {
    pub(super) replica: Replica,
    pub(super) inbox: Inbox,
    pub(super) queues: Queues,
}

/// What is left after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    More,
    /// Until the log or the state have caught up.
    NoRoom,
}

impl Driver {
    /// A driver that has no replica yet, and the other ends of its queues.
    pub(super) fn new() -> (Self, Inbox) {
        let (outside, from_outside) = mpsc::channel(OUTSIDE);
        let (requests, taken) = mpsc::channel(REQUESTS);
        let (inside, from_inside) = mpsc::unbounded_channel();
        let inbox = Inbox { outside: from_outside, requests: taken, inside: from_inside };
        (Self { outside, requests, inside, turns: Turns::new(), bell: Notify::new() }, inbox)
    }

    /// Gives it the replica.
    pub(super) fn start(&self, machine: Machine) {
        self.turns.start(machine);
    }

    /// Acknowledges what need not be known at once, and costs those little who have other things to do.
    pub(super) fn mention(&self, event: Event) -> Result<(), Stopped> {
        self.inside.send(event).map_err(|_closed| Stopped)?;
        self.bell.notify_one();
        Ok(())
    }
}

impl Shared {
    /// Brings what peers or clients want; waits while too much of that is queued.
    pub(super) async fn bring(
        &self,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<(), Stopped> {
        for event in events {
            match self.driver.outside.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.drive();
                    self.driver.outside.send(event).await.map_err(|_closed| Stopped)?;
                }
                Err(TrySendError::Closed(_)) => return Err(Stopped),
            }
        }
        self.drive();
        Ok(())
    }

    /// Brings the requests of clients that came together; waits while the replica has no time for them.
    pub(super) async fn request(&self, together: Vec<Event>) -> Result<(), Stopped> {
        self.driver.requests.send(together).await.map_err(|_closed| Stopped)?;
        self.drive();
        Ok(())
    }

    /// Brings an acknowledgment of the log or of the state.
    pub(super) fn acknowledge(&self, event: Event) -> Result<(), Stopped> {
        self.driver.inside.send(event).map_err(|_closed| Stopped)?;
        self.drive();
        Ok(())
    }

    /// Takes a turn if nobody else does.
    fn drive(&self) {
        match self.driver.turns.offer(|machine| machine.turn(self, 0)) {
            None | Some(Ok((Left::Nothing, false))) => {}
            Some(_) => self.driver.bell.notify_one(),
        }
    }
}

/// Lets time pass, and takes the turns that nobody else can; runs until the node stops.
///
/// `advance` ticks pass at once, so that the first election need not be waited for.
pub(super) async fn run(shared: Arc<Shared>, queues: Queues, tick: Duration, advance: u32) {
    let mut ticks = interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut passed = advance;
    let turns = &shared.driver.turns;
    while let Ok((left, more)) = turns.take(|machine| machine.turn(&shared, passed)) {
        let again = async {
            match left {
                Left::Nothing if !more => shared.driver.bell.notified().await,
                // Others on this thread may have something urgent.
                Left::Nothing | Left::More => yield_now().await,
                Left::NoRoom => queues.wait_for_room().await,
            }
        };
        passed = tokio::select! {
            biased;
            () = shared.stop.cancelled() => break,
            due = ticks.tick() => {
                warn_if_late(&shared, due.elapsed(), tick);
                1
            }
            () = again => 0,
        };
    }
    // The threads behind end when nobody can hand them work.
    turns.end();
}

/// The runtime of the peers' connections; may be dropped where nobody may wait.
#[derive(Debug)]
pub(super) struct Messaging(Option<Runtime>);

impl Messaging {
    pub(super) fn new() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    pub(super) fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Messaging {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Brings what the links to the peers tell.
pub(super) async fn follow_links(handle: Handle, mut of_peers: mpsc::Receiver<Event>) {
    while let Some(event) = of_peers.recv().await
        && handle.0.bring([event]).await.is_ok()
    {}
}

fn warn_if_late(shared: &Shared, since_due: Duration, tick: Duration) {
    let exceeded = since_due.saturating_sub(tick * LATE);
    if !exceeded.is_zero() && shared.status.borrow().role == Role::Leader {
        shared.metrics.counts().late_heartbeats.inc();
        warn!(
            heartbeat_interval = ?tick,
            expected_duration = ?(tick * LATE),
            exceeded_duration = ?exceeded,
            "leader failed to send out heartbeat on time; took too long, leader is overloaded \
             likely from slow disk"
        );
    }
}

impl Machine {
    /// Steps the replica with what was brought and hands on what it asks for, as far as there is room.
    fn turn(&mut self, shared: &Shared, ticks: u32) -> Result<Left, Stopped> {
        let Self { replica, inbox, queues } = self;
        let Some(mut room) = queues.room()? else { return Ok(Left::NoRoom) };
        for _ in 0..ticks {
            replica.step(Event::Tick);
        }
        let left = inbox.step(replica);
        loop {
            let effects = replica.effects();
            if effects.is_empty() {
                break;
            }
            // Before anybody else hears of it, or a read of a member that rules alone could miss it.
            shared.commit.store(replica.status().commit.0, Ordering::Release);
            perform(shared, effects, room, &queues.reads)?;
            room = match queues.room()? {
                Some(room) => room,
                None => return Ok(Left::NoRoom),
            };
        }
        // A learner may be promoted as soon as it has caught up, and not a tick later.
        if ticks > 0 || replica.leads_learners() {
            shared.progress.store(Arc::new(replica.progress()));
        }
        Ok(left)
    }
}

impl Inbox {
    fn step(&mut self, replica: &mut Replica) -> Left {
        let Self { outside, requests, inside } = self;
        let inside = std::iter::from_fn(|| inside.try_recv().ok()).take(TURN);
        let outside = std::iter::from_fn(|| outside.try_recv().ok()).take(TURN);
        let mut taken = 0;
        for event in inside.chain(outside) {
            replica.step(event);
            taken += 1;
        }
        // Of these there are never many, however many members talk.
        while let Ok(together) = requests.try_recv() {
            together.into_iter().for_each(|event| replica.step(event));
        }
        if taken < TURN { Left::Nothing } else { Left::More }
    }
}

fn perform(
    shared: &Shared,
    effects: Effects,
    mut room: Room<'_>,
    reads: &mpsc::UnboundedSender<ReadNews>,
) -> Result<(), Stopped> {
    if let Some(status) = effects.status {
        announce(shared, status);
    }
    shared.peers.send(effects.send);
    if let Some(persist) = effects.persist {
        room.log.send(LogWork::Persist(persist));
    }
    let committed = (!effects.committed.is_empty()).then_some(effects.committed);
    let snapshot = effects.snapshot_wanted.then_some(ApplyWork::MakeSnapshot);
    for work in committed.map(ApplyWork::Committed).into_iter().chain(snapshot) {
        room.apply.next().expect("there is room for both").send(work);
    }
    let ready = effects.reads.into_iter().map(ReadNews::Ready);
    let lost = effects.reads_lost.into_iter().map(ReadNews::Lost);
    for news in ready.chain(lost) {
        reads.send(news).map_err(|_closed| Stopped)?;
    }
    for refused in effects.refused {
        shared.refuse(&refused);
    }
    for id in effects.unknown {
        shared.complete(id, Err(Error::FateUnknown));
    }
    Ok(())
}

fn announce(shared: &Shared, status: Status) {
    let before = shared.status.send_replace(status);
    if before.leader != status.leader {
        shared.metrics.leader_changed(status.leader.is_some());
        if status.leader.is_some() {
            let mut elected = shared.elected.lock();
            *elected = Some(Instant::now());
        }
    }
    if before.role != Role::Leader && status.role == Role::Leader {
        let state = shared.read();
        shared.leases.promote(state.leases().iter(), shared.config.election);
    } else if before.role == Role::Leader && status.role != Role::Leader {
        shared.leases.demote();
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}
