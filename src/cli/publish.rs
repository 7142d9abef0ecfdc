use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::health::client_ports;
use crate::admission::{Founding, Label, State, UnixMillis};
use crate::dns_server::{CLIENT_PORT, Catalog};
use crate::registry::{self, Milestone, Registry};

/// How often expired clusters are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The shortest time between two looks: each reads all tokens.
const PAUSE: Duration = Duration::from_millis(50);

/// Shows complete clusters in DNS, each under its label or the public id of its token.
#[derive(Debug)]
pub(super) struct Publisher {
    registry: Registry,
    catalog: Arc<Catalog>,
    /// What each label is known for in DNS.
    shown: BTreeMap<String, Shown>,
    /// Client ports that are left out; none with `--dns-check` off.
    closed: watch::Receiver<BTreeSet<SocketAddr>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    /// The names exist and have no records yet.
    Expected,
    /// The cluster of the token with this index, without these client ports.
    Cluster(u64, BTreeSet<SocketAddr>),
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
        let mut looked = Instant::now();
        let mut due = looked;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(due) => {
                    closed.mark_unchanged();
                    self.look(registry::now());
                    looked = Instant::now();
                    due = looked + LOOK_EVERY;
                }
                heard = milestones.recv() => match heard {
                    // Members wait for it, so it is shown without a look at all the others.
                    Ok(Milestone::Full(founding)) => {
                        if founding.state(registry::now()) == State::Full {
                            self.show(&founding);
                        }
                    }
                    Ok(Milestone::Other) | Err(RecvError::Lagged(_)) => {
                        due = due.min(looked + PAUSE);
                    }
                    Err(RecvError::Closed) => return,
                },
                // Without `--dns-check` nobody sends.
                Ok(()) = closed.changed() => due = due.min(looked + PAUSE),
            }
        }
    }

    /// Brings DNS to what the registry holds now.
    fn look(&mut self, now: UnixMillis) {
        let full = self.registry.full(now);
        let labels = full.iter().map(|founding| (label_of(founding), founding));
        let clusters: BTreeMap<String, &Arc<Founding>> = labels.collect();
        let expected = self.registry.expected(now);
        let expected: BTreeSet<&str> = expected.iter().map(Label::as_str).collect();
        let gone =
            |label: &String| !clusters.contains_key(label) && !expected.contains(label.as_str());
        let gone: Vec<String> = self.shown.keys().filter(|label| gone(label)).cloned().collect();
        for label in gone {
            self.catalog.unpublish(&label);
            self.shown.remove(&label);
            info!(dns.label = label, "cluster is no longer published");
        }
        for label in expected {
            if self.shown.get(label) != Some(&Shown::Expected) {
                self.catalog.unpublish(label);
                self.note(label, Shown::Expected, self.catalog.expect(label).err());
            }
        }
        for founding in clusters.into_values() {
            self.show(founding);
        }
    }

    /// Publishes a complete cluster, unless it is shown already or a younger one has its label.
    fn show(&mut self, founding: &Founding) {
        let label = label_of(founding);
        let held = self.shown.get(&label);
        let closed = self.closed.borrow().clone();
        if let Some(Shown::Cluster(index, without)) = held
            && (*index > founding.created_index
                || *index == founding.created_index && closed.is_empty() && without.is_empty())
        {
            return;
        }
        let Some(cluster) = founding.initial_cluster() else { return };
        let port = founding.client_port.unwrap_or(CLIENT_PORT);
        let closed: BTreeSet<SocketAddr> = match closed.is_empty() {
            true => closed,
            false => client_ports(&cluster, port).intersection(&closed).copied().collect(),
        };
        let shown = Shown::Cluster(founding.created_index, closed.clone());
        if held == Some(&shown) {
            return;
        }
        let refused = self.catalog.publish_at(&label, &cluster, port, &closed).err();
        if refused.is_none() {
            info!(
                token.id = %founding.path.public_id(),
                dns.label = label,
                members = cluster.len(),
                closed = closed.len(),
                "cluster published in DNS"
            );
        }
        self.note(&label, shown, refused);
    }

    /// Remembers what was done, also when it was refused: the answer would be the same next time.
    fn note(
        &mut self,
        label: &str,
        shown: Shown,
        refused: Option<crate::dns_server::PublishError>,
    ) {
        if let Some(reason) = refused {
            warn!(dns.label = label, error = %reason, "cluster cannot be published in DNS");
        }
        self.shown.insert(label.to_owned(), shown);
    }
}

fn label_of(founding: &Founding) -> String {
    match &founding.label {
        Some(label) => label.as_str().to_owned(),
        None => founding.path.public_id().as_str().to_owned(),
    }
}
