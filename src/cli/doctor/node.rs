use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::net::TcpStream;

use super::cluster::{self, Seen};
use super::silent::told;
use super::{clock, stopped};
use crate::cli::members::{Endpoints, Silence};
use crate::cli::node::authority;
use crate::cli::output::Format;
use crate::cli::service::client_builder;
use crate::cli::steps::{Steps, Stop};
use crate::cli::{Failure, running};
use crate::membership::PeerUrl;
use crate::proto::etcdserverpb::Member;
use crate::transport::tls::{Pair, TlsClient};

/// How long a port may take.
const DIAL: Duration = Duration::from_secs(2);
/// How long a member may take to find out whether it is well: as long as a request.
const HEALTH: Duration = Duration::from_secs(7);

/// Where the members are, or the directory of one that does not run.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 no step fails, 1 one does, 2 wrong flags.")]
pub(in crate::cli) struct NodeCheck {
    #[command(flatten)]
    cluster: Endpoints,
    /// Look at the data directory of a stopped etcd or quorate-node, and ask nobody
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Its log, if that is on another disk
    #[arg(long, value_name = "DIR", requires = "data_dir")]
    wal_dir: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

impl NodeCheck {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let mut steps = Steps::new(self.output);
        let outcome = match &self.data_dir {
            Some(dir) => stopped::look(&mut steps, dir, self.wal_dir.as_deref()),
            None => self.live(&mut steps).await,
        };
        steps.end(outcome)
    }

    async fn live(&self, steps: &mut Steps) -> Result<(), Stop> {
        let tls = self.cluster.tls()?;
        let mut seen: Vec<Seen> = Vec::new();
        for endpoint in &self.cluster.endpoints {
            match self.ask(endpoint, tls.as_ref()).await {
                Ok(found) => seen.push(found),
                Err(silence) => {
                    let (what, cure) = told(&self.cluster, endpoint, &silence).await;
                    steps.fail(endpoint, what, cure);
                }
            }
        }
        let members = seen.first().map(|first| first.members.clone()).unwrap_or_default();
        let mut silent = Vec::new();
        for member in members.iter().filter(|member| !member.client_ur_ls.is_empty()) {
            if seen.iter().any(|seen| seen.id() == member.id) {
                continue;
            }
            match self.ask_member(member, tls.as_ref()).await {
                Ok(found) => seen.push(found),
                Err(silence) => silent.push((member, silence)),
            }
        }
        let http = self.http()?;
        for seen in &seen {
            cluster::describe(steps, seen);
            health(steps, &http, seen).await;
        }
        for (member, silence) in &silent {
            unreached(steps, member, silence).await;
        }
        if !seen.is_empty() {
            let names: Vec<&str> = silent.iter().map(|(member, _)| member.name.as_str()).collect();
            cluster::judge(steps, &seen, &names, self.cluster.endpoints.join(",").as_str());
        }
        Ok(())
    }

    async fn ask(&self, endpoint: &str, tls: Option<&TlsClient>) -> Result<Seen, Silence> {
        let member = self.cluster.reach(endpoint, tls).await?;
        let status = member.status().await?;
        let members = member.members().await?.members;
        // Without a leader nobody can tell; the status has them too.
        let alarms = member.alarms().await.map(|answer| answer.alarms).unwrap_or_default();
        Ok(Seen { endpoint: self.cluster.url(endpoint), status, members, alarms })
    }

    /// Asks a member at the first of its client URLs that answers.
    async fn ask_member(&self, member: &Member, tls: Option<&TlsClient>) -> Result<Seen, Silence> {
        let mut silence = Silence::Address("it advertises no client URL".to_owned());
        for url in &member.client_ur_ls {
            match self.ask(url, tls).await {
                Ok(found) => return Ok(found),
                Err(error) => silence = error,
            }
        }
        Err(silence)
    }

    fn http(&self) -> Result<Client, Failure> {
        let pair = self.cluster.cert.clone().zip(self.cluster.key.clone());
        let pair = pair.map(|(cert, key)| Pair { cert, key });
        let client = client_builder(self.cluster.cacert.as_deref(), pair);
        let client = client.map_err(|error| Failure::Configuration(error.into()))?;
        client.timeout(HEALTH).build().map_err(running)
    }
}

/// What a member says of itself, and what its clock says.
async fn health(steps: &mut Steps, http: &Client, seen: &Seen) {
    let name = format!("health of {}", seen.name());
    let Ok(answer) = http.get(format!("{}/health", seen.endpoint)).send().await else {
        let what = format!("{}/health is not answered", seen.endpoint);
        let cure = "it answers when the leader does: see the steps below; or clients speak gRPC only there";
        return steps.warn(&name, what, cure);
    };
    clock::compare(steps, &format!("clock of {}", seen.name()), &answer);
    match reason(answer).await {
        None => steps.ok(&name, "a read through consensus succeeds"),
        Some(reason) => steps.fail(
            &name,
            format!("it says that it is not well: {reason}"),
            "see the steps below for the cause, and the log of the member",
        ),
    }
}

/// Why a member is not well; `None` if it is.
async fn reason(answer: Response) -> Option<String> {
    let status = answer.status();
    let json: Value =
        serde_json::from_str(&answer.text().await.unwrap_or_default()).unwrap_or_default();
    match (json["health"].as_str(), json["reason"].as_str()) {
        (Some("true"), _) => None,
        (_, Some(reason)) if !reason.is_empty() => Some(reason.to_owned()),
        _ => Some(format!("HTTP {status}")),
    }
}

/// Whether the others would reach a member that clients do not.
async fn unreached(steps: &mut Steps, member: &Member, silence: &Silence) {
    let mut open = BTreeSet::new();
    let mut closed = BTreeSet::new();
    for url in member.peer_ur_ls.iter().filter_map(|text| PeerUrl::parse(text).ok()) {
        let dialed = tokio::time::timeout(DIAL, TcpStream::connect(authority(&url))).await;
        match dialed {
            Ok(Ok(_)) => open.insert(url.to_string()),
            _ => closed.insert(url.to_string()),
        };
    }
    let name = format!("member {}", member.name);
    let list = |urls: BTreeSet<String>| urls.into_iter().collect::<Vec<_>>().join(",");
    let what =
        format!("{} at {}: {silence}", cluster::id(member.id), member.client_ur_ls.join(","));
    if open.is_empty() {
        let what = format!("{what}; nor can its peer port be reached, {}", list(closed));
        steps.fail(
            &name,
            what,
            "start it, or mend the way to it; if it is lost, `etcdctl member remove` it",
        );
    } else {
        let what = format!("{what}; its peer port can, {}", list(open));
        steps.warn(
            &name,
            what,
            "compare --advertise-client-urls of the member with where it listens",
        );
    }
}
