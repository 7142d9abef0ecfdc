use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::health::client_ports;
use crate::admission::{Founding, State, UnixMillis};
use crate::dns_server::{Catalog, PublishError, Published};
use crate::registry::{self, Milestone, Registry};
use crate::token::TokenPath;

/// How often all tokens are looked at, so that expired clusters go.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The shortest time from the end of one look at all tokens to the next.
const PAUSE: Duration = Duration::from_millis(50);

/// Tokens between which it is asked whether one is complete that members wait for.
const AT_ONCE: usize = 64;

/// Shows complete clusters in DNS, each under its label or the public id of its token.
///
/// What the registry tells of a token is done at once and costs what that token costs, however many
/// others there are. What nobody tells, such as the end of a token's time, is found by a look at
/// all tokens, which goes on in small steps and lets what is told pass.
#[derive(Debug)]
pub(super) struct Publisher {
    registry: Registry,
    catalog: Arc<Catalog>,
    /// What each label is known for in DNS.
    shown: BTreeMap<String, Shown>,
    /// Client ports that are left out; none with `--dns-check` off.
    closed: watch::Receiver<BTreeSet<SocketAddr>>,
}

/// What a label is known for, and the token that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    /// The names exist and have no records yet.
    Expected(TokenPath),
    /// The cluster of the token with this index, without these client ports.
    Cluster(TokenPath, u64, BTreeSet<SocketAddr>),
}

/// How far a look at all tokens has come.
#[derive(Debug)]
enum Look {
    /// Labels after this one may be known for tokens that are no more.
    Labels(Option<String>),
    /// Tokens made after this index may not be shown yet.
    Tokens(u64),
}

impl Publisher {
    pub(super) fn new(
        registry: Registry,
        catalog: Arc<Catalog>,
        closed: watch::Receiver<BTreeSet<SocketAddr>>,
    ) -> Self {
        Self { registry, catalog, shown: BTreeMap::new(), closed }
    }

    /// Follows the registry until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut milestones = self.registry.milestones();
        let mut closed = self.closed.clone();
        let mut due = Instant::now();
        let mut look: Option<Look> = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                heard = milestones.recv() => match heard {
                    Ok(Milestone::Token(founding)) => self.follow(&founding, registry::now()),
                    Ok(Milestone::Everything) | Err(RecvError::Lagged(_)) => {
                        due = due.min(Instant::now() + PAUSE);
                    }
                    Err(RecvError::Closed) => return,
                },
                // Without `--dns-check` nobody sends.
                Ok(()) = closed.changed() => due = due.min(Instant::now() + PAUSE),
                // What was told meanwhile goes first, as it stands above.
                () = yield_now(), if look.is_some() => {
                    look = look.and_then(|look| self.step(look, registry::now()));
                }
                () = sleep_until(due), if look.is_none() => {
                    due = Instant::now() + LOOK_EVERY;
                    look = Some(Look::Labels(None));
                }
            }
        }
    }

    /// Goes on with a look at all tokens; none at its end.
    fn step(&mut self, look: Look, now: UnixMillis) -> Option<Look> {
        match look {
            Look::Labels(after) => {
                let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
                let some = self.shown.range::<String, _>((from, Bound::Unbounded)).take(AT_ONCE);
                let some: Vec<(String, TokenPath)> =
                    some.map(|(label, shown)| (label.clone(), shown.path().clone())).collect();
                for (label, path) in &some {
                    if !self.is_current(path, now) {
                        self.hide(label);
                    }
                }
                Some(match some.into_iter().next_back() {
                    Some((last, _)) => Look::Labels(Some(last)),
                    None => Look::Tokens(0),
                })
            }
            Look::Tokens(after) => {
                let some = self.registry.list(None, None, after, AT_ONCE, now);
                some.iter().for_each(|founding| self.show_as_it_is(founding, now));
                some.last().map(|last| Look::Tokens(last.created_index))
            }
        }
    }

    /// Brings what DNS says about one token to what the registry holds.
    fn follow(&mut self, told: &Founding, now: UnixMillis) {
        let label = label_of(told);
        if self.shown.get(&label).is_some_and(|shown| *shown.path() == told.path)
            && !self.is_current(&told.path, now)
        {
            self.hide(&label);
        }
        if let Some(founding) = self.registry.founding(&told.path) {
            self.show_as_it_is(&founding, now);
        }
    }

    /// Whether a token has a name in DNS.
    fn is_current(&self, path: &TokenPath, now: UnixMillis) -> bool {
        self.registry.founding(path).is_some_and(|founding| match founding.state(now) {
            State::Full => true,
            State::Open => founding.label.is_some(),
            State::Expired | State::Revoked => false,
        })
    }

    fn show_as_it_is(&mut self, founding: &Founding, now: UnixMillis) {
        match founding.state(now) {
            State::Full => self.show(founding),
            State::Open if founding.label.is_some() => self.expect(founding),
            _ => {}
        }
    }

    fn hide(&mut self, label: &str) {
        self.catalog.unpublish(label);
        self.shown.remove(label);
        info!(dns.label = label, "cluster is no longer published");
    }

    /// Makes the names of a cluster to come exist.
    fn expect(&mut self, founding: &Founding) {
        let (label, shown) = (label_of(founding), Shown::Expected(founding.path.clone()));
        if self.shown.get(&label) != Some(&shown) {
            self.catalog.unpublish(&label);
            let refused = self.catalog.expect(&label).err();
            self.note(&label, shown, refused);
        }
    }

    /// Publishes a complete cluster, unless it is shown already or a younger one has its label.
    fn show(&mut self, founding: &Founding) {
        let label = label_of(founding);
        let held = self.shown.get(&label);
        let all_open = self.closed.borrow().is_empty();
        if let Some(Shown::Cluster(_, index, without)) = held
            && (*index > founding.created_index
                || *index == founding.created_index && all_open && without.is_empty())
        {
            return;
        }
        let Some(cluster) = founding.initial_cluster() else { return };
        let port = founding.client_port();
        let closed: BTreeSet<SocketAddr> = match all_open {
            true => BTreeSet::new(),
            false => {
                let closed = self.closed.borrow();
                client_ports(&cluster, port).intersection(&closed).copied().collect()
            }
        };
        let shown = Shown::Cluster(founding.path.clone(), founding.created_index, closed.clone());
        if held == Some(&shown) {
            return;
        }
        let (members, without) = (cluster.len(), closed.len());
        let refused = self.catalog.publish(&label, Published { cluster, port, closed }).err();
        if refused.is_none() {
            info!(
                token.id = %founding.path.public_id(),
                dns.label = label,
                members,
                closed = without,
                "cluster published in DNS"
            );
        }
        self.note(&label, shown, refused);
    }

    /// Remembers what was done, also when it was refused: the answer would be the same next time.
    fn note(&mut self, label: &str, shown: Shown, refused: Option<PublishError>) {
        if let Some(reason) = refused {
            warn!(dns.label = label, error = %reason, "cluster cannot be published in DNS");
        }
        self.shown.insert(label.to_owned(), shown);
    }
}

impl Shown {
    fn path(&self) -> &TokenPath {
        match self {
            Self::Expected(path) | Self::Cluster(path, ..) => path,
        }
    }
}

fn label_of(founding: &Founding) -> String {
    match &founding.label {
        Some(label) => label.as_str().to_owned(),
        None => founding.path.public_id().as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RecordType;

    use super::*;
    use crate::admission::{Application, ClusterSize, Door};
    use crate::membership::InitialCluster;
    use crate::registry::{NewToken, Order};
    use crate::token::Token;

    const URL: &str = "http://127.0.0.1:8087";

    async fn token(registry: &Registry, label: &str, now: UnixMillis) -> TokenPath {
        let token = NewToken {
            path: TokenPath::short(&Token::draw()),
            size: ClusterSize::parse("1", 9).unwrap(),
            label: Some(label.parse().unwrap()),
            ttl: None,
            client_port: None,
            from: None,
        };
        registry.create(token, now).await.unwrap().founding.path.clone()
    }

    async fn fill(registry: &Registry, path: &TokenPath, now: UnixMillis) {
        let value = "n1=http://10.0.0.1:2380";
        let member: InitialCluster = value.parse().unwrap();
        let id = member.member_id("n1", &path.discovery_url(URL)).unwrap();
        let door = Door { public_url: URL.into(), ..Door::default() };
        let application = Application::check(&id.to_string(), value, path, &door).unwrap();
        registry.register(path.clone(), application, now).await.unwrap();
    }

    /// How many servers of members a label has; none if its names do not exist.
    fn servers(catalog: &Catalog, label: &str) -> Option<usize> {
        let name = format!("_etcd-server._tcp.{label}.clusters.test.").parse().unwrap();
        let zone = catalog.find(&name).unwrap();
        zone.node(&name).map(|node| node.set(RecordType::SRV).map_or(0, |set| set.records().len()))
    }

    #[tokio::test]
    async fn what_is_told_of_a_token_is_done_and_what_is_not_told_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (catalog, _) = Catalog::load(dir.path()).unwrap();
        catalog.set_cluster_domain(&"clusters.test.".parse().unwrap(), &[]).unwrap();
        let catalog = Arc::new(catalog);
        let config = registry::Config {
            data_dir: dir.path().join("data"),
            cluster: None,
            token_ttl: "1h".parse().unwrap(),
            sealed_ttl: "2h".parse().unwrap(),
            max_surplus: 3,
        };
        let (registry, writer) = Registry::open(config).await.unwrap();
        let writing = tokio::spawn(writer.run());
        let (_closed, known) = watch::channel(BTreeSet::new());
        let mut publisher = Publisher::new(registry.clone(), Arc::clone(&catalog), known);
        let now = registry::now();

        // More than one step of a look at all of them.
        let mut paths = Vec::new();
        for number in 0..2 * AT_ONCE {
            let path = token(&registry, &format!("c{number}"), now).await;
            if number > 0 {
                fill(&registry, &path, now).await;
            }
            paths.push(path);
        }
        let all = |publisher: &mut Publisher, now| {
            let mut look = Some(Look::Labels(None));
            while let Some(held) = look {
                look = publisher.step(held, now);
            }
        };
        all(&mut publisher, now);
        assert_eq!(publisher.shown.len(), paths.len());
        assert_eq!(servers(&catalog, "c0"), Some(0), "expected");
        assert_eq!(servers(&catalog, "c1"), Some(1));
        assert_eq!(servers(&catalog, &format!("c{}", paths.len() - 1)), Some(1));

        // Old news brings nothing back: what counts is what the registry holds now.
        let expected = registry.founding(&paths[0]).unwrap();
        fill(&registry, &paths[0], now).await;
        publisher.follow(&expected, now);
        publisher.follow(&expected, now);
        assert_eq!(servers(&catalog, "c0"), Some(1));
        let full = registry.founding(&paths[1]).unwrap();
        let revoked = registry.operate(paths[1].clone(), Order::Revoke, "ann", now).await.unwrap();
        publisher.follow(&revoked, now);
        publisher.follow(&full, now);
        assert_eq!(servers(&catalog, "c1"), None);
        // Its label is free, and a late word of the old token does not take it from the new one.
        let again = token(&registry, "c1", now).await;
        fill(&registry, &again, now).await;
        publisher.follow(&registry.founding(&again).unwrap(), now);
        publisher.follow(&revoked, now);
        assert_eq!(servers(&catalog, "c1"), Some(1));

        // Nobody tells that time is over.
        all(&mut publisher, now.after(Duration::from_secs(7201)));
        assert_eq!(publisher.shown.len(), 0);
        assert_eq!(servers(&catalog, "c2"), None);
        drop((publisher, registry));
        writing.await.unwrap().unwrap();
    }
}
