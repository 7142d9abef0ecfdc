use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::TokenOptions;
use crate::membership::{ClusterId, MemberId, Roster};
use crate::transport::tls::TlsClient;

/// What a request may take besides waiting for elections.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// What a node needs to run once it knows which cluster it belongs to.
#[derive(Debug, Clone)]
pub struct Config {
    pub name: String,
    /// Holds `member/wal`, `member/snap` and `member/store.redb`.
    pub data_dir: PathBuf,
    /// Where the log lives when it is to be on another disk than the data directory.
    pub wal_dir: Option<PathBuf>,
    pub advertise_client_urls: Vec<String>,
    /// Ignored when the log exists already.
    pub founding: Option<Founding>,
    /// The DNS server that knows the peers' names, if it is not the system's.
    pub resolver: Option<SocketAddr>,
    /// For peers whose URLs ask for it.
    pub tls: Option<TlsClient>,
    pub heartbeat: Duration,
    pub election: Duration,
    pub pre_vote: bool,
    /// Let a lone or well-connected node campaign sooner at start.
    pub initial_election_tick_advance: bool,
    /// Applied entries after which the log is cut again.
    pub snapshot_count: u64,
    /// Entries kept behind for slow followers.
    pub catchup_entries: u64,
    /// Durability is given up for speed; asked for by `--unsafe-no-fsync` only.
    pub unsafe_no_fsync: bool,
    /// The log exists and all other members are taken out of the cluster.
    pub force_new_cluster: bool,
    pub strict_reconfig_check: bool,
    pub max_learners: usize,
    pub limits: Limits,
    pub auth_token: TokenOptions,
    /// What hashing a password costs: a power of two.
    pub bcrypt_cost: u32,
    pub upkeep: Upkeep,
}

/// What a node does by itself to stay small and sound.
#[derive(Debug, Clone)]
pub struct Upkeep {
    pub auto_compaction: AutoCompaction,
    /// Revisions that compaction removes before others get their turn.
    pub compaction_batch: usize,
    /// How long it pauses then.
    pub compaction_pause: Duration,
    /// Compare hashes with the other members before clients are served.
    pub initial_corrupt_check: bool,
    /// How often the leader compares hashes with the other members; zero: never.
    pub corrupt_check_time: Duration,
    /// How often the leader compares what lies before the last compaction with the other members; zero: never.
    pub compact_check_time: Duration,
    /// Entries that take longer to apply are logged.
    pub warning_apply_duration: Duration,
    /// What the metrics tell of etcd's feature gates.
    pub features: Vec<Feature>,
}

/// A feature gate of etcd and whether this node does what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    pub name: &'static str,
    /// `ALPHA` or `BETA`.
    pub stage: &'static str,
    pub enabled: bool,
}

/// History that is compacted without anybody asking for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoCompaction {
    Off,
    /// What is older.
    Periodic(Duration),
    /// What is further behind the newest revision.
    Revision(i64),
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            auto_compaction: AutoCompaction::Off,
            compaction_batch: 2_000,
            compaction_pause: Duration::ZERO,
            initial_corrupt_check: false,
            corrupt_check_time: Duration::ZERO,
            compact_check_time: Duration::ZERO,
            warning_apply_duration: Duration::from_millis(100),
            features: Vec::new(),
        }
    }
}

/// The identity of a node that starts without a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    pub member: MemberId,
    pub cluster: ClusterId,
    /// The members the cluster starts with; for a node that joins a running cluster, those it has now.
    pub roster: Roster,
    /// Whether this node joins a running cluster: its log starts empty and it waits to be sent one.
    pub join: bool,
}

/// What a client may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_request_bytes: usize,
    pub max_txn_ops: usize,
    /// Zero or less: no quota.
    pub quota_bytes: i64,
    pub max_concurrent_streams: Option<u32>,
    pub watch_progress_interval: Duration,
}

impl Config {
    /// Holds everything of this member but its log, if that lives elsewhere.
    pub fn member_dir(&self) -> PathBuf {
        self.data_dir.join("member")
    }

    /// Holds snapshots received from the leader.
    pub fn snap_dir(&self) -> PathBuf {
        self.member_dir().join("snap")
    }

    /// Holds the log.
    pub fn log_dir(&self) -> PathBuf {
        self.wal_dir.clone().unwrap_or_else(|| self.member_dir().join("wal"))
    }

    /// How long a request may take: etcd's five seconds and two elections.
    pub fn request_timeout(&self) -> Duration {
        REQUEST_TIME + 2 * self.election
    }

    /// The same in heartbeats.
    pub fn request_ticks(&self) -> u32 {
        let ticks = self.request_timeout().as_millis() / self.heartbeat.as_millis().max(1);
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    /// Heartbeats that fit into one election timeout; never less than two.
    pub fn election_ticks(&self) -> u32 {
        let ticks = self.election.as_millis() / self.heartbeat.as_millis().max(1);
        u32::try_from(ticks).unwrap_or(u32::MAX).max(2)
    }
}

#[cfg(test)]
impl Config {
    /// A founder of `list` with its data below `dir`, in a hurry to elect and to report progress.
    pub(crate) fn for_test(
        dir: &std::path::Path,
        name: &str,
        list: &crate::membership::InitialCluster,
        token: &str,
    ) -> Self {
        Self {
            name: name.to_owned(),
            data_dir: dir.join(name),
            wal_dir: None,
            advertise_client_urls: vec![format!("http://{name}.test:2379")],
            founding: Some(Founding {
                member: list.member_id(name, token).expect("the list has the member"),
                cluster: list.cluster_id(token),
                roster: list.roster(token),
                join: false,
            }),
            resolver: None,
            tls: None,
            heartbeat: Duration::from_millis(20),
            election: Duration::from_millis(1000),
            pre_vote: true,
            initial_election_tick_advance: true,
            snapshot_count: 10_000,
            catchup_entries: 5_000,
            force_new_cluster: false,
            unsafe_no_fsync: false,
            strict_reconfig_check: true,
            max_learners: 1,
            limits: Limits {
                max_request_bytes: 1_572_864,
                max_txn_ops: 128,
                quota_bytes: 0,
                max_concurrent_streams: None,
                watch_progress_interval: Duration::from_millis(200),
            },
            auth_token: TokenOptions::default(),
            bcrypt_cost: 4,
            upkeep: Upkeep::default(),
        }
    }
}
