use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};

use super::turns::Stopped;
use super::{Error, Handle, HashKv, arrival, lease_clock, reconfigure, renewals};
use crate::lease::LeaseId;
use crate::membership::{ClusterId, MemberId};
use crate::proto::quorate::peer::peer_server::{Peer, PeerServer};
use crate::proto::quorate::peer::{
    Batch, Envelope, HashRequest, HashResponse, LearnerProgressRequest, LearnerProgressResponse,
    LeaseRemainingRequest, LeaseRemainingResponse, LeaseRenewRequest, LeaseRenewResponse,
    MessagesClosed, ProbeRequest, ProbeResponse, SnapshotPart, SnapshotTaken, snapshot_part::Part,
};
use crate::raft::{Index, Mark, Message, Term};
use crate::replica::Event;
use crate::{snap, transport};

/// A batch may have this many bytes and one request of the largest size.
const BATCH_BYTES: usize = 64 << 20;

/// The receiving end of the peer protocol.
#[derive(Debug)]
pub(super) struct PeerService {
    node: Handle,
}

impl PeerService {
    /// The service, ready to be mounted on the peer port.
    pub(super) fn server(node: Handle) -> PeerServer<Self> {
        let largest = BATCH_BYTES.saturating_add(node.limits().max_request_bytes);
        PeerServer::new(Self { node }).max_decoding_message_size(largest)
    }

    /// Refuses what was not meant for this member of this cluster.
    fn admit(&self, envelope: Option<&Envelope>) -> Result<MemberId, Status> {
        let envelope =
            envelope.ok_or_else(|| Status::invalid_argument("peer message without envelope"))?;
        let identity = self.node.0.identity;
        let (cluster, from) = (ClusterId(envelope.cluster_id), MemberId(envelope.from));
        if cluster != identity.cluster {
            warn!(
                local.cluster = %identity.cluster,
                remote.cluster = %cluster,
                remote.member = %from,
                "request cluster ID mismatch"
            );
            return Err(Status::failed_precondition(format!(
                "cluster ID mismatch: this member is of cluster {}, the sender of {cluster}",
                identity.cluster
            )));
        }
        if MemberId(envelope.to) != identity.member {
            return Err(Status::failed_precondition(format!(
                "member ID mismatch: this is member {}, not {:x}",
                identity.member, envelope.to
            )));
        }
        if self.node.0.roster.load().removed.contains(&from) {
            return Err(Status::failed_precondition(transport::REMOVED));
        }
        Ok(from)
    }

    /// Answers a lease question only while this member leads: it must not be passed on in circles.
    async fn led<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Status> {
        if !self.node.leads() {
            return Err(Status::failed_precondition("this member does not lead"));
        }
        answer.await.map_err(|error| Status::unavailable(error.to_string()))
    }

    async fn pass(&self, messages: Vec<Message>) -> Result<(), Status> {
        let events = messages.into_iter().map(Event::Receive);
        self.node.0.bring(events).await.map_err(|Stopped| stopping())
    }

    async fn take_snapshot(&self, parts: &mut Streaming<SnapshotPart>) -> Result<(), Status> {
        let announce = parts.message().await?;
        let announce = announce.ok_or_else(|| Status::invalid_argument("no snapshot"))?;
        self.admit(announce.envelope.as_ref())?;
        let Some(Part::Announce(message)) = announce.part else {
            return Err(Status::invalid_argument("snapshot parts out of order"));
        };
        let meta = message.snapshot.as_ref();
        let mark = meta.map(|meta| Mark { index: Index(meta.index), term: Term(meta.term) });
        let mark = mark.ok_or_else(|| Status::invalid_argument("no snapshot"))?;
        let dir = self.node.0.config.snap_dir();
        let transfer = self.node.0.peers.metrics().receiving(MemberId(message.from));
        let (arrivals, stop) = (&self.node.0.arrivals, &self.node.0.stop);
        let mut arrival =
            arrivals.begin(&dir, mark, Term(message.term), stop).await.map_err(internal)?;
        let crc = loop {
            let part = tokio::select! {
                biased;
                () = arrival.replaced() => return Err(internal(arrival::Error::Replaced)),
                part = parts.message() => part?,
            };
            let part = part.ok_or_else(|| Status::invalid_argument("the snapshot ended early"))?;
            self.admit(part.envelope.as_ref())?;
            match part.part {
                Some(Part::Chunk(chunk)) => {
                    arrival = arrival.chunk(chunk).await.map_err(internal)?;
                }
                Some(Part::Crc32c(crc)) => break crc,
                _ => return Err(Status::invalid_argument("snapshot parts out of order")),
            }
        };
        let arrived = arrival.finish(crc).await.map_err(internal)?;
        info!(snapshot.file = %snap::path(&dir, mark).display(), "received a snapshot");
        if let Some(took) = arrived.took() {
            self.node.durations().snapshot_saved(took.all, took.syncing);
        }
        arrivals.keep(arrived);
        // While it came the log may have brought as much.
        arrivals.forget_until(&dir, self.node.0.applied_index());
        transfer.done();
        self.pass(vec![message]).await
    }
}

fn stopping() -> Status {
    Status::unavailable("the node is stopping")
}

#[expect(clippy::needless_pass_by_value, reason = "it maps errors, which come by value")]
fn internal(error: arrival::Error) -> Status {
    let reason = transport::chain(&error);
    warn!(error = reason, "a snapshot could not be received");
    Status::internal(reason)
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn messages(
        &self,
        request: Request<Streaming<Batch>>,
    ) -> Result<Response<MessagesClosed>, Status> {
        let mut batches = request.into_inner();
        let stop = self.node.0.stop.clone();
        let metrics = self.node.0.peers.metrics();
        let mut sender = None;
        loop {
            let batch = tokio::select! {
                () = stop.cancelled() => return Err(stopping()),
                batch = batches.message() => batch,
            };
            if let (Err(_), Some((from, _))) = (&batch, &sender) {
                metrics.broken(*from);
            }
            let Some(batch) = batch? else { return Ok(Response::new(MessagesClosed {})) };
            let from = self.admit(batch.envelope.as_ref())?;
            let (_, received) = sender.get_or_insert_with(|| (from, metrics.received_bytes(from)));
            received.inc_by(batch.encoded_len() as u64);
            if batch.messages.iter().any(|message| MemberId(message.from) != from) {
                return Err(Status::invalid_argument("message from another than the sender"));
            }
            self.pass(batch.messages).await?;
        }
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<SnapshotPart>>,
    ) -> Result<Response<SnapshotTaken>, Status> {
        self.take_snapshot(&mut request.into_inner()).await?;
        Ok(Response::new(SnapshotTaken {}))
    }

    async fn probe(
        &self,
        request: Request<ProbeRequest>,
    ) -> Result<Response<ProbeResponse>, Status> {
        self.admit(request.get_ref().envelope.as_ref())?;
        Ok(Response::new(ProbeResponse {}))
    }

    async fn lease_renew(
        &self,
        request: Request<LeaseRenewRequest>,
    ) -> Result<Response<LeaseRenewResponse>, Status> {
        let request = request.into_inner();
        self.admit(request.envelope.as_ref())?;
        let ids: Vec<LeaseId> = request.ids.into_iter().map(LeaseId).collect();
        let renewed = self.led(async { Ok(renewals::renew_here(&self.node, &ids).await) }).await?;
        // Who does not lead any more says so; then another member is asked.
        let ttl = |renewed: Result<Option<i64>, Error>| match renewed {
            Ok(ttl) => Ok(ttl.unwrap_or(0)),
            Err(Error::Timeout) => Ok(-1),
            Err(error) => Err(Status::unavailable(error.to_string())),
        };
        let ttls = renewed.into_iter().map(ttl).collect::<Result<_, _>>()?;
        Ok(Response::new(LeaseRenewResponse { ttls }))
    }

    async fn lease_remaining(
        &self,
        request: Request<LeaseRemainingRequest>,
    ) -> Result<Response<LeaseRemainingResponse>, Status> {
        let request = request.into_inner();
        self.admit(request.envelope.as_ref())?;
        let remaining = self.led(lease_clock::remaining(&self.node, LeaseId(request.id))).await?;
        let (ttl, granted_ttl) = remaining.unwrap_or((-1, 0));
        Ok(Response::new(LeaseRemainingResponse { ttl, granted_ttl }))
    }

    async fn learner_progress(
        &self,
        request: Request<LearnerProgressRequest>,
    ) -> Result<Response<LearnerProgressResponse>, Status> {
        let request = request.into_inner();
        self.admit(request.envelope.as_ref())?;
        let id = MemberId(request.member_id);
        let in_sync = async { Ok(reconfigure::in_sync(&self.node.0, id)) };
        let in_sync = self.led(in_sync).await?;
        Ok(Response::new(LearnerProgressResponse { in_sync }))
    }

    async fn hash(&self, request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        let request = request.into_inner();
        self.admit(request.envelope.as_ref())?;
        let hashed = self.node.hash_kv(request.revision).await;
        let revision = self.node.state().revision();
        Ok(Response::new(match hashed {
            Ok(HashKv { hash, compact_revision, .. }) => {
                HashResponse { known: true, hash, compact_revision, revision }
            }
            Err(_) => HashResponse { revision, ..HashResponse::default() },
        }))
    }
}
