//! The registry in an etcd v3 cluster, so that several services share it.
//!
//! Live state is below `PREFIX/live/`: one document per token, and `head`, which every write changes
//! and every write compares. So of two services that decide at the same time one is told that it was
//! overtaken; it hears what the other did, and decides again. The timeline is below
//! `PREFIX/timeline/`, a block of entries for each write, and is read only by those who ask for it.
//!
//! Every service holds all tokens in memory, as with SQLite, and keeps them current by a watch: that
//! also wakes those who wait here for a registration that came in there.
//!
//! A write that was not answered may have happened. It is repeated, at another member if need be:
//! either nobody has written since, or the comparison fails and what is there is heard first.
//!
//! While nobody writes, a probe finds out whether the store is there ([`probe`]). The data directory
//! remembers which registry it belongs to ([`identity`]): a store that was made anew is refused.

mod backoff;
mod client;
mod document;
mod identity;
mod probe;
mod reader;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::warn;

pub(super) use reader::Reader;

use client::Client;
use document::{FORMAT, HeadDocument, TokenDocument};
use identity::Identity;
use probe::Probe;
use watch::{News, Watch};

use super::group::Group;
use super::outcome::{Heard, NotWritten, Ready, Written};
use super::state::{Loaded, News as Shown};
use super::timeline::Head;
use super::tokens::Tokens;
use super::{OpenError, WriterFailed};
use crate::admission::Founding;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::request_op::Request as Op;
use crate::proto::mvccpb;
use crate::proto::mvccpb::event::EventType;
use crate::token::TokenPath;

/// How many commands one transaction takes: etcd allows 128 operations, and a sweep needs several.
pub(super) const GROUP: usize = 48;
/// How many tokens one sweep takes.
pub(super) const SWEPT: usize = 32;

/// How long the news of whoever overtook us may take before everything is read again.
const HEARING: Duration = Duration::from_secs(2);

/// Where the cluster is, and who we are there.
#[derive(Debug, Clone)]
pub struct Config {
    /// One for each member; they connect when they are used.
    pub members: Vec<Channel>,
    /// As people write it, for messages.
    pub url: String,
    /// All keys begin with it; without a slash at the end.
    pub prefix: String,
    pub login: Option<(String, String)>,
}

/// The registry in a cluster, as the one writer of this process sees it.
#[derive(Debug)]
pub(super) struct Cluster {
    client: Client,
    url: String,
    prefix: String,
    /// Everything up to this revision is in memory; the revision of `head`.
    revision: i64,
    /// Absent when everything has to be read again.
    watch: Option<Watch>,
    probe: Probe,
    identity: Identity,
    cluster_id: String,
}

/// What happened while the writer had nothing to do.
enum Sign {
    News(News),
    Probed(Result<pb::RangeResponse, Status>),
}

impl Cluster {
    /// Reads the registry, and makes an empty one where none is and none was.
    pub(super) async fn open(config: Config, data_dir: &Path) -> Result<(Self, Loaded), OpenError> {
        let Config { members, url, prefix, login } = config;
        let mut identity = Identity::read(data_dir, &url)?;
        let client = Client::new(members, login);
        let failed = |status| OpenError::Store { url: url.clone(), status: Box::new(status) };
        if identity.is_open() {
            found(&client, &prefix).await.map_err(failed)?;
        }
        let (loaded, revision) = load(&client, &prefix, &url, &identity).await?;
        identity.meet(&loaded.cluster_id)?;
        let watch = Some(Watch::start(client.clone(), live(&prefix), revision));
        let (probe, cluster_id) = (Probe::start(), loaded.cluster_id.clone());
        Ok((Self { client, url, prefix, revision, watch, probe, identity, cluster_id }, loaded))
    }

    /// Reads everything again, if the watch missed something.
    pub(super) async fn ready(&mut self) -> Result<Ready, WriterFailed> {
        if self.watch.is_some() {
            return Ok(Ready::AsBefore);
        }
        match self.reload().await {
            Ok(loaded) => Ok(Ready::Reloaded(loaded)),
            Err(OpenError::Store { status, .. }) => {
                Ok(Ready::No { why: status.message().to_owned() })
            }
            Err(damage) => Err(damage.into()),
        }
    }

    async fn reload(&mut self) -> Result<Box<Loaded>, OpenError> {
        let (loaded, revision) =
            load(&self.client, &self.prefix, &self.url, &self.identity).await?;
        self.watch = Some(Watch::start(self.client.clone(), live(&self.prefix), revision));
        self.revision = revision;
        Ok(Box::new(loaded))
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn reader(&self) -> Reader {
        let (client, identity) = (self.client.clone(), self.identity.clone());
        Reader::new(client, self.prefix.clone(), self.url.clone(), identity)
    }

    /// Whether anybody wrote since the last that was heard.
    pub(super) async fn is_current(&mut self) -> Result<Written, NotWritten> {
        let question = pb::RangeRequest {
            key: head_key(&self.prefix).into(),
            keys_only: true,
            ..pb::RangeRequest::default()
        };
        let answer = self.client.range(question).await.map_err(|status| not_written(&status))?;
        let revision = answer.kvs.first().map_or(0, |head| head.mod_revision);
        Ok(if revision > self.revision { Written::Overtaken } else { Written::Done })
    }

    /// Writes what a group decided, if nobody wrote since it looked.
    pub(super) async fn commit(&mut self, group: &Group) -> Result<Written, NotWritten> {
        let head_key = head_key(&self.prefix);
        let head = HeadDocument {
            format: FORMAT,
            cluster_id: self.cluster_id.clone(),
            last_index: group.batch.last_index,
            timeline_seq: group.head.seq,
            timeline_hash: group.head.hash_text(),
        };
        let mut ops = vec![put(head_key.clone(), &head)];
        for founding in group.changed.values() {
            let key = token_key(&self.prefix, &founding.path);
            ops.push(put(key, &TokenDocument::of(founding)));
        }
        for path in group.forgotten.iter().filter(|path| !group.changed.contains_key(path)) {
            ops.push(delete(token_key(&self.prefix, path)));
        }
        if let Some(first) = group.batch.timeline.first() {
            ops.push(put(reader::block_key(&self.prefix, first.seq), &group.batch.timeline));
        }
        let answer = self
            .client
            .txn(pb::TxnRequest {
                compare: vec![unchanged_since(head_key, self.revision)],
                success: ops,
                failure: Vec::new(),
            })
            .await
            .map_err(|status| not_written(&status))?;
        if !answer.succeeded {
            return Ok(Written::Overtaken);
        }
        self.revision = answer.header.map_or(self.revision, |header| header.revision);
        Ok(Written::Done)
    }

    /// What others wrote, next in order, and whether the store is there at all. Can be given up at any
    /// point without losing anything.
    pub(super) async fn hear(&mut self) -> Result<Heard, OpenError> {
        loop {
            let Self { client, prefix, watch, probe, .. } = self;
            let Some(watch) = watch else { return self.read_again().await };
            let sign = tokio::select! {
                news = watch.next() => Sign::News(news),
                answer = probe.head(client, prefix) => Sign::Probed(answer),
            };
            match sign {
                Sign::News(News::Events(events)) => {
                    return self.understand(events).map(Heard::News);
                }
                Sign::News(News::Compacted) => self.watch = None,
                Sign::Probed(Ok(answer)) => return self.recognize(&answer),
                Sign::Probed(Err(status)) => return Ok(silent(&status)),
            }
        }
    }

    async fn read_again(&mut self) -> Result<Heard, OpenError> {
        self.probe.turn().await;
        let read = self.reload().await;
        self.probe.met(read.is_ok());
        match read {
            Ok(loaded) => Ok(Heard::Reloaded(loaded)),
            Err(OpenError::Store { status, .. }) => Ok(silent(&status)),
            Err(damage) => Err(damage),
        }
    }

    /// Makes sure that the store that answers is still the same one.
    fn recognize(&mut self, answer: &pb::RangeResponse) -> Result<Heard, OpenError> {
        let Some(head) = answer.kvs.first() else {
            self.identity.check(None)?;
            return Err(self.damaged("the head was deleted".to_owned()));
        };
        self.identity.check(Some(&parse_head(&self.url, &head.value)?.cluster_id))?;
        if head.mod_revision < self.revision {
            warn!(store = self.url, "the store was set back, everything is read again");
            self.watch = None;
        }
        Ok(Heard::Answer)
    }

    /// What whoever overtook a write has written, which is there already.
    pub(super) async fn hear_soon(&mut self) -> Result<Heard, OpenError> {
        let hearing = async {
            loop {
                match self.hear().await {
                    Ok(Heard::Answer | Heard::Silence { .. }) => {}
                    heard => return heard,
                }
            }
        };
        if let Ok(heard) = tokio::time::timeout(HEARING, hearing).await {
            return heard;
        }
        warn!(store = self.url, "the watch is behind, everything is read again");
        self.watch = None;
        self.reload().await.map(Heard::Reloaded)
    }

    fn understand(&mut self, events: Vec<mvccpb::Event>) -> Result<Shown, OpenError> {
        let mut shown = Shown::default();
        let tokens = token_prefix(&self.prefix);
        let head_key = head_key(&self.prefix);
        let shown_already = self.revision;
        for event in events {
            let is_delete = event.r#type() == EventType::Delete;
            let Some(kv) = event.kv else { continue };
            // Our own writes come back, and are older than what we show by then.
            if kv.mod_revision <= shown_already {
                continue;
            }
            self.revision = self.revision.max(kv.mod_revision);
            let key = String::from_utf8_lossy(&kv.key).into_owned();
            if key == head_key {
                if is_delete {
                    return Err(self.damaged("the head was deleted".to_owned()));
                }
                let head = parse_head(&self.url, &kv.value)?;
                self.identity.check(Some(&head.cluster_id))?;
                let hash = Head::stored(head.timeline_seq, &head.timeline_hash);
                shown.head = hash.map(|hash| (head.last_index, hash));
            } else if let Some(path) = key.strip_prefix(&tokens) {
                let path = TokenPath::stored(format!("/{path}"));
                if is_delete {
                    shown.changed.remove(&path);
                    shown.forgotten.push(path);
                } else {
                    let founding = parse_token(&self.url, &key, &kv.value)?;
                    shown.changed.insert(path, Arc::new(founding));
                }
            }
        }
        shown.forgotten.retain(|path| !shown.changed.contains_key(path));
        Ok(shown)
    }

    fn damaged(&self, finding: String) -> OpenError {
        OpenError::StoreDamaged { url: self.url.clone(), finding }
    }
}

fn silent(status: &Status) -> Heard {
    Heard::Silence { why: status.message().to_owned() }
}

/// Makes the head of an empty registry, unless there is one.
async fn found(client: &Client, prefix: &str) -> Result<(), Status> {
    let head = HeadDocument {
        format: FORMAT,
        cluster_id: format!("{:016x}", rand::rng().random::<u64>()),
        // As the registry in SQLite: indexes begin where those of a new etcd do.
        last_index: 3,
        timeline_seq: Head::START.seq,
        timeline_hash: Head::START.hash_text(),
    };
    let absent = pb::Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: head_key(prefix).into(),
        target_union: Some(TargetUnion::CreateRevision(0)),
        ..pb::Compare::default()
    };
    let question = pb::TxnRequest {
        compare: vec![absent],
        success: vec![put(head_key(prefix), &head)],
        failure: Vec::new(),
    };
    client.txn(question).await.map(drop)
}

async fn load(
    client: &Client,
    prefix: &str,
    url: &str,
    identity: &Identity,
) -> Result<(Loaded, i64), OpenError> {
    let failed = |status| OpenError::Store { url: url.to_owned(), status: Box::new(status) };
    let damaged = |finding: String| OpenError::StoreDamaged { url: url.to_owned(), finding };
    let (_, kvs) = client.list(&live(prefix), 0).await.map_err(failed)?;
    let tokens = token_prefix(prefix);
    let head_key = head_key(prefix);
    let (mut found, mut head) = (Tokens::default(), None);
    for kv in kvs {
        let key = String::from_utf8_lossy(&kv.key).into_owned();
        if key == head_key {
            let document = parse_head(url, &kv.value)?;
            identity.check(Some(&document.cluster_id))?;
            head = Some((document, kv.mod_revision));
        } else if key.starts_with(&tokens) {
            let founding = parse_token(url, &key, &kv.value)?;
            found.store(&founding);
        }
    }
    let Some((document, revision)) = head else {
        identity.check(None)?;
        return Err(damaged("it has no head".to_owned()));
    };
    let head = Head::stored(document.timeline_seq, &document.timeline_hash)
        .ok_or_else(|| damaged("the end of the timeline is no hash".to_owned()))?;
    let (last_index, cluster_id) = (document.last_index, document.cluster_id);
    Ok((Loaded { tokens: found, last_index, cluster_id, head }, revision))
}

/// What a failed request means for the commands it was made for.
fn not_written(status: &Status) -> NotWritten {
    let why = status.message().to_owned();
    match status.code() {
        Code::ResourceExhausted if why.contains("database space exceeded") => {
            NotWritten::Full { why }
        }
        Code::InvalidArgument
            if why.contains("too large") || why.contains("too many operations") =>
        {
            NotWritten::TooLarge
        }
        _ => NotWritten::Unavailable { why },
    }
}

fn parse_head(url: &str, value: &[u8]) -> Result<HeadDocument, OpenError> {
    let head: HeadDocument = serde_json::from_slice(value).map_err(|error| {
        OpenError::StoreDamaged { url: url.to_owned(), finding: format!("its head: {error}") }
    })?;
    if head.format > FORMAT {
        return Err(OpenError::StoreNewer { url: url.to_owned(), format: head.format });
    }
    Ok(head)
}

fn parse_token(url: &str, key: &str, value: &[u8]) -> Result<Founding, OpenError> {
    let document: Result<TokenDocument, _> = serde_json::from_slice(value);
    document.ok().and_then(TokenDocument::founding).ok_or_else(|| {
        let id = TokenPath::stored(key.to_owned()).public_id().to_string();
        let finding = format!("the document of a token (key hash {id}) makes no sense");
        OpenError::StoreDamaged { url: url.to_owned(), finding }
    })
}

fn live(prefix: &str) -> String {
    format!("{prefix}/live/")
}

fn head_key(prefix: &str) -> String {
    format!("{prefix}/live/head")
}

fn token_prefix(prefix: &str) -> String {
    format!("{prefix}/live/token/")
}

fn token_key(prefix: &str, path: &TokenPath) -> String {
    format!("{prefix}/live/token{}", path.as_str())
}

fn put(key: String, document: &impl serde::Serialize) -> pb::RequestOp {
    let value = serde_json::to_vec(document).expect("documents have string keys only");
    let put = pb::PutRequest { key: key.into(), value: value.into(), ..pb::PutRequest::default() };
    pb::RequestOp { request: Some(Op::RequestPut(put)) }
}

fn delete(key: String) -> pb::RequestOp {
    let delete = pb::DeleteRangeRequest { key: key.into(), ..pb::DeleteRangeRequest::default() };
    pb::RequestOp { request: Some(Op::RequestDeleteRange(delete)) }
}

fn unchanged_since(key: String, revision: i64) -> pb::Compare {
    pb::Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.into(),
        target_union: Some(TargetUnion::ModRevision(revision)),
        ..pb::Compare::default()
    }
}
