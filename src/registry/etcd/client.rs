use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::auth_client::AuthClient;
use crate::proto::etcdserverpb::kv_client::KvClient;
use crate::proto::etcdserverpb::watch_client::WatchClient;
use crate::proto::etcdserverpb::watch_request::RequestUnion;

/// How long one member may take to answer.
const ATTEMPT: Duration = Duration::from_millis(1500);
/// How long it may take the first time for what is done in milliseconds. A follower hands a write to
/// a leader that has just died and never hears of it again, so asking soon once more is what helps.
const SOON: Duration = Duration::from_millis(500);
/// How long all members together may take. They need some two seconds to elect a new leader; the
/// node for which this is done gives up after five, and is answered after four.
const PATIENCE: Duration = Duration::from_millis(3500);
/// No time for another round.
const ONCE: Duration = Duration::ZERO;
/// Pause before members are asked once more.
const PAUSE: Duration = Duration::from_millis(100);
/// The most keys in one answer.
const PAGE: i64 = 500;
/// The largest answer that is read; documents of one page.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// An etcd v3 cluster, asked at whichever member answers.
#[derive(Debug, Clone)]
pub(in crate::registry) struct Client {
    members: Arc<[Channel]>,
    /// The one that answered last.
    current: Arc<AtomicUsize>,
    login: Option<Arc<Login>>,
}

/// Who we are to a cluster that asks for it.
#[derive(Debug)]
struct Login {
    user: String,
    password: String,
    token: parking_lot::Mutex<Option<AsciiMetadataValue>>,
}

impl Client {
    pub(super) fn new(members: Vec<Channel>, login: Option<(String, String)>) -> Self {
        let login = login.map(|(user, password)| Login {
            user,
            password,
            token: parking_lot::Mutex::default(),
        });
        Self {
            members: members.into(),
            current: Arc::new(AtomicUsize::new(0)),
            login: login.map(Arc::new),
        }
    }

    /// Everything below `prefix` at one revision, which comes first; read from the leader.
    pub(super) async fn list(
        &self,
        prefix: &str,
        min_create_revision: i64,
    ) -> Result<(i64, Vec<crate::proto::mvccpb::KeyValue>), Status> {
        let mut found = Vec::new();
        let (mut key, mut revision) = (prefix.as_bytes().to_vec(), 0);
        let end = after(prefix.as_bytes());
        loop {
            let question = pb::RangeRequest {
                key: key.clone().into(),
                range_end: end.clone().into(),
                limit: PAGE,
                revision,
                min_create_revision,
                ..pb::RangeRequest::default()
            };
            let answer = self.range(question).await?;
            // All pages show what the first one shows.
            revision = match revision {
                0 => answer.header.map_or(0, |header| header.revision),
                set => set,
            };
            let Some(last) = answer.kvs.last() else { return Ok((revision, found)) };
            key = [&last.key[..], &[0]].concat();
            found.extend(answer.kvs);
            if !answer.more {
                return Ok((revision, found));
            }
        }
    }

    pub(super) async fn range(
        &self,
        question: pb::RangeRequest,
    ) -> Result<pb::RangeResponse, Status> {
        let soon = if question.range_end.is_empty() { SOON } else { ATTEMPT };
        let call = |channel, request| async move { kv(channel).range(request).await };
        self.ask(call, question, soon, PATIENCE).await
    }

    /// The same, and each member is asked no more than once.
    pub(super) async fn range_once(
        &self,
        question: pb::RangeRequest,
    ) -> Result<pb::RangeResponse, Status> {
        let call = |channel, request| async move { kv(channel).range(request).await };
        self.ask(call, question, ATTEMPT, ONCE).await
    }

    pub(super) async fn txn(&self, question: pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
        let call = |channel, request| async move { kv(channel).txn(request).await };
        self.ask(call, question, SOON, PATIENCE).await
    }

    /// Opens a watch of everything below `prefix`, beginning at `revision`; each member is asked once.
    pub(super) async fn watch(
        &self,
        prefix: &str,
        revision: i64,
    ) -> Result<tonic::Streaming<pb::WatchResponse>, Status> {
        let create = pb::WatchCreateRequest {
            key: prefix.to_owned().into(),
            range_end: after(prefix.as_bytes()).into(),
            start_revision: revision,
            ..pb::WatchCreateRequest::default()
        };
        let create = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let open = |channel, mut request: Request<pb::WatchRequest>| async move {
            // A member without a leader would be silent for as long as it is cut off.
            request.metadata_mut().insert("hasleader", AsciiMetadataValue::from_static("true"));
            let (metadata, _, create) = request.into_parts();
            // The stream of requests stays open as long as the watch is wanted.
            let requests = futures_util::stream::StreamExt::chain(
                futures_util::stream::iter([create]),
                futures_util::stream::pending(),
            );
            let mut request = Request::new(requests);
            *request.metadata_mut() = metadata;
            WatchClient::new(channel)
                .max_decoding_message_size(MAX_ANSWER_BYTES)
                .watch(request)
                .await
        };
        self.ask(open, create, ATTEMPT, ONCE).await
    }

    /// Asks the member that answered last, then the others, and then all again while there is
    /// `patience`; at first each for no longer than `soon`.
    ///
    /// A write that one member did not answer may have happened all the same. Ours are safe to
    /// repeat: they compare the revision they rest on.
    async fn ask<Q, A, F>(
        &self,
        call: impl Fn(Channel, Request<Q>) -> F,
        question: Q,
        soon: Duration,
        patience: Duration,
    ) -> Result<A, Status>
    where
        Q: Clone,
        F: Future<Output = Result<tonic::Response<A>, Status>>,
    {
        let first = self.current.load(Ordering::Relaxed);
        let mut failure = Status::unavailable("no store endpoint is configured");
        let mut renewed = false;
        let mut attempt = 0;
        let began = Instant::now();
        while attempt < self.members.len()
            || (!self.members.is_empty() && began.elapsed() < patience)
        {
            if attempt >= self.members.len() {
                tokio::time::sleep(PAUSE).await;
            }
            // More each time around: a store that is slow for everybody is waited for.
            let rounds = u32::try_from(attempt / self.members.len()).unwrap_or(u32::MAX);
            let limit = soon.saturating_mul(rounds.saturating_add(1)).min(ATTEMPT);
            let at = (first + attempt) % self.members.len();
            let channel = self.members[at].clone();
            let request = self.signed(&channel, question.clone()).await;
            let answer = match request {
                Ok(request) => tokio::time::timeout(limit, call(channel, request)).await,
                Err(status) => Ok(Err(status)),
            };
            failure = match answer {
                Ok(Ok(answer)) => {
                    self.current.store(at, Ordering::Relaxed);
                    return Ok(answer.into_inner());
                }
                Ok(Err(status)) if status.code() == Code::Unauthenticated && !renewed => {
                    // The token's time is over, or the member that gave it has restarted.
                    self.forget_token();
                    renewed = true;
                    continue;
                }
                Ok(Err(status)) if !is_trouble_of_one_member(&status) => return Err(status),
                Ok(Err(status)) => status,
                Err(_elapsed) => Status::deadline_exceeded("the store did not answer in time"),
            };
            attempt += 1;
        }
        Err(failure)
    }

    /// A request that says who we are.
    async fn signed<Q>(&self, channel: &Channel, question: Q) -> Result<Request<Q>, Status> {
        let mut request = Request::new(question);
        let Some(login) = &self.login else { return Ok(request) };
        let token = match login.held() {
            Some(token) => token,
            None => login.log_in(channel.clone()).await?,
        };
        request.metadata_mut().insert("token", token);
        Ok(request)
    }

    /// Begins with the next member, as this one lost its leader or went away.
    pub(super) fn avoid_current(&self) {
        let _ = self.current.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
            Some((at + 1) % self.members.len().max(1))
        });
    }

    fn forget_token(&self) {
        if let Some(login) = &self.login {
            login.hold(None);
        }
    }
}

impl Login {
    fn held(&self) -> Option<AsciiMetadataValue> {
        self.token.lock().clone()
    }

    fn hold(&self, token: Option<AsciiMetadataValue>) {
        *self.token.lock() = token;
    }

    async fn log_in(&self, channel: Channel) -> Result<AsciiMetadataValue, Status> {
        let question =
            pb::AuthenticateRequest { name: self.user.clone(), password: self.password.clone() };
        let asking = tokio::time::timeout(ATTEMPT, async move {
            AuthClient::new(channel).authenticate(question).await
        });
        let answer = asking
            .await
            .map_err(|_elapsed| Status::unavailable("the store did not log us in in time"))??;
        let token: AsciiMetadataValue =
            answer.into_inner().token.parse().map_err(|_odd| {
                Status::internal("the store gave a token that is no header value")
            })?;
        self.hold(Some(token.clone()));
        Ok(token)
    }
}

fn kv(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES)
}

/// Whether another member may do better.
fn is_trouble_of_one_member(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
    )
}

/// The first key after all that begin with `prefix`, which ends in a character below 0xff.
fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
