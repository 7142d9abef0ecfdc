use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::{debug, info, warn};

use super::close_reason::CloseReason;
use super::dial::Dialer;
use super::identity::Identity;
use super::metrics::LinkMetrics;
use crate::membership::{MemberId, PeerUrl};
use crate::proto::quorate::peer::peer_client::PeerClient;
use crate::proto::quorate::peer::{Batch, ProbeRequest};
use crate::raft::Message;
use crate::replica::Event;

/// Wait before the second attempt; doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(20);
/// Short, because a member that comes back is wanted at once.
const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// Batches under way on one stream; while it is full, messages collect into the next batch.
const STREAM_QUEUE: usize = 4;
/// A batch with this many bytes is full. Who is far behind is sent a message of a megabyte after the
/// other, and may not take hundreds of them at once.
const BATCH_BYTES: usize = 4 << 20;
/// Different reasons that are logged while a peer is out of reach.
const REASONS: usize = 4;
/// How often the time to the peer and back is measured.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Why a server is no peer that has gRPC, but not the service of members.
const NO_PEER: &str = "the other end has no service for members, as etcd has none: it cannot be a peer of this member";

/// One peer: takes messages from the queue and brings them over, in order.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) identity: Identity,
    pub(super) dialer: Dialer,
    pub(super) to: MemberId,
    /// Where the next connection leads; one that holds is kept when they change, as in etcd.
    pub(super) urls: watch::Receiver<Vec<PeerUrl>>,
    pub(super) messages: mpsc::Receiver<Message>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) state: Arc<LinkState>,
    pub(super) metrics: LinkMetrics,
    /// Cancelled when the peer says that this member is no longer one.
    pub(super) removed: CancellationToken,
}

/// Each in its turn.
fn nth(urls: &[PeerUrl], attempt: usize) -> Option<PeerUrl> {
    urls.get(attempt % urls.len().max(1)).cloned()
}

/// What others may know of a link.
#[derive(Debug, Default)]
pub(super) struct LinkState {
    since: Mutex<Option<Instant>>,
}

impl LinkState {
    /// Since when the peer is connected.
    pub(super) fn connected_since(&self) -> Option<Instant> {
        *self.since.lock()
    }

    pub(super) fn set(&self, since: Option<Instant>) {
        *self.since.lock() = since;
    }
}

impl Link {
    /// Connects, sends, and connects again, until it is dropped.
    pub(super) async fn run(mut self) {
        let mut backoff = BACKOFF_MIN;
        let mut attempt = 0_usize;
        // Reasons that the log has for the present outage: each is told once, not at every attempt.
        let mut told: Vec<String> = Vec::new();
        let close_reason = CloseReason::default();
        loop {
            let Some(url) = nth(&self.urls.borrow(), attempt) else { return };
            attempt += 1;
            let reason = match self.dialer.connect(&url, &close_reason).await {
                Ok(channel) => {
                    let reason = self.stream(channel, &url).await;
                    self.metrics.sent_failures.inc();
                    reason
                }
                Err(error) => super::chain(&error),
            };
            if self.state.connected_since().is_some() {
                backoff = BACKOFF_MIN;
                told.clear();
                self.state.set(None);
                self.metrics.active.set(0);
                self.metrics.disconnected.inc();
                info!(peer.id = %self.to, peer.url = %url, reason, "peer became inactive");
            }
            let reason = match close_reason.take() {
                Some(told) if !reason.contains(&told) => told,
                _ => reason,
            };
            if told.len() < REASONS && !told.contains(&reason) {
                warn!(peer.id = %self.to, peer.url = %url, error = reason, "peer is unreachable; retrying");
                told.push(reason);
            }
            // What waited is stale by now; consensus is told and sends again what matters.
            while self.messages.try_recv().is_ok() {}
            drop(self.events.send(Event::Unreachable(self.to)).await);
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Sends over one connection until it breaks; says why it did.
    ///
    /// The peer is active once it has answered a question: who is of another cluster or shows a
    /// certificate that the peer refuses gets a connection, too, and loses it at once.
    async fn stream(&mut self, channel: Channel, url: &PeerUrl) -> String {
        let (batches, receiver) = mpsc::channel(STREAM_QUEUE);
        let mut client = PeerClient::new(channel.clone());
        let call = client.messages(ReceiverStream::new(receiver));
        let envelope = self.identity.envelope(self.to);
        let messages = &mut self.messages;
        let (to, state, metrics) = (self.to, &self.state, &self.metrics);
        let probing = async {
            let mut client = PeerClient::new(channel);
            let mut turns = tokio::time::interval(PROBE_EVERY);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                turns.tick().await;
                let started = Instant::now();
                match client.probe(ProbeRequest { envelope: Some(envelope) }).await {
                    // A peer too old for the question answers as fast.
                    Err(status) if status.code() != Code::Unimplemented || stranger(&status) => {
                        continue;
                    }
                    _ => metrics.round_trip.observe(started.elapsed().as_secs_f64()),
                }
                if state.connected_since().is_none() {
                    info!(peer.id = %to, peer.url = %url, "peer became active");
                    state.set(Some(Instant::now()));
                    metrics.active.set(1);
                }
            }
        };
        let pump = async {
            // The first batch, even without messages, makes the peer check who we are.
            let mut next = Vec::new();
            loop {
                let batch = Batch { envelope: Some(envelope), messages: next };
                metrics.sent_bytes.inc_by(batch.encoded_len() as u64);
                if batches.send(batch).await.is_err() {
                    return;
                }
                let Some(first) = messages.recv().await else { return };
                next = gathered(first, messages);
            }
        };
        tokio::select! {
            ended = call => match ended {
                Ok(_) => "closed by the peer".to_owned(),
                Err(status) => {
                    if status.message() == super::REMOVED {
                        self.removed.cancel();
                    }
                    if stranger(&status) { NO_PEER } else { status.message() }.to_owned()
                }
            },
            () = probing => "the peer is no longer asked".to_owned(),
            () = pump => {
                debug!(peer.id = %self.to, "stream to the peer broke");
                "stream broke".to_owned()
            }
        }
    }
}

/// Whether who answered has no service of peers at all: not even an old one.
fn stranger(status: &Status) -> bool {
    status.code() == Code::Unimplemented && status.message().starts_with("unknown service")
}

/// What can go in one batch: the first message and some of those that wait behind it.
fn gathered(first: Message, messages: &mut mpsc::Receiver<Message>) -> Vec<Message> {
    let mut bytes = first.encoded_len();
    let mut batch = vec![first];
    while bytes < BATCH_BYTES
        && let Ok(message) = messages.try_recv()
    {
        bytes += message.encoded_len();
        batch.push(message);
    }
    batch
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use tokio::net::TcpListener;

    use super::*;
    use crate::membership::ClusterId;
    use crate::proto::quorate::peer::Entry;
    use crate::transport::metrics::PeerMetrics;

    /// As the peer port of etcd until 3.5.
    #[tokio::test]
    async fn a_server_without_our_service_is_never_active() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let etcd = Router::new().fallback(|| async {
            Status::unimplemented("unknown service quorate.peer.Peer")
                .into_http::<axum::body::Body>()
        });
        tokio::spawn(async move { axum::serve(listener, etcd).await });

        let (_queue, messages) = mpsc::channel(1);
        let (events, mut told) = mpsc::channel(1);
        let state = Arc::new(LinkState::default());
        let identity = Identity { cluster: ClusterId(1), member: MemberId(1) };
        let url = PeerUrl::parse(&url).unwrap();
        let mut link = Link {
            identity,
            dialer: Dialer::default(),
            to: MemberId(2),
            urls: watch::channel(vec![url.clone()]).1,
            messages,
            events,
            state: Arc::clone(&state),
            metrics: PeerMetrics::new(identity.member).unwrap().link(MemberId(2)),
            removed: CancellationToken::new(),
        };
        for _ in 0..20 {
            let channel = link.dialer.connect(&url, &CloseReason::default()).await.unwrap();
            assert_eq!(link.stream(channel, &url).await, NO_PEER);
            assert_eq!(state.connected_since(), None);
        }
        told.close();
    }

    #[test]
    fn a_batch_has_a_bound_in_bytes() {
        let entry = |bytes: usize| Entry { data: vec![1; bytes].into(), ..Entry::default() };
        let message = |bytes: usize| Message { entries: vec![entry(bytes)], ..Message::default() };
        let (queue, mut messages) = mpsc::channel(100);
        for bytes in [10, 1 << 20, 1 << 20, BATCH_BYTES, 10, 10] {
            queue.try_send(message(bytes)).unwrap();
        }
        let mut next = || {
            let first = messages.try_recv().unwrap();
            gathered(first, &mut messages).len()
        };
        assert_eq!([next(), next()], [4, 2], "the fourth still began below the bound");
    }
}
