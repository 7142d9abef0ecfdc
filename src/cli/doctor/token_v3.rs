use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};

use super::handshake::is_tls_spoken;
use super::registered::{Held, Own, foreign_ids, judge, slot, will_have};
use crate::admission::{Door, Protocol};
use crate::cli::members::deepest;
use crate::cli::steps::{Steps, Stop, sick};
use crate::cli::{running, service};
use crate::proto::etcdserverpb::RangeRequest;
use crate::proto::etcdserverpb::kv_client::KvClient;
use crate::proto::mvccpb::KeyValue;
use crate::token::TokenPath;
use crate::transport::connect;
use crate::transport::tls::{ClientOptions, TlsClient};

/// etcd's `--discovery-dial-timeout` and `--discovery-request-timeout`, unless it is given others.
const DIAL: Duration = Duration::from_secs(2);
const REQUEST: Duration = Duration::from_secs(5);

/// Plays a start with a bare token through, up to the registration; nothing is written.
pub(super) async fn replay(
    steps: &mut Steps,
    token: &str,
    endpoints: &[String],
    ca: Option<&Path>,
    own: Option<&Own>,
) -> Result<(), Stop> {
    spelling(token)?;
    let mut store = Store::reach(steps, endpoints, ca).await?;
    let root = format!("/_etcd/registry/{token}");
    let size = size(&store.read(format!("{root}/_config/size"), String::new()).await?)?;
    steps.ok("size", will_have(size));
    let held = |kv: KeyValue| -> Held {
        let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
        let key = text(kv.key);
        (key.rsplit('/').next().unwrap_or_default().to_owned(), text(kv.value))
    };
    // The first by create revision are the founders.
    let mut members = store.read(format!("{root}/members/"), format!("{root}/members0")).await?;
    members.sort_by_key(|kv| kv.create_revision);
    let members: Vec<Held> = members.into_iter().map(held).collect();
    foreign_ids(steps, "token", token, &members)?;
    slot(steps, size, &members, own)?;
    let Some(own) = own else {
        steps.open("member id", "give --name and --initial-advertise-peer-urls to judge those too");
        return Ok(());
    };
    steps.ok("member id", format!("{} registers as {}", own.value, own.id));
    let door = Door { protocol: Protocol::V3, ..Door::default() };
    judge(own, size, &members, &TokenPath::stored(format!("/{token}")), &door)?;
    steps.ok("registration", "the rules of the service let it in");
    Ok(())
}

fn spelling(token: &str) -> Result<(), Stop> {
    if token.is_empty() || token.contains("://") || token.contains('/') {
        let cure = "give the last part of what /new printed; URLs are for --discovery";
        return Err(sick("spelling", format!("`{token}` is no bare token"), cure));
    }
    Ok(())
}

fn size(found: &[KeyValue]) -> Result<u64, Stop> {
    const STEP: &str = "size";
    let Some(kv) = found.first() else {
        let cure = "the token is mistyped, expired, revoked or of another service: make a new one \
                    with /new, or put the size with etcdctl";
        return Err(sick(STEP, "the token has no size", cure));
    };
    let text = String::from_utf8_lossy(&kv.value).into_owned();
    let size = text.parse().ok().filter(|size| *size > 0);
    let cure = "put a number from 1 on at the key that ends in /_config/size, with a new token";
    size.ok_or_else(|| sick(STEP, format!("the size is `{text}`"), cure))
}

/// The first endpoint that answers.
struct Store {
    client: KvClient<Channel>,
    uri: Uri,
    /// As it was typed.
    endpoint: String,
}

impl Store {
    async fn reach(
        steps: &mut Steps,
        endpoints: &[String],
        ca: Option<&Path>,
    ) -> Result<Self, Stop> {
        const STEP: &str = "reachable";
        let secure = ca.is_some() || endpoints.iter().any(|text| text.starts_with("https://"));
        let options = || ClientOptions { ca: ca.map(Path::to_owned), ..ClientOptions::default() };
        let tls = secure.then(|| TlsClient::load(options())).transpose().map_err(running)?;
        let mut reached = None;
        let mut silent = Vec::new();
        for text in endpoints {
            let scheme = if ca.is_some() { "https" } else { "http" };
            let url =
                if text.contains("://") { text.clone() } else { format!("{scheme}://{text}") };
            let endpoint = Endpoint::from_shared(url).map_err(|error| {
                let cure = "write host:port, as etcd has it in --discovery-endpoints";
                sick(STEP, format!("`{text}`: {error}"), cure)
            })?;
            let uri = endpoint.uri().clone();
            let began = Instant::now();
            match connect(&endpoint.connect_timeout(DIAL), tls.as_ref()).await {
                Ok(channel) => {
                    let took = began.elapsed().as_millis();
                    steps.ok(STEP, format!("{text} took the connection in {took} ms"));
                    let store =
                        Self { client: KvClient::new(channel), uri, endpoint: text.clone() };
                    reached.get_or_insert(store);
                }
                Err(error) => silent.push(format!("{text}: {}", deepest(&error))),
            }
        }
        let reasons = silent.join("; ");
        let cure = match reasons.contains("tls: ") {
            true => service::cure(&reasons),
            false => "check host, port and firewalls; is the service running?",
        };
        reached.ok_or_else(|| sick(STEP, reasons, cure))
    }

    async fn read(&mut self, key: String, range_end: String) -> Result<Vec<KeyValue>, Stop> {
        let request = RangeRequest {
            key: key.into(),
            range_end: range_end.into(),
            ..RangeRequest::default()
        };
        let answer = tokio::time::timeout(REQUEST, self.client.range(request)).await;
        let slow = |_| Status::deadline_exceeded("no answer within 5 s, which ends etcd");
        let answer = answer.map_err(slow).and_then(|answer| answer);
        match answer {
            Ok(answer) => Ok(answer.into_inner().kvs),
            Err(status) => Err(self.unreadable(&status).await),
        }
    }

    async fn unreadable(&self, status: &Status) -> Stop {
        const STEP: &str = "readable";
        let (host, port) = (self.uri.host().unwrap_or_default(), self.uri.port_u16());
        let in_clear = self.uri.scheme_str() == Some("http");
        let broken = std::error::Error::source(status).map(deepest);
        if broken.is_some() && in_clear && is_tls_spoken(host, port.unwrap_or(80)).await {
            let what = format!("{}: the port speaks TLS", self.endpoint);
            let cure =
                "write https:// before host and port, and name its authority with --cacert FILE";
            return sick(STEP, what, cure);
        }
        let reason = broken.unwrap_or_else(|| status.message().to_owned());
        let cure = "the endpoint has to be `quorate serve` or an etcd v3 store; one with users \
                    wants --discovery-user of the node, which this does not try";
        sick(STEP, format!("{}: {reason}", self.endpoint), cure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_no_bare_tokens() {
        assert!(spelling("6c007a14875d53d9bf0ef5a6fc0257c8").is_ok());
        for wrong in ["", "http://h:1/6c007a14875d53d9bf0ef5a6fc0257c8", "/6c007a14875d53d9"] {
            assert!(spelling(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_size_is_a_number_from_1_on() {
        let kv = |text: &str| KeyValue { value: text.to_owned().into(), ..KeyValue::default() };
        assert_eq!(size(&[kv("3")]).ok(), Some(3));
        for wrong in [vec![], vec![kv("0")], vec![kv("three")]] {
            assert!(size(&wrong).is_err());
        }
    }
}
