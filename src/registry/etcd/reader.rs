use tonic::Status;

use super::client::Client;
use super::identity::Identity;
use super::{head_key, load, parse_head};
use crate::proto::etcdserverpb as pb;
use crate::proto::mvccpb;
use crate::registry::timeline::{Broken, Entry, Head, Row, Verified};
use crate::registry::{OpenError, VerifyError};
use crate::token::PublicId;

/// The block of entries whose first one has this number; the digits keep them in order.
pub(super) fn block_key(prefix: &str, seq: u64) -> String {
    format!("{prefix}/timeline/{seq:020}")
}

/// Reads what is not in memory, beside the writer.
#[derive(Debug)]
pub(in crate::registry) struct Reader {
    client: Client,
    prefix: String,
    url: String,
    identity: Identity,
}

impl Reader {
    pub(super) fn new(client: Client, prefix: String, url: String, identity: Identity) -> Self {
        Self { client, prefix, url, identity }
    }

    pub(in crate::registry) fn url(&self) -> &str {
        &self.url
    }

    pub(in crate::registry) async fn timeline(
        &self,
        of: Option<&PublicId>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, VerifyError> {
        let mut found = Vec::new();
        let mut blocks = Blocks::after(&self.prefix, after);
        while let Some(rows) = blocks.next(&self.client).await? {
            for row in rows {
                if row.seq <= after || of.is_some_and(|id| row.token != id.as_str()) {
                    continue;
                }
                let entry = serde_json::from_str(&row.body).map_err(|error| Broken {
                    seq: row.seq,
                    what: format!("its text is no entry: {error}"),
                })?;
                found.push(entry);
                if found.len() == limit {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Follows the chain to the end that is stored now; what is written meanwhile may be longer.
    pub(in crate::registry) async fn verify(&self) -> Result<Verified, VerifyError> {
        let question =
            pb::RangeRequest { key: head_key(&self.prefix).into(), ..pb::RangeRequest::default() };
        let answer = self.client.range(question).await.map_err(store)?;
        let value = answer.kvs.first().map(|kv| kv.value.clone()).unwrap_or_default();
        let end = parse_head(&self.url, &value).map_err(VerifyError::Head)?;
        let mut head = Head::START;
        let mut blocks = Blocks::after(&self.prefix, 0);
        while head.seq < end.timeline_seq
            && let Some(rows) = blocks.next(&self.client).await?
        {
            for row in rows {
                if head.seq < end.timeline_seq {
                    head.follow(&row)?;
                }
            }
        }
        head.ends_at(end.timeline_seq, &end.timeline_hash)?;
        Ok(Verified { entries: head.seq, head: head.hash_text() })
    }

    /// Reads all documents and looks for damage.
    pub(in crate::registry) async fn check(&self) -> Result<(), OpenError> {
        load(&self.client, &self.prefix, &self.url, &self.identity).await.map(drop)
    }
}

fn store(status: Status) -> VerifyError {
    VerifyError::Store(Box::new(status))
}

/// Reads the timeline a page at a time.
struct Blocks {
    next: Option<Vec<u8>>,
    end: Vec<u8>,
}

/// How many blocks are read at once.
const PAGE: i64 = 256;

impl Blocks {
    /// Begins with a block that may hold the entry after `seq`: blocks are short.
    fn after(prefix: &str, seq: u64) -> Self {
        let first = seq.saturating_sub(LONGEST);
        Self {
            next: Some(block_key(prefix, first).into()),
            end: format!("{prefix}/timeline0").into(),
        }
    }

    async fn next(&mut self, client: &Client) -> Result<Option<Vec<Row>>, VerifyError> {
        let Some(key) = self.next.take() else { return Ok(None) };
        let question = pb::RangeRequest {
            key: key.into(),
            range_end: self.end.clone().into(),
            limit: PAGE,
            ..pb::RangeRequest::default()
        };
        let answer = client.range(question).await.map_err(store)?;
        let Some(last) = answer.kvs.last() else { return Ok(None) };
        if answer.more {
            self.next = Some([&last.key[..], &[0]].concat());
        }
        let mut rows = Vec::new();
        for kv in &answer.kvs {
            rows.extend(parse_block(kv)?);
        }
        Ok(Some(rows))
    }
}

/// More entries than any block holds.
const LONGEST: u64 = 1024;

fn parse_block(kv: &mvccpb::KeyValue) -> Result<Vec<Row>, Broken> {
    serde_json::from_slice(&kv.value).map_err(|error| {
        let key = String::from_utf8_lossy(&kv.key);
        let seq = key.rsplit('/').next().and_then(|digits| digits.parse().ok()).unwrap_or_default();
        Broken { seq, what: format!("its block is no list of entries: {error}") }
    })
}
