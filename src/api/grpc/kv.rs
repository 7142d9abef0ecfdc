use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::stream::unfold;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::caller::Claim;
use super::direct::{self, Answer};
use super::{On, admit, range_stream};
use crate::apply::{self, Pairs, RangeScan, Sent, by_key, check};
use crate::auth::Caller;
use crate::node::{Error, Handle};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::kv_server::Kv as _;

/// How often a client that waits for the sweep after a compaction is looked after.
const SWEEP_LOOK: Duration = Duration::from_millis(10);

/// Keys and values.
#[derive(Debug, Clone)]
pub(super) struct Kv(pub(super) Handle);

impl Kv {
    /// Reads a range. The state is let go between slices, so a large one delays nobody.
    ///
    /// Its caller is checked against the users of the state in which it begins.
    fn begin<P: Pairs>(
        &self,
        caller: &Caller,
        request: &pb::RangeRequest,
    ) -> Result<(RangeScan<P>, bool), apply::Error> {
        let state = self.0.state();
        let mut scan = state.range_scan(caller, request)?;
        let done = scan.step(&state)?;
        Ok((scan, done))
    }

    async fn scan<P: Pairs>(
        &self,
        caller: &Caller,
        request: &pb::RangeRequest,
    ) -> Result<RangeScan<P>, Error> {
        let (mut scan, mut done) = self.0.check(self.begin(caller, request))?;
        while !done {
            // Others on this thread get their turn, and the state may move on.
            tokio::task::yield_now().await;
            let step = scan.step(&self.0.state());
            done = self.0.check(step)?;
        }
        Ok(scan)
    }

    async fn read<P: Pairs>(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<RangeScan<P>, Status> {
        let serializable = request.get_ref().serializable;
        admit(&self.0, request.metadata(), if serializable { On::Everyone } else { On::Voters })?;
        let claim = Claim::of(&request);
        let request = request.into_inner();
        check::range(&request)?;
        if !serializable {
            self.0.linearize().await?;
        }
        self.0.counts().ranges.inc();
        let caller = claim.caller(&self.0).await?;
        let began = Instant::now();
        let read = self.scan(&caller, &request).await;
        self.0.durations().range(&read, began.elapsed());
        Ok(read?)
    }

    /// As [`pb::kv_server::Kv::range`], but the pairs are copied once, from where they lie to where they are sent.
    pub(super) async fn answer_range(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Answer<pb::RangeResponse>, Status> {
        if !by_key(request.get_ref()) {
            return message(self.range(request).await);
        }
        let scan: RangeScan<Sent> = self.read(request).await?;
        let header = Some(self.0.header_at(scan.current()));
        let mut answer = direct::begin(&pb::RangeResponse { header, ..Default::default() });
        scan.finish_into(&mut answer);
        Ok(Answer::Encoded(answer))
    }

    pub(super) async fn answer_put(
        &self,
        request: Request<pb::PutRequest>,
    ) -> Result<Answer<pb::PutResponse>, Status> {
        message(self.put(request).await)
    }

    pub(super) async fn answer_delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Answer<pb::DeleteRangeResponse>, Status> {
        message(self.delete_range(request).await)
    }

    /// As [`pb::kv_server::Kv::txn`]; see [`Self::answer_range`].
    pub(super) async fn answer_txn(
        &self,
        request: Request<pb::TxnRequest>,
    ) -> Result<Answer<pb::TxnResponse>, Status> {
        let (caller, request) = match self.begin_txn(request).await? {
            Txn::Done(response) => return Ok(Answer::Message(response)),
            Txn::Read(caller, request) => (caller, request),
        };
        let (answer, read) = {
            let state = self.0.state();
            let header = Some(self.0.header_at(state.revision()));
            let mut answer = direct::begin(&pb::TxnResponse { header, ..Default::default() });
            let read = state.txn_read_into(&caller, &request, &mut answer);
            (answer, read)
        };
        self.0.counts().read(self.0.check(read)?);
        Ok(Answer::Encoded(answer))
    }

    /// Carries out a transaction that may write; one that only reads may do so from now on.
    async fn begin_txn(&self, request: Request<pb::TxnRequest>) -> Result<Txn, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        let claim = Claim::of(&request);
        let request = request.into_inner();
        self.0.reserve(check::txn_cost(&request)).await?;
        check::txn(&request, self.0.limits().max_txn_ops)?;
        if check::is_read_only(&request) {
            if !check::is_serializable(&request) {
                self.0.linearize().await?;
            }
            return Ok(Txn::Read(claim.caller(&self.0).await?, request));
        }
        let caller = claim.caller(&self.0).await?;
        let mut response = self.0.propose(caller, request).await?;
        response.header = super::header(&self.0, response.header.as_ref());
        Ok(Txn::Done(response))
    }
}

/// How far a transaction has come.
enum Txn {
    Done(pb::TxnResponse),
    /// It only reads.
    Read(Caller, pb::TxnRequest),
}

fn message<A>(response: Result<Response<A>, Status>) -> Result<Answer<A>, Status> {
    Ok(Answer::Message(response?.into_inner()))
}

#[tonic::async_trait]
impl pb::kv_server::Kv for Kv {
    async fn range(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        let scan: RangeScan = self.read(request).await?;
        let mut response = scan.finish();
        response.header = super::header(&self.0, response.header.as_ref());
        Ok(Response::new(response))
    }

    async fn put(
        &self,
        request: Request<pb::PutRequest>,
    ) -> Result<Response<pb::PutResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        let claim = Claim::of(&request);
        let request = request.into_inner();
        self.0.reserve(check::put_cost(&request)).await?;
        check::put(&request)?;
        let caller = claim.caller(&self.0).await?;
        let mut response = self.0.propose(caller, request).await?;
        response.header = super::header(&self.0, response.header.as_ref());
        Ok(Response::new(response))
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        let claim = Claim::of(&request);
        let request = request.into_inner();
        check::delete_range(&request)?;
        let caller = claim.caller(&self.0).await?;
        let mut response = self.0.propose(caller, request).await?;
        response.header = super::header(&self.0, response.header.as_ref());
        Ok(Response::new(response))
    }

    async fn txn(
        &self,
        request: Request<pb::TxnRequest>,
    ) -> Result<Response<pb::TxnResponse>, Status> {
        let (caller, request) = match self.begin_txn(request).await? {
            Txn::Done(response) => return Ok(Response::new(response)),
            Txn::Read(caller, request) => (caller, request),
        };
        let read = self.0.state().txn_read(&caller, &request);
        let mut response = self.0.check(read)?;
        self.0.counts().read(response.responses.len() as u64);
        response.header = super::header(&self.0, response.header.as_ref());
        Ok(Response::new(response))
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        let caller = Claim::of(&request).caller(&self.0).await?;
        let request = request.into_inner();
        let physical = request.physical;
        let mut response = self.0.propose(caller, request).await?;
        if physical {
            let mut look = tokio::time::interval(SWEEP_LOOK);
            while self.0.state().compacting() {
                look.tick().await;
            }
        }
        response.header = super::header(&self.0, response.header.as_ref());
        Ok(Response::new(response))
    }

    type RangeStreamStream =
        Pin<Box<dyn Stream<Item = Result<pb::RangeStreamResponse, Status>> + Send>>;

    /// A range in pieces, all of the revision that was current when it began (etcd 3.7).
    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let serializable = request.get_ref().serializable;
        admit(&self.0, request.metadata(), if serializable { On::Everyone } else { On::Voters })?;
        let claim = Claim::of(&request);
        let request = request.into_inner();
        check::range(&request)?;
        range_stream::check(&request)?;
        if !serializable {
            self.0.linearize().await?;
        }
        self.0.counts().ranges.inc();
        let caller = claim.caller(&self.0).await?;
        let pieces = range_stream::Pieces::begin(self.0.clone(), &caller, request)?;
        let pieces = unfold(Some(pieces), async |pieces| {
            let mut pieces = pieces?;
            match pieces.next().await {
                Ok(piece) => {
                    let more = piece.header.is_none().then_some(pieces);
                    Some((Ok(pb::RangeStreamResponse { range_response: Some(piece) }), more))
                }
                Err(error) => Some((Err(error.into()), None)),
            }
        });
        Ok(Response::new(Box::pin(pieces)))
    }
}
