//! The lab from first to last step.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::{join_all, select_all};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::ports::Ports;
use super::process::Process;
use super::screen::{Screen, line};
use super::sketch::{CLUSTER_DOMAIN, DOMAIN, Node, Sketch};
use super::{Error, Mode, Up, check};
use crate::admission::Protocol;
use crate::token::{PublicId, Token};

/// The longest any one step may take before the lab gives up and shows the logs.
const STEP: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);
const LOG_LINES: usize = 15;

/// Everything the lab has started and has to take down.
#[derive(Debug)]
pub(super) struct Lab {
    up: Up,
    dir: PathBuf,
    sketch: Sketch,
    ports: Ports,
    http: reqwest::Client,
    service: Option<Process>,
    nodes: Vec<Process>,
}

impl Lab {
    /// Chooses ports and makes the directory; starts nothing.
    pub(super) fn prepare(up: Up) -> Result<Self, Error> {
        let failed = |what: &str, source| Error::Io { what: what.to_owned(), source };
        // An installed provider is as good as this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(STEP).build();
        let http = http.map_err(|error| Error::Http {
            url: "http client".to_owned(),
            problem: error.to_string(),
        })?;
        let mut ports = Ports::default();
        let sketch = Sketch::draw(up.mode, up.size, &mut ports)
            .map_err(|error| failed("choose free ports on 127.0.0.1", error))?;
        let dir = up.keep.clone().unwrap_or_else(scratch_dir);
        if fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::KeepNotEmpty(dir));
        }
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir.join("zones"));
        made.map_err(|error| failed(&format!("create `{}`", dir.display()), error))?;
        let dir = dir.canonicalize().map_err(|error| failed("find the lab's directory", error))?;
        Ok(Self { up, dir, sketch, ports, http, service: None, nodes: Vec::new() })
    }

    /// Starts, bootstraps, checks, and stays until Ctrl-C (or not, with `--once`).
    pub(super) async fn show(
        &mut self,
        screen: &mut Screen,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        self.start_service(screen, stop).await?;
        let discovery = match self.up.mode {
            Mode::Token => self.new_token(screen, stop).await?,
            Mode::Static | Mode::Srv => String::new(),
        };
        self.start_nodes(screen, stop, &discovery).await?;
        let sketch = self.sketch.clone();
        self.watched("the check", stop, check::cluster(&sketch, screen)).await??;
        screen.step("ready          every node wrote and every node read it");
        if self.up.once {
            return Ok(());
        }
        self.print_lines(&discovery);
        line(match self.up.keep {
            Some(_) => "\nCtrl-C stops everything.",
            None => "\nCtrl-C stops everything and leaves nothing behind.",
        });
        let mut children = self.children();
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            (error, _, _) = select_all(children.iter_mut().map(|c| Box::pin(c.ended()))) => Err(error),
        }
    }

    async fn start_service(
        &mut self,
        screen: &Screen,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let zone = self.dir.join("zones").join(format!("{DOMAIN}.zone"));
        let written = fs::write(&zone, self.sketch.zone());
        let what = || format!("write `{}`", zone.display());
        written.map_err(|source| Error::Io { what: what(), source })?;
        self.ports.release_udp();
        let flags = self.sketch.service_flags(&self.dir);
        let log = self.dir.join("quorate.log");
        let service = Process::start("quorate serve", &own_executable()?, &flags, log)?;
        let id = service.id();
        self.service = Some(service);
        let url = self.sketch.service_url();
        self.wait_for_health("quorate serve", &url, stop).await?;
        let dns = self.sketch.dns_port;
        screen.step(format_args!("quorate serve  pid {id}, {url}, DNS on 127.0.0.1:{dns}"));
        Ok(())
    }

    async fn new_token(
        &mut self,
        screen: &Screen,
        stop: &CancellationToken,
    ) -> Result<String, Error> {
        let url = format!("{}/new?size={}", self.sketch.service_url(), self.up.size);
        let asked = post(self.http.clone(), url.clone());
        let token = self.watched("POST /new", stop, asked).await??;
        screen.step(format_args!("token          {token}  (POST {url})"));
        Ok(token)
    }

    async fn start_nodes(
        &mut self,
        screen: &Screen,
        stop: &CancellationToken,
        discovery: &str,
    ) -> Result<(), Error> {
        let (program, first) = self.node_program()?;
        let protocol = self.protocol(stop).await?;
        let way = self.sketch.way(self.up.mode, discovery, protocol);
        for node in self.sketch.nodes.clone() {
            let mut flags = first.clone();
            flags.extend(node.flags(&way, &self.dir));
            let log = self.dir.join(format!("{}.log", node.name));
            let process = Process::start(&node.name, &program, &flags, log)?;
            let Node { name, client_url, peer_url, .. } = &node;
            let id = process.id();
            screen
                .step(format_args!("{name:<14} pid {id}, clients {client_url}, peers {peer_url}"));
            self.nodes.push(process);
        }
        let started = Instant::now();
        for node in self.sketch.nodes.clone() {
            self.wait_for_health(&node.name, &node.client_url, stop).await?;
            screen.step(format_args!("{:<14} healthy", node.name));
        }
        let seconds = started.elapsed().as_secs_f64();
        let way = self.up.mode.way();
        screen.step(format_args!("bootstrapped   by {way} in {seconds:.2} s"));
        Ok(())
    }

    /// Our node beside this executable, or this executable as one; or the etcd that was named.
    fn node_program(&self) -> Result<(PathBuf, Vec<String>), Error> {
        if let Some(etcd) = &self.up.etcd {
            return Ok((etcd.clone(), Vec::new()));
        }
        let own = own_executable()?;
        let beside = own.with_file_name("quorate-node");
        if beside.is_file() {
            return Ok((beside, Vec::new()));
        }
        Ok((own, vec!["node".to_owned()]))
    }

    /// How the nodes ask with a token: etcd 3.7 has v3 discovery only. A program that does not tell its version
    /// is left to tell what is wrong with it.
    async fn protocol(&mut self, stop: &CancellationToken) -> Result<Protocol, Error> {
        let (Mode::Token, Some(etcd)) = (self.up.mode, &self.up.etcd) else {
            return Ok(Protocol::V2);
        };
        let asked = Command::new(etcd).arg("--version").kill_on_drop(true).output();
        let told = self.watched("etcd --version", stop, asked).await?;
        let text = told.map(|told| String::from_utf8_lossy(&told.stdout).into_owned());
        Ok(protocol(&text.unwrap_or_default()))
    }

    async fn wait_for_health(
        &mut self,
        name: &str,
        url: &str,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let http = self.http.clone();
        let url = format!("{url}/health");
        let healthy = async move {
            loop {
                if let Ok(answer) = http.get(&url).send().await
                    && answer.status().is_success()
                {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        self.watched(&format!("{name}: a healthy answer"), stop, healthy).await
    }

    /// Waits for `condition`, no longer than a step may take, while all children live.
    async fn watched<T>(
        &mut self,
        what: &str,
        stop: &CancellationToken,
        condition: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let mut children = self.children();
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Error::Interrupted),
            (error, _, _) = select_all(children.iter_mut().map(|c| Box::pin(c.ended()))) => Err(error),
            met = tokio::time::timeout(STEP, condition) => {
                met.map_err(|_elapsed| Error::TooLong { what: what.to_owned(), seconds: STEP.as_secs() })
            }
        }
    }

    fn children(&mut self) -> Vec<&mut Process> {
        self.service.iter_mut().chain(&mut self.nodes).collect()
    }

    fn print_lines(&self, discovery: &str) {
        let (service, dns) = (self.sketch.service_url(), self.sketch.dns_port);
        let endpoints = self.sketch.endpoints();
        line("\nPaste into another terminal:");
        line(format_args!("  export ETCDCTL_API=3 ETCDCTL_ENDPOINTS={endpoints}"));
        line("  etcdctl member list -w table");
        line("  etcdctl put greeting hello && etcdctl get greeting");
        line("  etcdctl endpoint status -w table");
        line(format_args!("  curl '{service}/new?size=3'"));
        if !discovery.is_empty() {
            line(format_args!("  curl {discovery}"));
            if let Some(label) = label(discovery) {
                let name = format!("_etcd-server._tcp.{label}.{CLUSTER_DOMAIN}");
                line(format_args!("  dig @127.0.0.1 -p {dns} SRV {name}"));
            }
        }
        line(format_args!("  dig @127.0.0.1 -p {dns} SRV _etcd-server._tcp.{DOMAIN}"));
    }

    /// Shows the logs that belong to an error, and a way on.
    pub(super) fn explain(&mut self, error: &Error) {
        if matches!(error, Error::Interrupted) {
            return;
        }
        let ended_only = matches!(error, Error::Ended { .. });
        let mut shown = String::new();
        for child in self.children() {
            if ended_only && child.status().is_none() {
                continue;
            }
            line(format_args!("\nThe last lines of {}:", child.name));
            for text in child.last_lines(LOG_LINES) {
                line(format_args!("  | {text}"));
                shown.push_str(&text);
            }
        }
        line(format_args!("\nHint: {}", hint(&shown, self.up.keep.as_deref())));
    }

    /// Stops the children, nodes first, and removes what was not asked to be kept.
    pub(super) async fn tear_down(&mut self, screen: &mut Screen) {
        join_all(self.nodes.iter_mut().map(Process::stop)).await;
        if let Some(service) = &mut self.service {
            service.stop().await;
        }
        if self.up.keep.is_some() {
            screen.step(format_args!("stopped        everything is in {}", self.dir.display()));
            return;
        }
        match fs::remove_dir_all(&self.dir) {
            Ok(()) => screen.step("stopped        nothing is left behind"),
            Err(error) => {
                screen.step(format_args!("stopped        `{}` stays: {error}", self.dir.display()));
            }
        }
    }
}

fn own_executable() -> Result<PathBuf, Error> {
    let what = || "find the own executable".to_owned();
    std::env::current_exe().map_err(|source| Error::Io { what: what(), source })
}

/// Under which the service publishes the cluster of this token.
fn label(discovery: &str) -> Option<PublicId> {
    let token: Token = discovery.rsplit('/').next()?.parse().ok()?;
    Some(token.public_id())
}

/// A directory of this process's own below the system's one for temporary files.
fn scratch_dir() -> PathBuf {
    std::env::temp_dir().join(format!("quorate-lab-{}", std::process::id()))
}

async fn post(http: reqwest::Client, url: String) -> Result<String, Error> {
    let failed =
        |error: reqwest::Error| Error::Http { url: url.clone(), problem: error.to_string() };
    let answer = http.post(&url).send().await.map_err(failed)?;
    let status = answer.status();
    let text = answer.text().await.map_err(failed)?;
    if !status.is_success() {
        return Err(Error::Http { url, problem: format!("{status}: {text}") });
    }
    Ok(text.trim().to_owned())
}

/// What an etcd that says this of itself speaks with a discovery service.
fn protocol(version: &str) -> Protocol {
    let minor = version.split_once("etcd Version: 3.").and_then(|(_, rest)| rest.split_once('.'));
    match minor.and_then(|(minor, _)| minor.parse::<u32>().ok()) {
        Some(7..) => Protocol::V3,
        _ => Protocol::V2,
    }
}

fn hint(log: &str, kept: Option<&Path>) -> String {
    if log.contains("address already in use") {
        return "another program took the port between choosing and using it; run the lab again."
            .to_owned();
    }
    if log.contains("No such file or directory") {
        return "is the program named by --etcd there, and is it executable?".to_owned();
    }
    match kept {
        Some(dir) => format!("the full logs are `{}/*.log`.", dir.display()),
        None => "run it again with --keep DIR to keep the full logs and the data.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcd_3_7_is_given_the_flags_it_has() {
        for (version, expected) in [
            ("etcd Version: 3.4.23\nGit SHA: Not provided\n", Protocol::V2),
            ("etcd Version: 3.6.14\nGit SHA: a\n", Protocol::V2),
            ("etcd Version: 3.7.1\nGit SHA: a\n", Protocol::V3),
            ("etcd Version: 3.10.0\n", Protocol::V3),
            ("", Protocol::V2),
        ] {
            assert_eq!(protocol(version), expected, "{version}");
        }
        let sketch = Sketch { http_port: 8087, dns_port: 53, nodes: Vec::new() };
        let url = "http://127.0.0.1:8087/6c007a14875d53d9";
        let way = |protocol| sketch.way(Mode::Token, url, protocol).join(" ");
        assert_eq!(way(Protocol::V2), format!("--discovery={url}"));
        let flags = "--discovery-token=6c007a14875d53d9 --discovery-endpoints=127.0.0.1:8087";
        assert_eq!(way(Protocol::V3), flags);
    }
}
