use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

use super::node_flags::{OTHERS, OtherFlags};
use crate::cli::dns::{Shown, table};
use crate::cli::output::{self, Format};
use crate::cli::steps::{Outcome, Record, Step};
use crate::cli::{Failure, running};
use crate::discovery::SrvRequest;
use crate::discovery::srv::{Member, Release, Survey, Symptom, diagnose, replay, resolver_address};
use crate::membership::PeerUrl;

/// The flags of the member that does not start.
#[derive(Debug, Args)]
#[command(after_help = OTHERS)]
pub(in crate::cli) struct Srv {
    /// Domain as --discovery-srv has it
    #[arg(value_name = "DOMAIN", required_unless_present = "discovery_srv")]
    domain: Option<String>,
    /// The same, by etcd's flag
    #[arg(long, value_name = "DOMAIN", conflicts_with = "domain", env = "ETCD_DISCOVERY_SRV")]
    discovery_srv: Option<String>,
    /// Suffix of the service names, as etcd's flag has it
    #[arg(long, value_name = "NAME", default_value = "", env = "ETCD_DISCOVERY_SRV_NAME")]
    discovery_srv_name: String,
    /// DNS server to ask instead of those of the system, IP or IP:port
    #[arg(
        long,
        visible_alias = "discovery-resolver",
        value_name = "ADDR",
        value_parser = resolver_address
    )]
    resolver: Option<SocketAddr>,
    /// Name of the member; it is looked for when its peer URLs are given too
    #[arg(long, value_name = "NAME", default_value = "default", env = "ETCD_NAME")]
    name: String,
    /// Its peer URLs, separated by commas
    #[arg(
        long,
        value_name = "URLS",
        value_delimiter = ',',
        env = "ETCD_INITIAL_ADVERTISE_PEER_URLS"
    )]
    initial_advertise_peer_urls: Vec<String>,
    /// What the ids are salted with
    #[arg(
        long,
        value_name = "TOKEN",
        default_value = "etcd-cluster",
        env = "ETCD_INITIAL_CLUSTER_TOKEN"
    )]
    initial_cluster_token: String,
    /// Its peer certificate, whose names are compared
    #[arg(long, value_name = "FILE", env = "ETCD_PEER_CERT_FILE")]
    peer_cert_file: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
    #[command(flatten)]
    others: OtherFlags,
}

/// What was found, as it is printed.
#[derive(Debug, Serialize)]
struct Report {
    domain: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<String>,
    own_addresses: Vec<String>,
    services: Vec<Shown>,
    findings: Vec<Finding>,
    verdicts: Vec<Verdict>,
    /// The same as those of the other checks.
    #[serde(flatten)]
    record: Record,
}

#[derive(Debug, Serialize)]
struct Finding {
    code: &'static str,
    text: String,
    advice: String,
}

/// What members of a release do.
#[derive(Debug, Serialize)]
struct Verdict {
    etcd: &'static str,
    starts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial_cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member_id: Option<String>,
}

impl Srv {
    /// Prints the table, the findings and the verdicts; fails if there are findings.
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let member = self.member()?;
        let tls_names = self.peer_cert_file.as_deref().map(dns_names).transpose()?;
        let domain = self.domain.as_ref().or(self.discovery_srv.as_ref());
        let way = SrvRequest {
            domain: domain.cloned().unwrap_or_default(),
            suffix: self.discovery_srv_name.clone(),
            resolver: self.resolver,
        };
        let urls = member.as_ref().map(|member| member.urls.as_slice()).unwrap_or_default();
        let survey = Survey::take(&way, urls).await.map_err(running)?;
        let symptoms = diagnose(&survey, member.as_ref(), tls_names.as_deref());
        let report = self.report(&survey, member.as_ref(), symptoms);
        output::print(&match self.output {
            Format::Text => report.text(),
            Format::Json => output::json(&report),
        })?;
        match report.findings.len() {
            0 => Ok(()),
            1 => Err(running("1 finding")),
            count => Err(running(format!("{count} findings"))),
        }
    }

    fn member(&self) -> Result<Option<Member>, Failure> {
        let mut urls = Vec::new();
        for text in &self.initial_advertise_peer_urls {
            urls.push(PeerUrl::parse(text).map_err(|error| {
                let text = format!("--initial-advertise-peer-urls: {error}");
                Failure::Configuration(text.into())
            })?);
        }
        Ok((!urls.is_empty()).then(|| Member { name: self.name.clone(), urls }))
    }

    fn report(&self, survey: &Survey, member: Option<&Member>, symptoms: Vec<Symptom>) -> Report {
        let verdict = |etcd, release| {
            let list = replay(survey, member, release);
            let found = list.as_ref().ok();
            let token = &self.initial_cluster_token;
            Verdict {
                etcd,
                starts: found.is_some(),
                error: list.as_ref().err().cloned(),
                initial_cluster: found.map(ToString::to_string),
                cluster_id: found.map(|list| list.cluster_id(token).to_string()),
                member_id: found
                    .zip(member)
                    .and_then(|(list, member)| list.member_id(&member.name, token))
                    .map(|id| id.to_string()),
            }
        };
        let places = survey.own.iter().flatten();
        let findings = symptoms.into_iter();
        let findings: Vec<Finding> =
            findings.map(|Symptom { code, text, advice }| Finding { code, text, advice }).collect();
        let verdicts = vec![verdict("3.4", Release::V34), verdict("3.5+", Release::V35)];
        let steps = findings.iter().map(Finding::step).chain(verdicts.iter().map(Verdict::step));
        Report {
            domain: survey.domain.clone(),
            member: member.map(|member| member.name.clone()),
            own_addresses: places
                .map(|(ip, port)| SocketAddr::new(*ip, *port).to_string())
                .collect(),
            services: survey.servers.iter().chain(&survey.others).map(Shown::of).collect(),
            record: Record::of(steps.collect()),
            findings,
            verdicts,
        }
    }
}

/// The DNS names that a certificate is for.
fn dns_names(file: &Path) -> Result<Vec<String>, Failure> {
    let wrong = |reason: String| {
        Failure::Configuration(format!("--peer-cert-file `{}`: {reason}", file.display()).into())
    };
    let text = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    let pem = Pem::iter_from_buffer(&text)
        .next()
        .ok_or_else(|| wrong("no certificate in PEM".to_owned()))?
        .map_err(|error| wrong(error.to_string()))?;
    let certificate = pem.parse_x509().map_err(|error| wrong(error.to_string()))?;
    let names = certificate.subject_alternative_name().map_err(|error| wrong(error.to_string()))?;
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    Ok(names.filter_map(dns).collect())
}

impl Report {
    fn text(&self) -> String {
        let mut text = String::from("priority, weight, port, target, addresses\n\n");
        text.push_str(&table(&self.services));
        match &self.member {
            Some(member) => {
                let own = match self.own_addresses.join(", ") {
                    none if none.is_empty() => "no address".to_owned(),
                    own => own,
                };
                text.push_str(&format!("\nmember {member} is at {own}\n"));
            }
            None => text.push_str(
                "\nno member given: with --name and --initial-advertise-peer-urls it is looked for\n",
            ),
        }
        for Finding { code, text: what, advice } in &self.findings {
            text.push_str(&format!("\n[{code}] {what}\n  {advice}\n"));
        }
        text.push('\n');
        for verdict in &self.verdicts {
            text.push_str(&verdict.text());
        }
        text
    }
}

impl Finding {
    fn step(&self) -> Step {
        Step::new(self.code, Outcome::Failed, &self.text, Some(self.advice.clone()))
    }
}

impl Verdict {
    fn text(&self) -> String {
        format!("etcd {}: {}\n", self.etcd, self.sentence())
    }

    fn sentence(&self) -> String {
        let (Some(list), Some(cluster)) = (&self.initial_cluster, &self.cluster_id) else {
            let error = self.error.as_deref().unwrap_or("no list");
            return format!("does not start: {error}");
        };
        let member = match &self.member_id {
            Some(id) => format!(", member {id}"),
            None => String::new(),
        };
        format!("starts with {list} (cluster {cluster}{member})")
    }

    /// A release that does not start is worth a warning: it may be another that is used, and why it does not is
    /// among the findings.
    fn step(&self) -> Step {
        let outcome = if self.starts { Outcome::Ok } else { Outcome::Warning };
        Step::new(format!("etcd {}", self.etcd), outcome, self.sentence(), None)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    #[command(no_binary_name = true)]
    struct Typed {
        #[command(flatten)]
        srv: Srv,
    }

    #[test]
    fn the_whole_command_line_of_a_node_is_taken() {
        let line = "--name etcd1 --discovery-srv d.example --initial-advertise-peer-urls http://etcd1.d.example:2380 \
                    --initial-cluster-token t --data-dir d --initial-cluster-state new \
                    --advertise-client-urls http://etcd1.d.example:2379 --listen-client-urls http://0.0.0.0:2379 \
                    --listen-peer-urls http://0.0.0.0:2380 --discovery-resolver 10.0.0.1:53";
        let srv = Typed::try_parse_from(line.split_whitespace()).unwrap().srv;
        assert_eq!(srv.discovery_srv.as_deref(), Some("d.example"));
        assert_eq!(srv.initial_cluster_token, "t");
        assert_eq!(srv.resolver, "10.0.0.1:53".parse().ok());
        let srv = Typed::try_parse_from(["d.example", "--listen-peer-urls", "http://0.0.0.0:1"]);
        assert_eq!(srv.unwrap().srv.domain.as_deref(), Some("d.example"));
        for wrong in [vec![], vec!["d", "--discovery-srv", "e"], vec!["d", "--config-file=f"]] {
            assert!(Typed::try_parse_from(&wrong).is_err(), "{wrong:?}");
        }
    }
}
