use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tracing::warn;

use super::{Credentials, Error, TokenV3Request};
use crate::discovery::Pace;
use crate::discovery::roll::Entry;
use crate::membership::MemberId;
use crate::proto::etcdserverpb::auth_client::AuthClient;
use crate::proto::etcdserverpb::kv_client::KvClient;
use crate::proto::etcdserverpb::watch_client::WatchClient;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::etcdserverpb::{
    AuthenticateRequest, PutRequest, RangeRequest, RangeResponse, WatchCreateRequest, WatchRequest,
    WatchResponse,
};
use crate::proto::mvccpb::{KeyValue, event::EventType};
use crate::transport::connect;
use crate::transport::tls::{ClientOptions, TlsClient};

/// Answers longer than this are no registrations.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// Servers in Go close connections that ping more often than they allow; clients in Go ask no more
/// often than this, whatever they were told.
const SHORTEST_PING_INTERVAL: Duration = Duration::from_secs(10);

/// What a store without authentication says to somebody who wants to log in.
const NOT_ENABLED: &str = "etcdserver: authentication is not enabled";

/// Why a call brought no answer to work with.
#[derive(Debug)]
pub(super) enum Failure {
    /// May pass.
    Passing(String),
    /// Asking again brings the same.
    Final(Error),
}

/// Who is registered, and the revision up to which this is complete.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) entries: Vec<Entry>,
    pub(super) revision: i64,
}

/// The v3 client of one token. It stays with an endpoint until a call fails.
#[derive(Debug)]
pub(super) struct Client {
    endpoints: Vec<(String, Endpoint)>,
    /// For endpoints that ask for it.
    tls: Option<TlsClient>,
    at: usize,
    link: Option<Link>,
    credentials: Option<Credentials>,
    /// `/_etcd/registry/<token>`, cleaned.
    root: String,
    dial: Duration,
    pace: Pace,
}

/// A connection, and who we are on it.
#[derive(Debug, Clone)]
struct Link {
    channel: Channel,
    login: Option<MetadataValue<Ascii>>,
}

/// A running watch of the members.
#[derive(Debug)]
pub(super) struct Watch {
    answers: Streaming<WatchResponse>,
    /// The stream of answers lives as long as that of requests.
    _requests: mpsc::Sender<WatchRequest>,
    prefix: String,
}

impl Client {
    pub(super) fn new(way: &TokenV3Request, pace: Pace) -> Result<Self, Error> {
        let mut endpoints = Vec::new();
        let mut known = BTreeSet::new();
        let asked = way.endpoints.iter().any(|text| text.starts_with("https://"));
        let tls = way.tls.clone().or_else(|| asked.then(ClientOptions::default));
        let tls = tls.map(TlsClient::load).transpose().map_err(Error::Tls)?;
        let scheme = if way.tls.is_some() { "https" } else { "http" };
        for text in way.endpoints.iter().filter(|text| known.insert(text.as_str())) {
            let url =
                if text.contains("://") { text.clone() } else { format!("{scheme}://{text}") };
            let endpoint = Endpoint::from_shared(url)
                .map_err(|source| Error::Endpoint { endpoint: text.clone(), source })?;
            let mut endpoint = endpoint.connect_timeout(way.dial_timeout).tcp_nodelay(true);
            if !way.keepalive_time.is_zero() {
                endpoint = endpoint
                    .http2_keep_alive_interval(way.keepalive_time.max(SHORTEST_PING_INTERVAL))
                    .keep_alive_timeout(way.keepalive_timeout);
            }
            endpoints.push((text.clone(), endpoint));
        }
        Ok(Self {
            endpoints,
            tls,
            at: 0,
            link: None,
            credentials: way.credentials.clone(),
            root: root(&way.token),
            dial: way.dial_timeout,
            pace,
        })
    }

    /// The endpoint that is asked now.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoints[self.at].0
    }

    /// Asks the next endpoint from now on.
    pub(super) fn next_endpoint(&mut self) {
        self.link = None;
        self.at = (self.at + 1) % self.endpoints.len();
    }

    /// How many members the cluster has.
    pub(super) async fn size(&mut self) -> Result<usize, Failure> {
        let key = format!("{}/_config/size", self.root);
        let request = RangeRequest { key: key.into(), ..RangeRequest::default() };
        let answer = self.range(request).await?;
        let Some(kv) = answer.kvs.first() else {
            return Err(Failure::Final(Error::SizeNotFound));
        };
        let size = std::str::from_utf8(&kv.value).ok().and_then(|text| text.parse::<i64>().ok());
        match size.map(usize::try_from) {
            Some(Ok(size)) if size > 0 => Ok(size),
            _ => Err(Failure::Final(Error::BadSize)),
        }
    }

    /// All registrations.
    pub(super) async fn members(&mut self) -> Result<Members, Failure> {
        let (key, range_end) = self.range_of_members();
        let request = RangeRequest {
            key: key.into(),
            range_end: range_end.into(),
            ..RangeRequest::default()
        };
        let answer = self.range(request).await?;
        let revision = answer.header.map_or(0, |header| header.revision);
        let prefix = self.prefix();
        let entries = answer.kvs.iter().filter_map(|kv| entry(&prefix, kv)).collect();
        Ok(Members { entries, revision })
    }

    /// Registers a member, whether it is registered or not.
    pub(super) async fn register(&mut self, id: MemberId, value: &str) -> Result<(), Failure> {
        let request = PutRequest {
            key: format!("{}{id}", self.prefix()).into(),
            value: value.to_owned().into(),
            ..PutRequest::default()
        };
        let link = self.link().await?;
        let mut kv = KvClient::new(link.channel.clone());
        within(self.pace.request, kv.put(link.sign(request))).await.map(drop)
    }

    /// Watches the members from that revision on.
    pub(super) async fn watch(&mut self, start_revision: i64) -> Result<Watch, Failure> {
        let (key, range_end) = self.range_of_members();
        let create = WatchCreateRequest {
            key: key.into(),
            range_end: range_end.into(),
            start_revision,
            ..WatchCreateRequest::default()
        };
        let link = self.link().await?;
        let (requests, queue) = mpsc::channel(1);
        let first = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        requests.try_send(first).expect("the queue has room for one");
        let mut client =
            WatchClient::new(link.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        let stream = client.watch(link.sign(ReceiverStream::new(queue)));
        let answers = within(self.pace.request, stream).await?;
        Ok(Watch { answers, _requests: requests, prefix: self.prefix() })
    }

    async fn range(&mut self, request: RangeRequest) -> Result<RangeResponse, Failure> {
        let link = self.link().await?;
        let mut kv =
            KvClient::new(link.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        within(self.pace.request, kv.range(link.sign(request))).await
    }

    /// The connection; made, and signed in, when there is none.
    async fn link(&mut self) -> Result<Link, Failure> {
        if let Some(link) = &self.link {
            return Ok(link.clone());
        }
        let (text, endpoint) = &self.endpoints[self.at];
        let connected = tokio::time::timeout(self.dial, connect(endpoint, self.tls.as_ref())).await;
        let channel = match connected {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(Failure::Passing(root_cause(text, &error))),
            Err(_elapsed) => {
                return Err(Failure::Passing(format!("dial tcp {text}: i/o timeout")));
            }
        };
        let mut link = Link { channel, login: None };
        if let Some(Credentials { user, password }) = self.credentials.clone() {
            let request = AuthenticateRequest { name: user, password };
            let mut auth = AuthClient::new(link.channel.clone());
            match within(self.pace.request, auth.authenticate(request)).await {
                Ok(answer) => {
                    let token = answer.token.parse().map_err(|_no_ascii| {
                        Failure::Passing("the token of the session is no text".to_owned())
                    })?;
                    link.login = Some(token);
                }
                // A store that asks nobody who he is: etcd's own client goes on as well.
                Err(Failure::Passing(text)) if text.ends_with(NOT_ENABLED) => {}
                Err(failure) => return Err(failure),
            }
        }
        self.link = Some(link.clone());
        Ok(link)
    }

    /// What the keys of members start with.
    fn prefix(&self) -> String {
        format!("{}/members/", self.root)
    }

    /// etcd's prefix has no slash at its end.
    fn range_of_members(&self) -> (String, String) {
        (format!("{}/members", self.root), format!("{}/membert", self.root))
    }
}

impl Link {
    fn sign<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(login) = &self.login {
            request.metadata_mut().insert("token", login.clone());
        }
        request
    }
}

impl Watch {
    /// The next registrations; `None` when the store ended the watch.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        let Some(answer) = self.answers.message().await.map_err(|status| failure(&status))? else {
            return Ok(None);
        };
        if answer.canceled || answer.compact_revision != 0 {
            return Ok(None);
        }
        let puts = answer.events.iter().filter(|event| event.r#type() == EventType::Put);
        let kvs = puts.filter_map(|event| event.kv.as_ref());
        Ok(Some(kvs.filter_map(|kv| entry(&self.prefix, kv)).collect()))
    }
}

/// The registration in a key, if it is one.
fn entry(prefix: &str, kv: &KeyValue) -> Option<Entry> {
    let key = String::from_utf8_lossy(&kv.key);
    let key = key.trim();
    let value = String::from_utf8_lossy(&kv.value).trim().to_owned();
    if !value.contains('=') {
        warn!(peer = key, "invalid peer info returned from discovery service");
        return None;
    }
    // Only a key below the directory can be the own one; what merely begins like it counts as well.
    let id = key.strip_prefix(prefix).unwrap_or(key).to_owned();
    let created_index = u64::try_from(kv.create_revision).unwrap_or_default();
    Some(Entry { id, value, created_index })
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(failure(&status)),
        Err(_elapsed) => Err(Failure::Passing("context deadline exceeded".to_owned())),
    }
}

/// Every failure may pass, but for the judgement of a service that says with a code what to change.
fn failure(status: &Status) -> Failure {
    let text = status.message();
    let code = text.split(':').next().and_then(|code| code.strip_prefix('Q'));
    let judged =
        code.is_some_and(|code| code.len() == 4 && code.bytes().all(|byte| byte.is_ascii_digit()));
    if judged && status.code() != Code::Unavailable {
        return Failure::Final(Error::Judged(text.to_owned()));
    }
    let mut told = format!("rpc error: code = {:?} desc = {text}", status.code());
    if let Some(source) = std::error::Error::source(status) {
        let cause = deepest(source).to_string();
        if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    Failure::Passing(told)
}

/// What is at the bottom of an error.
fn deepest<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a dyn std::error::Error {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

fn root_cause(endpoint: &str, error: &tonic::transport::Error) -> String {
    format!("dial tcp {endpoint}: {}", deepest(error))
}

/// The directory of a token; odd slashes in the token do not count, as in etcd.
fn root(token: &str) -> String {
    let mut segments = vec!["_etcd", "registry"];
    for segment in token.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_slashes_of_a_token_do_not_reach_the_keys() {
        for token in ["T", "/T", "T/", "//T//", "./T", "x/../T"] {
            assert_eq!(root(token), "/_etcd/registry/T", "{token}");
        }
    }

    #[test]
    fn only_judgements_are_final() {
        let cases = [
            (Status::failed_precondition("Q1033: member 1 founded"), true),
            (Status::unavailable("Q1090: try again"), false),
            (Status::permission_denied("etcdserver: permission denied"), false),
            (Status::not_found("Quite: not there"), false),
            (Status::unavailable("connection refused"), false),
        ];
        for (status, is_final) in cases {
            assert_eq!(matches!(failure(&status), Failure::Final(_)), is_final, "{status:?}");
        }
    }
}
