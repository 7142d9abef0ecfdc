use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::runtime::Handle as Runtime;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;

use super::dial::Dialer;
use super::identity::Identity;
use super::link::{Link, LinkState};
use super::metrics::PeerMetrics;
use super::snapshot::{self, SnapshotSource};
use crate::membership::{MemberId, PeerUrl, Roster, RosterEntry};
use crate::raft::{Index, Message};
use crate::replica::Event;

/// Messages that may wait for one peer. What does not fit is dropped and the peer counts as
/// unreachable: consensus sends again what matters.
const PEER_QUEUE: usize = 4096;

/// `raft`'s number for the message that carries a snapshot.
const KIND_SNAPSHOT: u32 = 7;

/// The way to all other members: one ordered stream of messages to each.
pub struct Peers {
    identity: Identity,
    metrics: PeerMetrics,
    dialer: Dialer,
    events: mpsc::Sender<Event>,
    snapshots: SnapshotSource,
    links: ArcSwap<BTreeMap<MemberId, Peer>>,
    /// Serializes changes of `links`.
    change: Mutex<()>,
    tasks: TaskTracker,
    /// Where the links live. Messages come from threads outside of it.
    links_on: Runtime,
    /// Where snapshots are sent.
    runtime: Runtime,
    removed: CancellationToken,
    stop: CancellationToken,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").field("identity", &self.identity).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
struct Peer {
    urls: Arc<watch::Sender<Vec<PeerUrl>>>,
    queue: mpsc::Sender<Message>,
    /// For single questions; connects when the first is asked.
    channel: Option<Channel>,
    state: Arc<LinkState>,
    stop: CancellationToken,
}

impl Peers {
    /// No peers yet; [`Self::update`] tells who they are.
    ///
    /// Must be called inside the runtime on which snapshots are sent; messages are on that of `links`.
    pub fn new(
        identity: Identity,
        dialer: Dialer,
        events: mpsc::Sender<Event>,
        snapshots: SnapshotSource,
        links: Runtime,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, prometheus::Error> {
        Ok(Arc::new(Self {
            identity,
            metrics: PeerMetrics::new(identity.member)?,
            dialer,
            events,
            snapshots,
            links: ArcSwap::default(),
            change: Mutex::new(()),
            tasks: TaskTracker::new(),
            links_on: links,
            runtime: Runtime::current(),
            removed: CancellationToken::new(),
            stop,
        }))
    }

    /// What is counted of the traffic.
    pub fn metrics(&self) -> &PeerMetrics {
        &self.metrics
    }

    /// Connects to new members, drops removed ones, and tells the links where members are reached from now on.
    pub fn update(&self, roster: &Roster) {
        let _one_at_a_time = self.change.lock();
        let mut links = BTreeMap::clone(&self.links.load());
        links.retain(|id, peer| {
            let stays = roster.members.contains_key(id);
            if !stays {
                peer.stop.cancel();
            }
            stays
        });
        let others = roster.members.iter().filter(|(id, _)| **id != self.identity.member);
        for (id, RosterEntry { peer_urls, .. }) in others {
            match links.get_mut(id) {
                Some(peer) if *peer.urls.borrow() == *peer_urls => {}
                Some(peer) => {
                    peer.urls.send_replace(peer_urls.clone());
                    peer.channel = self.channel_to(peer_urls);
                }
                None => {
                    links.insert(*id, self.connect(*id, peer_urls));
                }
            }
        }
        self.links.store(Arc::new(links));
    }

    /// Queues messages for their receivers; never waits.
    pub fn send(&self, messages: Vec<Message>) {
        if messages.is_empty() {
            return;
        }
        let links = self.links.load();
        for message in messages {
            let to = MemberId(message.to);
            let Some(peer) = links.get(&to) else { continue };
            if message.kind == KIND_SNAPSHOT {
                self.send_snapshot(to, peer, message);
            } else if peer.queue.try_send(message).is_err() {
                self.metrics.link(to).sent_failures.inc();
                // A full event queue already has more urgent news than this.
                drop(self.events.try_send(Event::Unreachable(to)));
            }
        }
    }

    /// Since when each peer is connected; `None` while it is not.
    pub fn connected_since(&self) -> BTreeMap<MemberId, Option<Instant>> {
        self.links.load().iter().map(|(id, peer)| (*id, peer.state.connected_since())).collect()
    }

    /// A channel for single questions to one member.
    pub fn channel(&self, id: MemberId) -> Option<Channel> {
        self.links.load().get(&id).and_then(|peer| peer.channel.clone())
    }

    /// Waits until a peer says that this member was removed from the cluster.
    pub async fn removed(&self) {
        self.removed.cancelled().await;
    }

    /// Waits until all links have ended; call after `stop` was cancelled.
    pub async fn closed(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn channel_to(&self, urls: &[PeerUrl]) -> Option<Channel> {
        let _inside = self.links_on.enter();
        self.dialer.connect_lazy(urls)
    }

    fn connect(&self, to: MemberId, urls: &[PeerUrl]) -> Peer {
        let (queue, messages) = mpsc::channel(PEER_QUEUE);
        let channel = self.channel_to(urls);
        let (urls, told) = watch::channel(urls.to_vec());
        let state = Arc::new(LinkState::default());
        let stop = self.stop.child_token();
        let link = Link {
            identity: self.identity,
            dialer: self.dialer.clone(),
            to,
            urls: told,
            messages,
            events: self.events.clone(),
            state: Arc::clone(&state),
            metrics: self.metrics.link(to),
            removed: self.removed.clone(),
        };
        let ended = stop.clone();
        let run = async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = link.run() => {}
            }
        };
        self.tasks.spawn_on(run, &self.links_on);
        Peer { urls: Arc::new(urls), queue, channel, state, stop }
    }

    fn send_snapshot(&self, to: MemberId, peer: &Peer, message: Message) {
        let index = Index(message.snapshot.as_ref().map_or(0, |meta| meta.index));
        let source = Arc::clone(&self.snapshots);
        let (identity, urls, events) =
            (self.identity, peer.urls.borrow().clone(), self.events.clone());
        let (dialer, stop) = (self.dialer.clone(), peer.stop.clone());
        let transfer = self.metrics.sending(to);
        let run = async move {
            let sent = async {
                // Opening it reads the disk, and whoever drives consensus has no time for that.
                let found = tokio::task::spawn_blocking(move || source(index)).await;
                let Ok(Some(chunks)) = found else { return false };
                snapshot::send(&dialer, identity, to, &urls, message, chunks).await
            };
            let delivered = tokio::select! {
                () = stop.cancelled() => false,
                delivered = sent => delivered,
            };
            if delivered {
                transfer.done();
            } else {
                drop(transfer);
            }
            // Only a stopped replica no longer listens.
            drop(events.send(Event::SnapshotSent { to, delivered }).await);
        };
        self.tasks.spawn_on(run, &self.runtime);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    use super::*;
    use crate::membership::ClusterId;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Else nobody could be added for a while.
    #[tokio::test]
    async fn who_has_new_urls_is_as_steady_as_before() {
        let (events, _told) = mpsc::channel(16);
        let identity = Identity { cluster: ClusterId(1), member: MemberId(1) };
        let stop = CancellationToken::new();
        let nothing = Arc::new(|_| None);
        let (dialer, here) = (Dialer::default(), Runtime::current());
        let peers = Peers::new(identity, dialer, events, nothing, here, stop).unwrap();
        let at = |url: &str| {
            let peer_urls = vec![PeerUrl::parse(url).unwrap()];
            let mut roster = Roster::default();
            roster.members.insert(MemberId(2), RosterEntry { peer_urls, learner: false });
            roster
        };
        peers.update(&at("http://127.0.0.1:1"));
        assert_eq!(peers.connected_since()[&MemberId(2)], None);
        let since = Some(Instant::now());
        peers.links.load()[&MemberId(2)].state.set(since);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        peers.update(&at(&format!("http://{}", listener.local_addr().unwrap())));
        assert_eq!(peers.connected_since()[&MemberId(2)], since);
        // The next connection leads to the new place.
        tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        peers.update(&Roster::default());
        assert!(peers.connected_since().is_empty());
    }

    /// As when the disk is slow.
    #[tokio::test]
    async fn nobody_waits_for_a_snapshot_to_be_found() {
        let (goes_on, held) = sync_channel::<()>(1);
        let (found, was_found) = sync_channel(1);
        let held = Mutex::new(held);
        let source = move |_| {
            let held = held.lock().recv_timeout(PATIENCE);
            found.send(held.is_ok()).unwrap();
            None
        };
        let (events, mut told) = mpsc::channel(16);
        let identity = Identity { cluster: ClusterId(1), member: MemberId(1) };
        let stop = CancellationToken::new();
        let (dialer, source) = (Dialer::default(), Arc::new(source));
        let peers =
            Peers::new(identity, dialer, events, source, Runtime::current(), stop.clone()).unwrap();
        let mut roster = Roster::default();
        let peer_urls = vec![PeerUrl::parse("http://127.0.0.1:1").unwrap()];
        roster.members.insert(MemberId(2), RosterEntry { peer_urls, learner: false });
        peers.update(&roster);
        peers.send(vec![Message { to: 2, kind: KIND_SNAPSHOT, ..Message::default() }]);
        goes_on.send(()).unwrap();
        let sent = async {
            loop {
                if let Event::SnapshotSent { to, delivered } = told.recv().await.unwrap() {
                    return (to, delivered);
                }
            }
        };
        let sent = tokio::time::timeout(PATIENCE, sent).await.unwrap();
        assert_eq!(sent, (MemberId(2), false), "there was none");
        assert!(was_found.recv().unwrap(), "the sender had gone on");
        stop.cancel();
        peers.closed().await;
    }
}
