use std::thread::JoinHandle;

use tokio::task::JoinSet;
use tracing::{info, warn};

use super::Handle;
use super::peer_service::PeerService;
use crate::proto::quorate::peer::peer_server;

/// A node that runs.
#[derive(Debug)]
pub struct Running {
    pub(super) handle: Handle,
    pub(super) peer_runtime: tokio::runtime::Handle,
    pub(super) tasks: JoinSet<()>,
    pub(super) threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// Where the peer port is to be served: on the thread that drives consensus.
    pub fn peer_runtime(&self) -> &tokio::runtime::Handle {
        &self.peer_runtime
    }

    /// What services hold.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The protocol between members, for the peer port.
    pub fn peer_router(&self) -> axum::Router {
        let path = format!("/{}/{{*method}}", peer_server::SERVICE_NAME);
        axum::Router::new().route_service(&path, PeerService::server(self.handle.clone()))
    }

    /// Waits until the cluster knows this member, so that clients can be served.
    pub async fn ready(&self) {
        self.handle.0.published.cancelled().await;
    }

    /// Waits until the node is told to stop or cannot go on; the reason in the second case.
    pub async fn ended(&self) -> Option<String> {
        self.handle.0.stop.cancelled().await;
        self.handle.0.failed.borrow().clone()
    }

    /// Hands over the leadership, stops the threads in order and brings the state to disk.
    pub async fn close(mut self) {
        if !self.handle.0.stop.is_cancelled() {
            self.hand_over().await;
        }
        self.handle.0.stop.cancel();
        self.handle.0.waiters.close();
        self.tasks.shutdown().await;
        self.handle.0.peers.closed().await;
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    warn!("a thread of the node panicked");
                }
            }
        });
        if joined.await.is_err() {
            warn!("the threads of the node were not joined");
        }
    }
}

impl Running {
    /// Lets another member lead, so that clients need not wait for an election.
    async fn hand_over(&self) {
        let shared = &self.handle.0;
        let connected = shared.peers.connected_since();
        let roster = shared.roster.load_full();
        let successor = roster.voters().find(|id| connected.get(id).is_some_and(Option::is_some));
        if let Some(to) = successor
            && self.handle.leads()
        {
            let transfer = self.handle.transfer_leadership(to);
            match tokio::time::timeout(shared.config.election, transfer).await {
                Ok(Ok(())) => info!(leader = %to, "leadership transferred"),
                Ok(Err(_)) | Err(_) => warn!(leader = %to, "leadership was not transferred"),
            }
        }
    }
}
