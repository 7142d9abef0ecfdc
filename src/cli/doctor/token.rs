use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use reqwest::{Client, Response, Url, header};
use serde_json::Value;

use super::node_flags::{OTHERS, OtherFlags};
use super::registered::{Held, Own, foreign_ids, judge, slot, will_have};
use super::{clock, token_v3};
use crate::admission::{Door, Limits};
use crate::cli::explain::codes_in;
use crate::cli::output::Format;
use crate::cli::service::{client_builder, misunderstanding};
use crate::cli::steps::{Steps, Stop, sick};
use crate::cli::{Failure, running};
use crate::membership::InitialCluster;
use crate::token::{Token, TokenPath};

/// etcd gives up on a service that takes longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A member that nobody has, for asking whether the service would take one; short enough for all limits.
const MADE_UP: &str = "d=http://d.invalid:1";
/// The service that is asked has limits of its own.
const UNLIMITED: Limits = Limits {
    value_bytes: usize::MAX,
    name_bytes: usize::MAX,
    urls: usize::MAX,
    surplus: usize::MAX,
};

/// The flags of a node that concern discovery.
#[derive(Debug, Args)]
#[command(after_help = OTHERS)]
pub(in crate::cli) struct TokenStart {
    /// The discovery URL, as the node has it
    #[arg(value_name = "URL", required_unless_present_any = ["discovery", "discovery_token"])]
    url: Option<String>,
    /// The same, by etcd's flag
    #[arg(long, value_name = "URL", conflicts_with = "url", env = "ETCD_DISCOVERY")]
    discovery: Option<String>,
    /// The bare token of a start with etcd 3.6's flags
    #[arg(
        long,
        value_name = "TOKEN",
        conflicts_with_all = ["url", "discovery"],
        requires = "discovery_endpoints",
        env = "ETCD_DISCOVERY_TOKEN"
    )]
    discovery_token: Option<String>,
    /// Where such a start asks
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        requires = "discovery_token",
        env = "ETCD_DISCOVERY_ENDPOINTS"
    )]
    discovery_endpoints: Vec<String>,
    /// The node's name
    #[arg(long, value_name = "NAME", env = "ETCD_NAME")]
    name: Option<String>,
    /// The node's peer URLs
    #[arg(long, value_name = "URLS", requires = "name", env = "ETCD_INITIAL_ADVERTISE_PEER_URLS")]
    initial_advertise_peer_urls: Option<String>,
    /// Authority of an https:// service, PEM; those of the system without it
    #[arg(long, visible_alias = "discovery-cacert", value_name = "FILE", env = "QUORATE_CACERT")]
    cacert: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
    #[command(flatten)]
    others: OtherFlags,
}

impl TokenStart {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let mut steps = Steps::new(self.output);
        let outcome = self.replay(&mut steps).await;
        steps.end(outcome)
    }

    async fn replay(&self, steps: &mut Steps) -> Result<(), Stop> {
        if let Some(token) = &self.discovery_token {
            let own = self.own(token)?;
            let ca = self.cacert.as_deref();
            return token_v3::replay(steps, token, &self.discovery_endpoints, ca, own.as_ref())
                .await;
        }
        let typed = self.url.as_ref().or(self.discovery.as_ref()).cloned().unwrap_or_default();
        let url = spelling(&typed)?;
        let client = client_builder(self.cacert.as_deref(), None);
        let client = client.map_err(|error| Failure::Configuration(error.into()))?;
        let client = client.timeout(PATIENCE).build().map_err(running)?;
        let began = Instant::now();
        let answer = get(&client, &url, "/_config/size").await?;
        steps.ok("reachable", format!("answered in {} ms", began.elapsed().as_millis()));
        clock(steps, &answer)?;
        let size = size(answer).await?;
        steps.ok("size", will_have(size));
        let answer = get(&client, &url, "").await?;
        let members = members(answer).await?;
        foreign_ids(steps, "URL", &typed, &members)?;
        let own = self.own(&typed)?;
        slot(steps, size, &members, own.as_ref())?;
        let Some(own) = own else {
            let made_up = MADE_UP.parse().ok().and_then(|member| Own::of(&member, &typed));
            rehearse(&client, &url, &made_up.expect("it is a member list of one")).await?;
            let taken = "a made-up member with an id of this URL would be taken; give --name and \
                         --initial-advertise-peer-urls to try those of the node";
            steps.ok("registration", taken);
            return Ok(());
        };
        steps.ok("member id", format!("{} registers as {}", own.value, own.id));
        let prefix = typed.strip_suffix(url.path()).unwrap_or(&typed).to_owned();
        let door = Door { public_url: prefix, limits: UNLIMITED, ..Door::default() };
        judge(&own, size, &members, &TokenPath::stored(url.path().to_owned()), &door)?;
        // To ask about what is there would be to write it.
        if !own.is_among(&members) {
            rehearse(&client, &url, &own).await?;
        }
        steps.ok("registration", "the service would take it");
        Ok(())
    }

    /// What the node would register.
    fn own(&self, url: &str) -> Result<Option<Own>, Stop> {
        let (Some(name), Some(urls)) = (&self.name, &self.initial_advertise_peer_urls) else {
            return Ok(None);
        };
        if name.is_empty() {
            return Err(sick("member id", "the name is empty", "set --name"));
        }
        if let Some(split) = name.chars().find(|c| matches!(c, '=' | ',')) {
            let what =
                format!("the name `{name}` has a `{split}`, at which a member list is split");
            return Err(sick("member id", what, "change --name"));
        }
        let pairs: Vec<String> = urls.split(',').map(|url| format!("{name}={url}")).collect();
        let member: InitialCluster = pairs.join(",").parse().map_err(|error| {
            let cure = "correct --initial-advertise-peer-urls";
            sick("member id", format!("{error}"), cure)
        })?;
        let own = Own::of(&member, url);
        let own = own.ok_or_else(|| sick("member id", "there is no peer URL", "advertise one"))?;
        Ok(Some(own))
    }
}

fn spelling(typed: &str) -> Result<Url, Stop> {
    const STEP: &str = "spelling";
    let whole = "give the URL that /new printed, such as http://discovery.example:8087/TOKEN";
    if typed.parse::<Token>().is_ok() {
        let cure = "give the URL that /new printed, or --discovery-token and --discovery-endpoints";
        return Err(sick(STEP, format!("`{typed}` is a bare token and no URL"), cure));
    }
    let no_url =
        || sick(STEP, format!("`{typed}` is no URL: it starts with http:// or https://"), whole);
    let url = Url::parse(typed).map_err(|_reason| no_url())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(no_url());
    }
    if url.path().trim_matches('/').is_empty() {
        return Err(sick(STEP, format!("`{typed}` has no token"), whole));
    }
    let odd = typed.ends_with('/') || url.path().contains("//") || url.fragment().is_some();
    if odd || url.query().is_some() {
        let cure = "every byte of the URL enters the member ids: leave out slashes at the end, \
                    queries and fragments";
        return Err(sick(STEP, format!("`{typed}` is not what /new prints"), cure));
    }
    Ok(url)
}

async fn get(client: &Client, url: &Url, tail: &str) -> Result<Response, Stop> {
    let target = format!("{url}{tail}?quorum=false&recursive=false&sorted=false");
    client.get(target).send().await.map_err(|error| {
        if let Some((reason, cure)) = misunderstanding(&error) {
            return sick("reachable", reason, cure);
        }
        let what = if error.is_timeout() {
            "no answer within 5 s, which ends etcd".to_owned()
        } else {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            let host = url.host_str().unwrap_or_default();
            let port = url.port_or_known_default().unwrap_or_default();
            format!("{host}:{port} cannot be reached: {cause}")
        };
        let cure = match url.scheme() {
            "https" => {
                "check host, port and firewalls, whether the service speaks HTTPS there, and the \
                 authority of its certificate (--cacert FILE)"
            }
            _ => "check host, port and firewalls; is the service running?",
        };
        sick("reachable", what, cure)
    })
}

/// Compares this machine's clock with that of the service.
fn clock(steps: &mut Steps, answer: &Response) -> Result<(), Stop> {
    let Some(apart) = clock::apart(answer) else {
        steps.open("clock", "the service does not tell its time");
        return Ok(());
    };
    if apart > clock::APART {
        let what = format!("this machine and the service are {apart} s apart");
        return Err(sick("clock", what, "set the clocks, with NTP; certificates depend on them"));
    }
    steps.ok("clock", format!("{apart} s from that of the service"));
    Ok(())
}

/// The text of a refusal, and what to do: the cure of its code, if it has one.
async fn refused(step: &'static str, answer: Response, cure: &'static str) -> Stop {
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    let json: Value = serde_json::from_str(&text).unwrap_or_default();
    let what = match (json["message"].as_str(), json["cause"].as_str()) {
        (Some(message), Some(cause)) => format!("{message} ({cause})"),
        _ => format!("HTTP {status}"),
    };
    unwell(step, what, cure)
}

/// What the service refused says itself what to do, if it has the code of a rule; else its code does,
/// or the caller.
fn unwell(step: &'static str, what: impl Into<String>, cure: &'static str) -> Stop {
    let what = what.into();
    let cure = match codes_in(&what).next() {
        Some(code) if code.is_refusal() => "",
        Some(code) => code.cure,
        None => cure,
    };
    sick(step, what, cure)
}

async fn size(answer: Response) -> Result<u64, Stop> {
    const STEP: &str = "size";
    if !answer.status().is_success() {
        let cure = "the token is mistyped, expired, revoked or of another service: make a new one \
                    with /new";
        return Err(refused(STEP, answer, cure).await);
    }
    let json: Value =
        serde_json::from_str(&answer.text().await.unwrap_or_default()).unwrap_or_default();
    let size = json["node"]["value"].as_str().and_then(|size| size.parse().ok());
    let no_service = "this URL leads to something that is no discovery service: compare it with \
                      what /new printed";
    size.filter(|size| *size > 0).ok_or_else(|| sick(STEP, "there is no size", no_service))
}

async fn members(answer: Response) -> Result<Vec<Held>, Stop> {
    if !answer.status().is_success() {
        return Err(refused("directory", answer, "look at the log of the service").await);
    }
    let json: Value =
        serde_json::from_str(&answer.text().await.unwrap_or_default()).unwrap_or_default();
    let nodes = json["node"]["nodes"].as_array().cloned().unwrap_or_default();
    let held = |node: &Value| {
        let key = node["key"].as_str()?.rsplit('/').next()?;
        (key != "_config")
            .then(|| (key.to_owned(), node["value"].as_str().unwrap_or("").to_owned()))
    };
    Ok(nodes.iter().filter_map(held).collect())
}

/// Asks the service to overwrite what is not there: it checks everything and changes nothing.
async fn rehearse(client: &Client, url: &Url, own: &Own) -> Result<(), Stop> {
    let target = format!("{url}/{}?prevExist=true", own.id);
    let form: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("value", &own.value)
        .finish();
    let kind = "application/x-www-form-urlencoded";
    let request = client.put(target).header(header::CONTENT_TYPE, kind).body(form);
    let answer = request.send().await.map_err(running)?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    let json: Value = serde_json::from_str(&text).unwrap_or_default();
    let cause = json["cause"].as_str().unwrap_or_default();
    const LOG: &str = "look at the log of the service";
    match (status.as_u16(), codes_in(cause).next()) {
        (_, Some(_)) => Err(unwell("registration", cause, LOG)),
        (200..300 | 404, None) => Ok(()),
        (_, None) => Err(sick("registration", text.trim(), LOG)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The step that failed, what is wrong and the way out.
    fn told(stop: Stop) -> String {
        match stop {
            Stop::Sick { step, what, cure } => format!("{step}: {what}|{cure}"),
            Stop::Failure(failure) => panic!("{failure:?}"),
        }
    }

    #[derive(Debug, clap::Parser)]
    #[command(no_binary_name = true)]
    struct Typed {
        #[command(flatten)]
        start: TokenStart,
    }

    #[test]
    fn the_whole_command_line_of_a_node_is_taken() {
        use clap::Parser;
        let own = "--listen-peer-urls http://10.0.0.1:2380 --initial-advertise-peer-urls http://10.0.0.1:2380 \
                   --listen-client-urls http://10.0.0.1:2379 --advertise-client-urls http://10.0.0.1:2379 \
                   --data-dir d --pre-vote=false --discovery-fallback exit";
        for way in [
            "http://h:1/T",
            "--discovery http://h:1/T",
            "--discovery-token T --discovery-endpoints h:1 --discovery-cacert ca.pem",
        ] {
            let line = format!("{way} --name n1 {own}");
            let start = Typed::try_parse_from(line.split_whitespace()).unwrap().start;
            assert_eq!(start.name.as_deref(), Some("n1"));
            assert_eq!(start.initial_advertise_peer_urls.as_deref(), Some("http://10.0.0.1:2380"));
            assert_eq!(start.cacert.is_some(), way.contains("cacert"));
        }
        // What would change the answer is not passed over.
        for other in
            ["--config-file=f", "--initial-cluster=n1=http://h:1", "--discovery-srv=d", "--nmae=n"]
        {
            assert!(Typed::try_parse_from(["http://h:1/T", other]).is_err(), "{other}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_one_is_not_blamed_on_urls() {
        for (name, part) in [("a=b", "`a=b` has a `=`"), ("a,b", "`a,b` has a `,`"), ("", "empty")]
        {
            let start = TokenStart {
                url: None,
                discovery: None,
                discovery_token: None,
                discovery_endpoints: Vec::new(),
                name: Some(name.to_owned()),
                initial_advertise_peer_urls: Some("http://10.0.0.1:2380".to_owned()),
                cacert: None,
                output: Format::Text,
                others: OtherFlags,
            };
            let told = told(start.own("http://h:1/T").unwrap_err());
            assert!(told.contains(part) && told.contains("--name"), "{told}");
            assert!(!told.contains("--initial-advertise-peer-urls"), "{told}");
        }
    }

    #[test]
    fn advice_is_given_once() {
        let told = |what: &str| told(unwell("size", what, "make a new one"));
        let expired = "Q1002: this token has expired; make a new one with /new";
        assert_eq!(told(expired), format!("size: {expired}|"));
        let busy = told("Q1086: this token is asked for too often");
        assert!(busy.contains("|Nothing to do for nodes"), "{busy}");
        assert_eq!(told("Key not found (/T)"), "size: Key not found (/T)|make a new one");
    }

    #[test]
    fn odd_spellings_are_named() {
        assert!(spelling("http://h:1/6c007a14875d53d9bf0ef5a6fc0257c8").is_ok());
        for odd in [
            "h:1/T",
            "foo://h/T",
            "http://h",
            "http://h/",
            "http://h/T/",
            "http://h//T",
            "http://h/T?a=b",
            "http://h/T#x",
        ] {
            assert!(spelling(odd).is_err(), "{odd}");
        }
    }
}
