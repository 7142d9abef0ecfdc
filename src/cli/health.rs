use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::admission::Founding;
use crate::membership::InitialCluster;
use crate::registry::{self, Registry};

const EVERY: Duration = Duration::from_secs(2);
/// A port that does not open in this time is closed.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many looks in a row have to agree: one lost packet takes nobody out of DNS.
const CLOSED_AFTER: u32 = 3;
const OPEN_AFTER: u32 = 2;
/// Connections tried at once.
const AT_ONCE: usize = 64;

/// What is known of one port.
#[derive(Debug, Clone, Copy, Default)]
struct Port {
    closed: bool,
    /// Looks in a row that say the opposite.
    against: u32,
}

/// Which client ports of founders are closed; asks the founders' own addresses and nobody else.
#[derive(Debug, Default)]
pub(super) struct Health {
    ports: BTreeMap<SocketAddr, Port>,
}

impl Health {
    /// Looks at the ports of all published clusters until `stop`, and tells which are closed.
    pub(super) async fn run(
        mut self,
        registry: Registry,
        closed: watch::Sender<BTreeSet<SocketAddr>>,
        stop: CancellationToken,
    ) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let full = registry.full(registry::now());
            let ports_of = |founding: &Arc<Founding>| {
                Some(client_ports(&founding.initial_cluster()?, founding.client_port()))
            };
            let ports: BTreeSet<SocketAddr> = full.iter().filter_map(ports_of).flatten().collect();
            self.ports.retain(|port, _| ports.contains(port));
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = look(ports) => looked,
            };
            for (port, open) in looked {
                self.judge(port, open);
            }
            let now: BTreeSet<SocketAddr> =
                self.ports.iter().filter(|(_, it)| it.closed).map(|(port, _)| *port).collect();
            closed.send_if_modified(|held| {
                let changed = *held != now;
                *held = now;
                changed
            });
        }
    }

    fn judge(&mut self, address: SocketAddr, open: bool) {
        let port = self.ports.entry(address).or_default();
        if port.closed != open {
            port.against = 0;
            return;
        }
        port.against += 1;
        let needed = if port.closed { OPEN_AFTER } else { CLOSED_AFTER };
        if port.against >= needed {
            *port = Port { closed: !port.closed, against: 0 };
            info!(target.address = %address, target.closed = port.closed, "client port changed");
        }
    }
}

/// Where members of a cluster answer clients, as far as they gave addresses.
pub(super) fn client_ports(cluster: &InitialCluster, port: u16) -> BTreeSet<SocketAddr> {
    let urls = cluster.members().flat_map(|(_, urls)| urls);
    let addresses = urls.filter_map(|url| url.host().parse::<IpAddr>().ok());
    addresses.map(|address| SocketAddr::new(address, port)).collect()
}

async fn look(ports: BTreeSet<SocketAddr>) -> Vec<(SocketAddr, bool)> {
    let mut looked = Vec::with_capacity(ports.len());
    let mut tasks = JoinSet::new();
    for port in ports {
        if tasks.len() >= AT_ONCE {
            looked.extend(tasks.join_next().await.and_then(Result::ok));
        }
        tasks.spawn(async move {
            let open = timeout(PATIENCE, TcpStream::connect(port)).await;
            (port, open.is_ok_and(|connected| connected.is_ok()))
        });
    }
    while let Some(ended) = tasks.join_next().await {
        looked.extend(ended.ok());
    }
    looked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_alone_changes_nothing() {
        let mut health = Health::default();
        let port: SocketAddr = "10.0.0.1:2379".parse().unwrap();
        let mut closed = Vec::new();
        for open in [false, false, true, false, false, false, true, false, true, true] {
            health.judge(port, open);
            closed.push(health.ports[&port].closed);
        }
        let expected = [false, false, false, false, false, true, true, true, true, false];
        assert_eq!(closed, expected);
    }
}
