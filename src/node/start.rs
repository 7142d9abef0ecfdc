use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::apply_loop::ApplyLoop;
use super::arrival::Arrivals;
use super::authenticate::Hashing;
use super::data_dir::make_private;
use super::driver::{self, Driver, Inbox, Machine, Messaging};
use super::error::StartError;
use super::flusher::{self, Flusher, Offered};
use super::lease_clock::{self, LeaseClock};
use super::log_loop::LogLoop;
use super::metrics::{ApplyTimes, Metrics};
use super::open::{Opened, open};
use super::reads::{ReadPorts, Reads};
use super::renewals::{self, Renewals};
use super::requests;
use super::running::Running;
use super::shared::Shared;
use super::tokens::Tokens;
use super::waiters::Waiters;
use super::work::{APPLY_QUEUE, LOG_QUEUE, Queues, ReadNews};
use super::{
    Config, Handle, State, compactor, corruption, memory, publish, quota, timeouts,
    watch as watches,
};
use crate::replica::{self, Event, Replica};
use crate::transport::{Dialer, Identity, Peers};
use crate::wal::{Recovered, Wal};

/// What may wait to be told of peers and links.
const NEWS_OF_PEERS: usize = 1024;
/// Proposals that wait for a leader.
const MAX_QUEUED: usize = 4096;

/// Opens or founds the data directory and starts the threads. Must be called inside the runtime.
pub fn start(config: Config, stop: CancellationToken) -> Result<Running, StartError> {
    for path in [config.data_dir.clone(), config.member_dir(), config.snap_dir()] {
        make_private(&path).map_err(|source| StartError::Directory { path, source })?;
    }
    let Opened { wal, recovered, mut state } = open(&config)?;
    state.set_quota(quota::of(config.limits.quota_bytes));
    let identity =
        Identity { cluster: recovered.metadata.cluster, member: recovered.metadata.member };
    let roster = state.roster().clone();
    if roster.removed.contains(&identity.member) {
        return Err(StartError::Removed);
    }
    log_opened(identity, &recovered, &state);
    let (applied, _) = state.applied();

    let (driver, inbox) = Driver::new();
    let (requests, requested) = mpsc::channel(requests::WAITING);
    let (peer_news, of_peers) = mpsc::channel(NEWS_OF_PEERS);
    // Rounds are asked for one at a time, so few answers ever wait.
    let (read_news, reads) = mpsc::unbounded_channel();
    let (found_no_room, no_room) = mpsc::channel(quota::NO_ROOM_QUEUE);
    let offered: Arc<Offered> = Arc::default();
    let source = Arc::clone(&offered);
    let dialer = Dialer::new(config.resolver).map_err(StartError::Resolver)?;
    let messaging = Messaging::new().map_err(StartError::Thread)?;
    let peers = Peers::new(
        identity,
        dialer.secured(config.tls.clone()),
        peer_news,
        Arc::new(move |index| flusher::chunks(&source, index)),
        messaging.runtime().handle().clone(),
        stop.clone(),
    )?;
    // A member that joined knows the cluster by its founding only, until the log tells it more.
    peers.update(if roster.members.is_empty() { &recovered.metadata.roster } else { &roster });
    let buffer_bytes = memory::buffers();
    let replica = replica_config(&config, identity, &recovered, &state, buffer_bytes);
    let replica = Replica::new(replica)?;
    let tokens = Tokens::new(config.auth_token.clone(), state.auth().enabled());
    let shared = Arc::new(Shared {
        identity,
        state: RwLock::new(state),
        roster: Arc::new(ArcSwap::from_pointee(roster)),
        driver,
        requests,
        waiters: Waiters::new(identity.member),
        reads: Reads::default(),
        renewals: Renewals::default(),
        status: watch::Sender::new(replica.status()),
        elected: Mutex::default(),
        progress: ArcSwap::default(),
        applied: watch::Sender::new(applied),
        commit: applied.0.into(),
        peers,
        arrivals: Arrivals::default(),
        watches: watches::Hub::default(),
        leases: LeaseClock::new(),
        tokens,
        hashing: Hashing::default(),
        metrics: Metrics::new(identity, &config.upkeep.features)?,
        orders: OnceLock::new(),
        found_no_room,
        pending: 0.into(),
        published: CancellationToken::new(),
        stop,
        failed: watch::Sender::new(None),
        config,
        buffer_bytes,
    });
    shared.peers.metrics().register(shared.metrics.registry())?;
    shared.watches.restored(shared.read().revision());
    let handle = Handle(Arc::clone(&shared));
    let peer_runtime = messaging.runtime().handle().clone();
    let threads = spawn_threads(ForThreads {
        shared: &shared,
        messaging,
        replica,
        wal,
        offered,
        inbox,
        read_news,
    })?;
    let tasks = spawn_tasks(&handle, ForTasks { reads, no_room, requested, of_peers });
    Ok(Running { handle, peer_runtime, tasks, threads })
}

fn log_opened(identity: Identity, recovered: &Recovered, state: &State) {
    info!(
        member.id = %identity.member,
        cluster.id = %identity.cluster,
        applied = state.applied().0.0,
        log.last = recovered.entries.last().map_or(0, |entry| entry.index.0),
        revision = state.revision(),
        "opened the data directory"
    );
}

/// What the threads take with them.
struct ForThreads<'a> {
    shared: &'a Arc<Shared>,
    /// For the peers' connections.
    messaging: Messaging,
    replica: Replica,
    wal: Wal,
    offered: Arc<Offered>,
    inbox: Inbox,
    read_news: mpsc::UnboundedSender<ReadNews>,
}

fn spawn_threads(with: ForThreads<'_>) -> Result<Vec<JoinHandle<()>>, StartError> {
    let ForThreads { shared, messaging, replica, wal, offered, inbox, read_news } = with;
    let (log, log_work) = mpsc::channel(LOG_QUEUE);
    let (apply, apply_work) = mpsc::channel(APPLY_QUEUE);
    let flusher =
        Flusher::start(Arc::clone(shared), offered, log.clone()).map_err(StartError::Thread)?;
    let apply_loop = ApplyLoop {
        shared: Arc::clone(shared),
        work: apply_work,
        flusher,
        times: ApplyTimes::new(shared.metrics.registry())?,
    };
    let log_loop = LogLoop { wal, shared: Arc::clone(shared), work: log_work };
    let queues = Queues { log, apply, reads: read_news };
    shared.driver.start(Machine { replica, inbox, queues: queues.clone() });
    let (tick, advance) = (shared.config.heartbeat, advance(shared));
    let driven = driver::run(Arc::clone(shared), queues, tick, advance);
    Ok(vec![
        thread("log", move || log_loop.run())?,
        thread("apply", move || apply_loop.run())?,
        thread("replica", move || messaging.runtime().block_on(driven))?,
    ])
}

/// What the tasks take with them.
struct ForTasks {
    reads: mpsc::UnboundedReceiver<ReadNews>,
    no_room: mpsc::Receiver<u64>,
    requested: mpsc::Receiver<Event>,
    of_peers: mpsc::Receiver<Event>,
}

fn spawn_tasks(handle: &Handle, with: ForTasks) -> JoinSet<()> {
    let ForTasks { reads, no_room, requested, of_peers } = with;
    let shared = &handle.0;
    let mut tasks = JoinSet::new();
    let ports = ReadPorts {
        shared: Arc::clone(shared),
        news: reads,
        applied: shared.applied.subscribe(),
        timeout: handle.timeout(),
        slow: handle.counts().reads_slow.clone(),
    };
    let readers = Arc::clone(shared);
    tasks.spawn(async move { readers.reads.run(ports).await });
    let removed = Arc::clone(shared);
    tasks.spawn(async move {
        removed.peers.removed().await;
        removed.leave();
    });
    tasks.spawn(driver::follow_links(handle.clone(), of_peers));
    tasks.spawn(lease_clock::run(handle.clone()));
    tasks.spawn(renewals::run(handle.clone()));
    tasks.spawn(requests::run(handle.clone(), requested));
    tasks.spawn(timeouts::run(handle.clone()));
    tasks.spawn(publish::publish(handle.clone()));
    tasks.spawn(compactor::run(handle.clone()));
    tasks.spawn(quota::watch(handle.clone(), no_room));
    tasks.spawn(corruption::watch(handle.clone()));
    tasks.spawn(corruption::watch_compactions(handle.clone()));
    tasks
}

fn replica_config(
    config: &Config,
    identity: Identity,
    recovered: &Recovered,
    state: &State,
    catchup_bytes: usize,
) -> replica::Config {
    replica::Config {
        id: identity.member,
        roster: state.roster().clone(),
        applied: state.applied().0,
        hard_state: recovered.hard_state,
        base: recovered.base,
        entries: recovered.entries.clone(),
        election_ticks: config.election_ticks() as usize,
        heartbeat_ticks: 1,
        pre_vote: config.pre_vote,
        seed: rand::random(),
        max_learners: config.max_learners,
        max_queued: MAX_QUEUED,
        request_ticks: config.request_ticks(),
        catchup_entries: config.catchup_entries,
        catchup_bytes,
    }
}

/// A lone voter need not wait for others that might lead: it may campaign at once.
fn advance(shared: &Shared) -> u32 {
    let ticks = shared.config.election_ticks();
    let voters = shared.roster.load().voters().count();
    match (voters, shared.config.initial_election_tick_advance) {
        (1, _) => 2 * ticks,
        (_, true) => ticks - 1,
        (_, false) => 0,
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(StartError::Thread)
}
