use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::*;
use crate::admission::{Door, Refusal, State};
use crate::api::{self, client_router};
use crate::membership::{InitialCluster, PeerUrl};
use crate::node::{self, Running};
use crate::token::Token;
use crate::transport::{Bound, Dialer, Http, serve};

pub(super) const NOW: UnixMillis = UnixMillis(1_000_000);
const URL: &str = "http://127.0.0.1:8087";

/// A registry in a directory of its own, with its writer running.
pub(super) struct Bench {
    pub(super) registry: Registry,
    tasks: JoinSet<()>,
}

/// Where a test keeps its registry.
pub(super) struct Place {
    dir: TempDir,
    node: Option<Node>,
}

/// A node of this process, for its store.
struct Node {
    running: Running,
    channel: Channel,
    _dir: TempDir,
    _serving: JoinSet<()>,
}

impl Node {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let mut list = InitialCluster::new();
        list.add("n1", PeerUrl::parse("http://127.0.0.1:1").unwrap());
        let config = node::Config::for_test(dir.path(), "n1", &list, "test");
        let running = node::start(config, CancellationToken::new()).unwrap();
        tokio::time::timeout(Duration::from_secs(60), running.ready()).await.unwrap();
        let bound = Bound::bind("127.0.0.1:0").await.unwrap();
        let url = PeerUrl::parse(&format!("http://{}", bound.address())).unwrap();
        let router = client_router(running.handle(), api::Options::default());
        let mut serving = JoinSet::new();
        serving.spawn(serve(bound, router, Http::default(), CancellationToken::new()));
        let channel = Dialer::default().connect_lazy(&[url]).unwrap();
        Self { running, channel, _dir: dir, _serving: serving }
    }
}

impl Place {
    pub(super) fn sqlite() -> Self {
        Self { dir: TempDir::new().unwrap(), node: None }
    }

    pub(super) async fn cluster() -> Self {
        Self { node: Some(Node::start().await), ..Self::sqlite() }
    }

    /// The registry as it is there.
    pub(super) async fn open(&self) -> Bench {
        self.open_as("one").await
    }

    /// The registry as a service with a data directory of its own sees it.
    pub(super) async fn open_as(&self, service: &str) -> Bench {
        let cluster = self.node.as_ref().map(|node| etcd::Config {
            members: vec![node.channel.clone()],
            url: "etcd://test".to_owned(),
            prefix: "quorate".to_owned(),
            login: None,
        });
        Bench::start(Config { cluster, ..config(&self.dir.path().join(service)) }).await
    }

    pub(super) async fn close(self) {
        if let Some(node) = self.node {
            node.running.close().await;
        }
    }
}

/// Runs tests with the registry in SQLite, and again with it in a cluster.
macro_rules! in_both_stores {
    ($($case:ident,)*) => {
        mod in_sqlite {
            $(#[tokio::test]
            async fn $case() {
                super::$case(crate::registry::tests::Place::sqlite()).await;
            })*
        }
        mod in_a_cluster {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(crate::registry::tests::Place::cluster().await).await;
            })*
        }
    };
}
pub(super) use in_both_stores;

impl Bench {
    pub(super) async fn open(dir: &Path) -> Self {
        Self::start(config(dir)).await
    }

    async fn start(config: Config) -> Self {
        let (registry, writer) = Registry::open(config).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async { writer.run().await.unwrap() });
        Self { registry, tasks }
    }

    /// Lets the writer go, as a clean stop does.
    pub(super) async fn close(self) {
        drop(self.registry);
        self.tasks.join_all().await;
    }

    pub(super) async fn token(&self, size: &str) -> TokenPath {
        let token = new_token(size);
        self.registry.create(token, NOW).await.unwrap().founding.path.clone()
    }
}

pub(super) fn config(dir: &Path) -> Config {
    let data_dir = dir.join("data");
    Config {
        data_dir,
        cluster: None,
        token_ttl: "1h".parse().unwrap(),
        sealed_ttl: "2h".parse().unwrap(),
        max_surplus: 300,
    }
}

pub(super) fn new_token(size: &str) -> NewToken {
    let size = ClusterSize::parse(size, 9).unwrap();
    NewToken {
        path: TokenPath::short(&Token::draw()),
        size,
        label: None,
        ttl: None,
        client_port: None,
        from: None,
    }
}

pub(super) fn application(path: &TokenPath, n: usize) -> Application {
    let value = format!("n{n}=http://127.0.0.1:{}", 3000 + n);
    let member: InitialCluster = value.parse().unwrap();
    let id = member.member_id(&format!("n{n}"), &path.discovery_url(URL)).unwrap();
    let door = Door { public_url: URL.into(), ..Door::default() };
    Application::check(&id.to_string(), &value, path, &door).unwrap()
}

async fn founders_are_those_who_came_first_and_indexes_ascend(place: Place) {
    let bench = place.open().await;
    let path = bench.token("2").await;
    let mut outcomes = Vec::new();
    for n in [1, 1, 2, 3, 3] {
        let done = bench.registry.register(path.clone(), application(&path, n), NOW).await.unwrap();
        outcomes.push((done.outcome, done.registered.index));
    }
    use Outcome::{Founded, Resumed, Sealed, Surplus};
    assert_eq!(outcomes, [(Founded, 5), (Resumed, 5), (Sealed, 6), (Surplus, 7), (Resumed, 7)]);
    let founding = bench.registry.founding(&path).unwrap();
    assert_eq!((founding.index, founding.founders.len(), founding.surplus.len()), (7, 2, 1));
    assert_eq!(founding.expires_at, NOW.after(Duration::from_secs(7200)), "sealed ttl counts");
    let refused = bench.registry.register(path.clone(), application(&path, 1), NOW).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::FounderReturned { .. }))));
}

async fn everything_is_there_again_after_a_restart(place: Place) {
    let bench = place.open().await;
    let label = NewToken { label: Some("prod".parse().unwrap()), ..new_token("2") };
    bench.registry.create(label, NOW).await.unwrap();
    let path = bench.token("2").await;
    for n in [1, 2, 3] {
        bench.registry.register(path.clone(), application(&path, n), NOW).await.unwrap();
    }
    let before = bench.registry.founding(&path).unwrap();
    let (index, id) = (bench.registry.index(), bench.registry.cluster_id().to_owned());
    bench.close().await;

    let bench = place.open().await;
    let after = bench.registry.founding(&path).unwrap();
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
    assert_eq!((bench.registry.index(), bench.registry.cluster_id()), (index, id.as_str()));
    assert_eq!(after.event_since(6).unwrap().index, 6, "history is complete");
    let taken = NewToken { label: Some("prod".parse().unwrap()), ..new_token("3") };
    let taken = bench.registry.create(taken, NOW).await.unwrap_err();
    assert_eq!(taken, Error::LabelTaken { label: "prod".into() });
    let next = bench.registry.create(new_token("1"), NOW).await.unwrap();
    assert_eq!(next.founding.created_index, index + 1);
}

async fn two_hundred_at_once_make_one_cluster_that_all_agree_on(place: Place) {
    let bench = place.open().await;
    let path = bench.token("3").await;
    let mut racing = JoinSet::new();
    for n in 0..200 {
        let (registry, path) = (bench.registry.clone(), path.clone());
        racing.spawn(async move {
            let done = registry.register(path.clone(), application(&path, n), NOW).await.unwrap();
            (done.outcome, done.registered.index)
        });
    }
    let mut answers = racing.join_all().await;
    answers.sort_by_key(|(_, index)| *index);
    let indexes: BTreeSet<u64> = answers.iter().map(|(_, index)| *index).collect();
    assert_eq!(indexes.len(), 200, "every registration has an index of its own");
    let outcomes: Vec<Outcome> = answers.iter().map(|(outcome, _)| *outcome).collect();
    assert_eq!(outcomes[..3], [Outcome::Founded, Outcome::Founded, Outcome::Sealed]);
    assert!(outcomes[3..].iter().all(|outcome| *outcome == Outcome::Surplus));
    let commits = bench.registry.counts(NOW).commits;
    assert!(commits < 100, "200 registrations took {commits} transactions, they were not grouped");
}

async fn a_waiter_hears_of_the_next_founder(place: Place) {
    let bench = place.open().await;
    let path = bench.token("3").await;
    let waiting = {
        let (registry, path) = (bench.registry.clone(), path.clone());
        tokio::spawn(async move {
            registry.wait(&path, |held| held.event_since(5).map(|event| event.index)).await
        })
    };
    tokio::task::yield_now().await;
    bench.registry.register(path.clone(), application(&path, 1), NOW).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap();
    assert_eq!(heard, Some(5));
    let unknown = TokenPath::short(&Token::draw());
    assert_eq!(bench.registry.wait(&unknown, |_| Some(())).await, None);
}

async fn tokens_are_made_once_and_keep_their_size(place: Place) {
    let bench = place.open().await;
    let token = new_token("3");
    assert!(!bench.registry.create(token.clone(), NOW).await.unwrap().existed);
    assert!(bench.registry.create(token.clone(), NOW).await.unwrap().existed);
    let other = NewToken { size: ClusterSize::parse("5", 9).unwrap(), ..token.clone() };
    let refused = bench.registry.create(other.clone(), NOW).await.unwrap_err();
    assert_eq!(refused, Error::Refused(Refusal::SizeFixed { size: 3 }));
    // Once it has expired, its path is free.
    let later = NOW.after(Duration::from_secs(3600));
    let again = bench.registry.create(other, later).await.unwrap();
    assert_eq!((again.existed, again.founding.size.get()), (false, 5));
}

async fn expired_tokens_refuse_and_are_forgotten_in_the_end(place: Place) {
    let bench = place.open().await;
    let prod = NewToken { label: Some("prod".parse().unwrap()), ..new_token("3") };
    let path = bench.registry.create(prod, NOW).await.unwrap().founding.path.clone();
    let expired = NOW.after(Duration::from_secs(3600));
    assert_eq!(bench.registry.founding(&path).unwrap().state(expired), State::Expired);
    let refused = bench.registry.register(path.clone(), application(&path, 1), expired).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::Expired))));
    let prod = NewToken { label: Some("prod".parse().unwrap()), ..new_token("3") };
    bench.registry.create(prod, expired).await.unwrap();

    bench.registry.sweep(expired).await.unwrap();
    assert!(bench.registry.founding(&path).is_some(), "nodes are told that it expired");
    let index = bench.registry.index();
    bench.registry.sweep(expired.after(Duration::from_secs(86_400))).await.unwrap();
    assert!(bench.registry.founding(&path).is_none());
    bench.close().await;
    let bench = place.open().await;
    assert!(bench.registry.founding(&path).is_none());
    assert_eq!(bench.registry.index(), index, "indexes do not go back with the token");
}

async fn full_tokens_and_expected_labels_are_milestones(place: Place) {
    let bench = place.open().await;
    let mut milestones = bench.registry.milestones();
    let prod = NewToken { label: Some("prod".parse().unwrap()), ..new_token("1") };
    let path = bench.registry.create(prod, NOW).await.unwrap().founding.path.clone();
    assert!(matches!(milestones.recv().await.unwrap(), Milestone::Token(it) if it.path == path));
    bench.registry.register(path.clone(), application(&path, 1), NOW).await.unwrap();
    // A store that several services share may tell again what was told.
    let full = loop {
        match milestones.recv().await.unwrap() {
            Milestone::Token(token) if token.is_full() => break token,
            _ => {}
        }
    };
    assert_eq!(full.path, path);
    assert_eq!(bench.registry.full(NOW).len(), 1);
    assert_eq!(bench.registry.full(NOW.after(Duration::from_secs(7200))).len(), 0);
}

#[tokio::test]
async fn a_directory_belongs_to_one_process_and_to_its_owner() {
    let dir = TempDir::new().unwrap();
    let bench = Bench::open(dir.path()).await;
    let mode = std::fs::metadata(dir.path().join("data")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let error = Registry::open(config(dir.path())).await.unwrap_err().to_string();
    assert!(error.contains("in use by another quorate process (pid "), "{error}");
    bench.close().await;
    Bench::open(dir.path()).await.close().await;
}

#[tokio::test]
async fn a_directory_of_a_member_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir_all(data.join("member/snap")).unwrap();
    let error = Registry::open(config(dir.path())).await.unwrap_err().to_string();
    assert!(error.contains("is that of a member of a cluster; give `quorate serve`"), "{error}");
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1, "nothing is written there");
}

pub(super) async fn connect(dir: &Path) -> SqliteConnection {
    let database = dir.join("data/registry.db");
    SqliteConnectOptions::new().filename(database).connect().await.unwrap()
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone() {
    let dir = TempDir::new().unwrap();
    Bench::open(dir.path()).await.close().await;
    let mut connection = connect(dir.path()).await;
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (99, 'from the future', 1, x'00', 0)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let error = Registry::open(config(dir.path())).await.unwrap_err().to_string();
    assert!(error.contains("written by a newer quorate (schema 99)"), "{error}");
}

#[tokio::test]
async fn a_damaged_database_is_refused() {
    let dir = TempDir::new().unwrap();
    let bench = Bench::open(dir.path()).await;
    for _ in 0..200 {
        bench.token("3").await;
    }
    bench.close().await;
    let database = dir.path().join("data/registry.db");
    // Everything is in the main file once the last connection has closed.
    let mut bytes = std::fs::read(&database).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xa5);
    std::fs::write(&database, &bytes).unwrap();
    let error = Registry::open(config(dir.path())).await.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");

    std::fs::write(&database, b"this is a text and no database, and it is long enough").unwrap();
    let error = Registry::open(config(dir.path())).await.unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
}

/// Somebody holds the write lock longer than we wait; the same path as a full disk.
#[tokio::test]
async fn writes_work_again_after_trouble() {
    let dir = TempDir::new().unwrap();
    let bench = Bench::open(dir.path()).await;
    let path = bench.token("3").await;
    let mut other = connect(dir.path()).await;
    sqlx::query("begin immediate").execute(&mut other).await.unwrap();
    let failed = bench.registry.register(path.clone(), application(&path, 1), NOW).await;
    assert_eq!(failed.unwrap_err(), Error::Unavailable);
    assert!(!bench.registry.is_writable());
    assert!(bench.registry.founding(&path).unwrap().founders.is_empty(), "reads still work");
    sqlx::query("rollback").execute(&mut other).await.unwrap();
    let done = bench.registry.register(path.clone(), application(&path, 1), NOW).await.unwrap();
    assert_eq!((done.outcome, done.registered.index), (Outcome::Founded, 5));
    assert!(bench.registry.is_writable());
}

in_both_stores! {
    founders_are_those_who_came_first_and_indexes_ascend,
    everything_is_there_again_after_a_restart,
    two_hundred_at_once_make_one_cluster_that_all_agree_on,
    a_waiter_hears_of_the_next_founder,
    tokens_are_made_once_and_keep_their_size,
    expired_tokens_refuse_and_are_forgotten_in_the_end,
    full_tokens_and_expected_labels_are_milestones,
}
