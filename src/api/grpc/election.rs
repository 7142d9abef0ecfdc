use std::collections::VecDeque;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::stream::unfold;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::within::{self, Caller, Within};
use super::{On, admit};
use crate::node::{Error, Handle};
use crate::proto::etcdserverpb as pb;
use crate::proto::mvccpb::KeyValue;
use crate::proto::mvccpb::event::EventType;
use crate::proto::v3electionpb as epb;
use crate::proto::v3electionpb::election_server;

/// Leaders by lease (etcd `v3election`): who created the oldest key below `<name>/` leads.
#[derive(Debug)]
pub(super) struct Election {
    pub(super) handle: Handle,
    pub(super) within: Within,
}

fn no_leader_given() -> Status {
    Status::unknown("\"leader\" field must be provided")
}

fn not_leader() -> Status {
    Status::unknown("election: not leader")
}

/// Gives up a candidacy, if it is still the same one.
async fn resign(
    caller: &Caller,
    key: &Bytes,
    rev: i64,
) -> Result<Option<pb::ResponseHeader>, Status> {
    let answer = caller.txn(pb::TxnRequest {
        compare: vec![within::created_at(key, rev)],
        success: vec![within::delete(key)],
        failure: Vec::new(),
    });
    Ok(answer.await?.header)
}

/// Changes what a candidate stands for, if it is still the same one.
async fn proclaim(
    caller: &Caller,
    candidate: (&Bytes, i64, i64),
    value: Bytes,
) -> Result<Option<pb::ResponseHeader>, Status> {
    let (key, rev, lease) = candidate;
    let answer = caller.txn(pb::TxnRequest {
        compare: vec![within::created_at(key, rev)],
        success: vec![within::put(key, value, lease)],
        failure: Vec::new(),
    });
    let answer = answer.await?;
    if answer.succeeded { Ok(answer.header) } else { Err(not_leader()) }
}

/// A candidacy that ends when its client stops waiting.
struct Candidate {
    caller: Caller,
    key: Option<Bytes>,
    rev: i64,
}

impl Drop for Candidate {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let (caller, rev) = (self.caller.clone(), self.rev);
        self.caller.afterwards(async move {
            // When it fails, the lease takes the key away.
            drop(resign(&caller, &key, rev).await);
        });
    }
}

#[tonic::async_trait]
impl election_server::Election for Election {
    async fn campaign(
        &self,
        request: Request<epb::CampaignRequest>,
    ) -> Result<Response<epb::CampaignResponse>, Status> {
        admit(&self.handle, request.metadata(), On::Voters)?;
        let caller = self.within.caller(&request);
        let epb::CampaignRequest { name, lease, value } = request.into_inner();
        let lease = caller.session(lease).await?;
        let prefix = within::prefix(&name);
        let key = within::own_key(&prefix, lease);
        let entered = caller.txn(pb::TxnRequest {
            compare: vec![within::created_at(&key, 0)],
            success: vec![within::put(&key, value.clone(), lease)],
            failure: vec![within::get(within::one(&key))],
        });
        let entered = entered.await?;
        let mut rev = within::revision(entered.header.as_ref());
        let mut candidate = Candidate { caller: caller.clone(), key: Some(key.clone()), rev };
        if let Some(kv) = within::found(&entered, 0).filter(|_| !entered.succeeded) {
            rev = kv.create_revision;
            candidate.rev = rev;
            if kv.value != value {
                proclaim(&caller, (&key, rev, lease), value).await?;
            }
        }
        caller.wait_for_turn(&prefix, rev - 1).await?;
        candidate.key = None;
        let leader = Some(epb::LeaderKey { name, key, rev, lease });
        Ok(Response::new(epb::CampaignResponse { header: entered.header, leader }))
    }

    async fn proclaim(
        &self,
        request: Request<epb::ProclaimRequest>,
    ) -> Result<Response<epb::ProclaimResponse>, Status> {
        admit(&self.handle, request.metadata(), On::Voters)?;
        let caller = self.within.caller(&request);
        let epb::ProclaimRequest { leader, value } = request.into_inner();
        let leader = leader.ok_or_else(no_leader_given)?;
        let lease = caller.session(leader.lease).await?;
        let header = proclaim(&caller, (&leader.key, leader.rev, lease), value).await?;
        Ok(Response::new(epb::ProclaimResponse { header }))
    }

    async fn leader(
        &self,
        request: Request<epb::LeaderRequest>,
    ) -> Result<Response<epb::LeaderResponse>, Status> {
        admit(&self.handle, request.metadata(), On::Voters)?;
        let caller = self.within.caller(&request);
        let prefix = within::prefix(&request.into_inner().name);
        let answer = caller.range(within::oldest(&prefix)).await?;
        let Some(kv) = answer.kvs.into_iter().next() else {
            return Err(Status::unknown("election: no leader"));
        };
        Ok(Response::new(epb::LeaderResponse { header: answer.header, kv: Some(kv) }))
    }

    type ObserveStream = Pin<Box<dyn Stream<Item = Result<epb::LeaderResponse, Status>> + Send>>;

    async fn observe(
        &self,
        request: Request<epb::LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        admit(&self.handle, request.metadata(), On::Voters)?;
        let caller = self.within.caller(&request);
        let prefix = within::prefix(&request.into_inner().name);
        let handle = self.handle.clone();
        let observer = Observer { caller, prefix, handle, watching: None, news: VecDeque::new() };
        let answers = unfold(Some(observer), async |observer| {
            let mut observer = observer?;
            let stopping = observer.handle.clone();
            let answer = tokio::select! {
                answer = observer.next() => answer,
                () = stopping.stopping() => Err(Error::Stopped.into()),
            };
            let goes_on = answer.is_ok();
            Some((answer, goes_on.then_some(observer)))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn resign(
        &self,
        request: Request<epb::ResignRequest>,
    ) -> Result<Response<epb::ResignResponse>, Status> {
        admit(&self.handle, request.metadata(), On::Voters)?;
        let caller = self.within.caller(&request);
        let leader = request.into_inner().leader.ok_or_else(no_leader_given)?;
        let header = resign(&caller, &leader.key, leader.rev).await?;
        Ok(Response::new(epb::ResignResponse { header }))
    }
}

/// Follows an election: the leader there is, what it proclaims, and the leaders after it.
struct Observer {
    caller: Caller,
    prefix: Bytes,
    handle: Handle,
    /// On the key of the leader that was told last, while it is there.
    watching: Option<Streaming<pb::WatchResponse>>,
    /// Heard and not told yet.
    news: VecDeque<epb::LeaderResponse>,
}

impl Observer {
    async fn next(&mut self) -> Result<epb::LeaderResponse, Status> {
        loop {
            if let Some(news) = self.news.pop_front() {
                return Ok(news);
            }
            let Some(watching) = &mut self.watching else {
                let (header, kv) = self.leader().await?;
                let start_revision = header.revision + 1;
                let key = kv.key.clone();
                let create = pb::WatchCreateRequest { key, start_revision, ..Default::default() };
                self.watching = Some(self.caller.watch(create).await?);
                return Ok(epb::LeaderResponse { header: Some(header), kv: Some(kv) });
            };
            let answer = message(watching).await?;
            for event in answer.events {
                if event.r#type() == EventType::Delete {
                    self.watching = None;
                    break;
                }
                self.news.push_back(epb::LeaderResponse { header: answer.header, kv: event.kv });
            }
        }
    }

    /// The leader, as soon as there is one.
    async fn leader(&self) -> Result<(pb::ResponseHeader, KeyValue), Status> {
        let answer = self.caller.range(within::oldest(&self.prefix)).await?;
        let header = answer.header.unwrap_or_default();
        if let Some(kv) = answer.kvs.into_iter().next() {
            return Ok((header, kv));
        }
        let create = pb::WatchCreateRequest {
            key: self.prefix.clone(),
            range_end: within::after(&self.prefix),
            start_revision: header.revision,
            ..Default::default()
        };
        let mut watching = self.caller.watch(create).await?;
        loop {
            let answer = message(&mut watching).await?;
            let put = answer.events.into_iter().find(|event| event.r#type() == EventType::Put);
            if let Some(kv) = put.and_then(|event| event.kv) {
                // A batch may hold later revisions; the leader's own is where to go on from.
                let revision = kv.mod_revision;
                let header = pb::ResponseHeader { revision, ..answer.header.unwrap_or_default() };
                return Ok((header, kv));
            }
        }
    }
}

async fn message(watching: &mut Streaming<pb::WatchResponse>) -> Result<pb::WatchResponse, Status> {
    let closed = || Status::unknown("election: observe closed early");
    let answer = watching.message().await.map_err(|_status| closed())?.ok_or_else(closed)?;
    within::ended(&answer).map_err(|_status| closed())?;
    Ok(answer)
}
