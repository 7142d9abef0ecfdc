use std::fmt::Write as _;
use std::net::SocketAddr;

use clap::Args;
use serde::Serialize;

use crate::cli::output::{self, Format};
use crate::cli::{Failure, running};
use crate::discovery::SrvRequest;
use crate::discovery::srv::{Release, Survey, SurveyedService, replay, resolver_address};

/// Which domain to look at.
#[derive(Debug, Args)]
pub(in crate::cli) struct Lookup {
    /// Domain as --discovery-srv has it
    #[arg(value_name = "DOMAIN")]
    domain: String,
    /// Suffix of the service names, as etcd's flag has it
    #[arg(long, value_name = "NAME", default_value = "", env = "ETCD_DISCOVERY_SRV_NAME")]
    discovery_srv_name: String,
    /// DNS server to ask instead of those of the system, IP or IP:port
    #[arg(long, value_name = "ADDR", value_parser = resolver_address)]
    resolver: Option<SocketAddr>,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// What DNS says about a cluster.
#[derive(Debug, Serialize)]
struct Listing {
    domain: String,
    services: Vec<Shown>,
    /// As etcd 3.5 and later read it, with numbers for names.
    initial_cluster: Option<String>,
    endpoints: Vec<String>,
}

/// One service and its targets.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Shown {
    pub(in crate::cli) service: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) error: Option<String>,
    pub(in crate::cli) targets: Vec<ShownTarget>,
}

#[derive(Debug, Serialize)]
pub(in crate::cli) struct ShownTarget {
    pub(in crate::cli) priority: u16,
    pub(in crate::cli) weight: u16,
    pub(in crate::cli) port: u16,
    pub(in crate::cli) target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) error: Option<String>,
    pub(in crate::cli) addresses: Vec<String>,
}

impl Lookup {
    /// Asks and prints; fails if there is nothing to print.
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let way = SrvRequest {
            domain: self.domain.clone(),
            suffix: self.discovery_srv_name.clone(),
            resolver: self.resolver,
        };
        let survey = Survey::take(&way, &[]).await.map_err(running)?;
        let listing = Listing {
            domain: survey.domain.clone(),
            services: survey.servers.iter().chain(&survey.others).map(Shown::of).collect(),
            initial_cluster: replay(&survey, None, Release::V35).ok().map(|list| list.to_string()),
            endpoints: survey.others.iter().flat_map(endpoints).collect(),
        };
        output::print(&match self.output {
            Format::Text => listing.text(),
            Format::Json => output::json(&listing),
        })?;
        if listing.services.iter().all(|service| service.targets.is_empty()) {
            return Err(running(format!("`{}` lists no members and no endpoints", listing.domain)));
        }
        Ok(())
    }
}

fn endpoints(service: &SurveyedService) -> Vec<String> {
    let scheme = if service.label.starts_with("etcd-client-ssl") { "https" } else { "http" };
    let client = service.label.starts_with("etcd-client");
    let targets = service.targets.iter().flatten().filter(|_| client);
    targets.map(|target| format!("{scheme}://{}:{}", target.host, target.port)).collect()
}

impl Shown {
    pub(in crate::cli) fn of(service: &SurveyedService) -> Self {
        let targets = service.targets.iter().flatten();
        let targets = targets.map(|target| ShownTarget {
            priority: target.priority,
            weight: target.weight,
            port: target.port,
            target: target.host.clone(),
            error: target.addresses.as_ref().err().cloned(),
            addresses: target.addresses.iter().flatten().map(ToString::to_string).collect(),
        });
        Self {
            service: service.owner.clone(),
            error: service.targets.as_ref().err().cloned(),
            targets: targets.collect(),
        }
    }
}

/// The services with a line for each target.
pub(in crate::cli) fn table(services: &[Shown]) -> String {
    let mut text = String::new();
    for shown in services {
        let line = match &shown.error {
            Some(error) => format!("{}: none ({error})\n", shown.service),
            None => format!("{}\n", shown.service),
        };
        text.push_str(&line);
        for it in &shown.targets {
            let ShownTarget { priority, weight, port, target, .. } = it;
            let leads = match &it.error {
                Some(error) => format!("no address ({error})"),
                None => it.addresses.join(", "),
            };
            writeln!(text, "  {priority:>5} {weight:>5} {port:>5}  {target}  {leads}")
                .expect("a string takes everything");
        }
    }
    text
}

impl Listing {
    fn text(&self) -> String {
        let mut text = String::from("priority, weight, port, target, addresses\n\n");
        text.push_str(&table(&self.services));
        if let Some(list) = &self.initial_cluster {
            text.push_str(&format!("\n--initial-cluster {list}\n"));
        }
        if !self.endpoints.is_empty() {
            text.push_str(&format!("--endpoints {}\n", self.endpoints.join(",")));
        }
        text
    }
}
