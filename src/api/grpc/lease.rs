use std::pin::Pin;

use bytes::Bytes;
use futures_util::stream::unfold;
use tokio_stream::Stream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Request, Response, Status, Streaming};

use super::caller::Claim;
use super::led::Led;
use super::{On, admit, header};
use crate::apply::check;
use crate::auth::Caller;
use crate::lease::LeaseId;
use crate::node::{Error, Handle};
use crate::proto::etcdserverpb as pb;

/// Leases: keys that live as long as somebody says so.
#[derive(Debug)]
pub(super) struct Lease(pub(super) Handle);

/// A positive id that nobody has chosen; the state machine refuses one that is taken.
fn random_id() -> i64 {
    loop {
        let id = rand::random::<i64>() & i64::MAX;
        if id != 0 {
            return id;
        }
    }
}

fn attached(handle: &Handle, id: LeaseId) -> Vec<Bytes> {
    let state = handle.state();
    let keys = state.leases().keys(id).into_iter().flatten();
    keys.map(Bytes::copy_from_slice).collect()
}

/// One client's stream of renewals.
#[derive(Debug)]
struct KeepAlive {
    handle: Handle,
    /// Looked up for every renewal: a token may run out while the stream stays.
    claim: Claim,
    requests: Streaming<pb::LeaseKeepAliveRequest>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    led: Led,
}

impl KeepAlive {
    /// The next answer; `None` when the client has closed its side.
    async fn next(&mut self) -> Result<Option<pb::LeaseKeepAliveResponse>, Status> {
        let Self { handle, claim, requests, stopping, led } = self;
        let answered = async {
            match requests.message().await {
                Ok(Some(request)) => Ok(Some(renew(handle, claim, request.id).await?)),
                Ok(None) => Ok(None),
                Err(status) => Err(super::unread(handle, "lease-keepalive", status)),
            }
        };
        tokio::select! {
            // While requests come one after the other, nothing else is looked at.
            biased;
            answered = answered => answered,
            () = stopping => Err(Error::Stopped.into()),
            () = led.lost(handle) => Err(Error::NoLeader.into()),
        }
    }
}

async fn renew(
    handle: &Handle,
    claim: &Claim,
    id: i64,
) -> Result<pb::LeaseKeepAliveResponse, Error> {
    if handle.auth_enabled() {
        let caller = claim.caller(handle).await?;
        let state = handle.state();
        state.auth().is_named(&caller)?;
        state.may_write_leased(&caller, LeaseId(id))?;
    }
    // An unknown lease has no time left, which tells the client to give it up.
    let ttl = handle.lease_renew(LeaseId(id)).await?.unwrap_or(0);
    Ok(pb::LeaseKeepAliveResponse { header: Some(handle.header()), id, ttl })
}

impl Lease {
    /// Whether a caller may know of a lease, and of its keys.
    fn may_look_at(&self, caller: &Caller, id: LeaseId, keys: bool) -> Result<(), Error> {
        let state = self.0.state();
        state.auth().is_named(caller)?;
        if keys { Ok(state.may_read_leased(caller, id)?) } else { Ok(()) }
    }
}

#[tonic::async_trait]
impl pb::lease_server::Lease for Lease {
    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        let caller = Claim::of(&request).caller(&self.0).await?;
        let mut request = request.into_inner();
        self.0.reserve(check::LEASE_COST).await?;
        if request.id == 0 {
            request.id = random_id();
        }
        // The log holds the raised value: a later change of timeouts does not change what it means.
        request.ttl = request.ttl.max(self.0.min_lease_ttl());
        let mut response = self.0.propose(caller, request).await?;
        response.header = header(&self.0, response.header.as_ref());
        Ok(Response::new(response))
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        let caller = Claim::of(&request).caller(&self.0).await?;
        let mut response = self.0.propose(caller, request.into_inner()).await?;
        response.header = header(&self.0, response.header.as_ref());
        Ok(Response::new(response))
    }

    type LeaseKeepAliveStream =
        Pin<Box<dyn Stream<Item = Result<pb::LeaseKeepAliveResponse, Status>> + Send>>;

    /// One answer per request, in order. The stream ends cleanly when the client closes its side.
    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        let open = KeepAlive {
            handle: self.0.clone(),
            claim: Claim::of(&request),
            stopping: Box::pin(self.0.stopping()),
            led: Led::of(&self.0, request.metadata()),
            requests: request.into_inner(),
        };
        // In a box, as it is handed on with every answer.
        let answers = unfold(Some(Box::new(open)), async |open| {
            let mut open = open?;
            let answer = open.next().await.transpose()?;
            let goes_on = answer.is_ok();
            Some((answer, goes_on.then_some(open)))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        let caller = Claim::of(&request).caller(&self.0).await?;
        let pb::LeaseTimeToLiveRequest { id, keys } = request.into_inner();
        self.may_look_at(&caller, LeaseId(id), keys)?;
        let remaining = self.0.lease_remaining(LeaseId(id)).await?;
        let (ttl, granted_ttl) = remaining.unwrap_or((-1, 0));
        let keys = match remaining {
            Some(_) if keys => {
                // Asking the leader took its time, in which keys may have come that are not to be seen.
                self.may_look_at(&caller, LeaseId(id), keys)?;
                attached(&self.0, LeaseId(id))
            }
            _ => Vec::new(),
        };
        let header = Some(self.0.header());
        Ok(Response::new(pb::LeaseTimeToLiveResponse { header, id, ttl, granted_ttl, keys }))
    }

    async fn lease_leases(
        &self,
        request: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        let caller = Claim::of(&request).caller(&self.0).await?;
        self.0.state().auth().is_named(&caller).map_err(Error::from)?;
        let leases = self.0.leases();
        for id in leases.iter().filter(|_| self.0.auth_enabled()) {
            self.may_look_at(&caller, *id, true)?;
        }
        let leases = leases.into_iter().map(|id| pb::LeaseStatus { id: id.0 }).collect();
        Ok(Response::new(pb::LeaseLeasesResponse { header: Some(self.0.header()), leases }))
    }
}
