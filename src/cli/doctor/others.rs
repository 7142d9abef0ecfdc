//! The other members: what they say about the cluster, if they are there.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::cli::node::{dialing, serving};
use crate::cli::output::counted;
use crate::cli::steps::Steps;
use crate::config::node::{Certificate, PortTls, Settings};
use crate::discovery::rehearsal::{self, Program};
use crate::discovery::{self, PeerList, Request, Silence};
use crate::membership::{InitialCluster, PeerUrl};
use crate::transport::chain;
use crate::transport::tls::{TlsClient, TlsError, TlsServer};

/// How long one of them may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What one URL said.
type Said = Result<(PeerList, Program), Silence>;

/// Loads what the ports would show; what this member shows to others, if that is TLS.
pub(super) fn certificates(steps: &mut Steps, settings: &Settings) -> Option<TlsClient> {
    const STEP: &str = "certificates";
    const CURE: &str = "`quorate doctor tls` with the same flags says more";
    let https = |urls: &[PeerUrl]| urls.iter().any(PeerUrl::is_https);
    let ports = [
        (&settings.tls.client, https(&settings.listen_client_urls)),
        (&settings.tls.peer, https(&settings.listen_peer_urls)),
    ];
    let mut load = |loaded: Result<&str, TlsError>| match loaded {
        Ok(what) => steps.ok(STEP, what),
        Err(error) => steps.fail(STEP, chain(&error), CURE),
    };
    let port = |port: &PortTls| match &port.certificate {
        Certificate::Files(pair) => TlsServer::load(serving(settings, port, pair))
            .map(|_| "the files of a port belong together"),
        Certificate::SelfSigned { .. } => Ok("one will be made"),
        Certificate::None => Ok("none is wanted"),
    };
    for (tls, _) in ports.into_iter().filter(|(_, wanted)| *wanted) {
        load(port(tls));
    }
    let client = TlsClient::load(dialing(settings, None)?);
    let (client, loaded) = match client {
        Ok(client) => (Some(client), Ok("those for the way to others can be used")),
        Err(error) => (None, Err(error)),
    };
    load(loaded);
    client
}

/// Asks all of them at once.
pub(super) async fn ask(
    steps: &mut Steps,
    request: &Request,
    list: &InitialCluster,
    tls: Option<&TlsClient>,
) {
    let others: Vec<(&str, &PeerUrl)> = list
        .members()
        .filter(|(name, _)| *name != request.name)
        .flat_map(|(name, urls)| urls.iter().map(move |url| (name, url)))
        .collect();
    if others.is_empty() {
        return steps.ok("others", "there are none to ask");
    }
    let mut answers: Vec<Option<Said>> = others.iter().map(|_| None).collect();
    let mut asked = JoinSet::new();
    for (at, (_, url)) in others.iter().enumerate() {
        let (url, tls) = ((*url).clone(), tls.cloned());
        asked.spawn(async move { (at, rehearsal::ask(&url, tls.as_ref(), PATIENCE).await) });
    }
    while let Some(answer) = asked.join_next().await {
        if let Ok((at, said)) = answer {
            answers[at] = Some(said);
        }
    }
    let mut running = Vec::new();
    for ((name, url), said) in others.iter().zip(answers) {
        match said {
            Some(Ok((list, program))) => running.push((*name, list, program)),
            Some(Err(silence)) => silent(steps, name, url, &silence),
            None => {}
        }
    }
    for (name, known, program) in &running {
        judge(steps, request, list, name, known, *program).await;
    }
    if running.is_empty() && request.existing {
        let what = "nobody answers who could tell which cluster to join";
        let cure =
            "start the members of the running cluster, and let this machine reach their peer ports";
        steps.fail("others", what, cure);
    }
    let programs: BTreeSet<Program> = running.iter().map(|(_, _, program)| *program).collect();
    if programs.len() > 1 {
        let what =
            "some members are etcd and some quorate-node, which do not replicate to each other";
        steps.fail("others", what, "start the same program everywhere");
    }
}

fn silent(steps: &mut Steps, name: &str, url: &PeerUrl, silence: &Silence) {
    let step = format!("member {name}");
    let what = format!("{url}: {silence}");
    match silence {
        Silence::Refused { .. } => {
            steps.open(&step, format!("{what}; it does not run yet, or a firewall refuses"));
        }
        Silence::TimedOut(_) => {
            let cure = "a firewall drops what is sent there, or it has just begun to start";
            steps.warn(&step, what, cure);
        }
        Silence::Unreached(_) => {
            steps.warn(&step, what, "check name, address and the way there");
        }
        Silence::Tls(_) => steps.fail(
            &step,
            what,
            "compare the authorities and names of both sides: `quorate doctor tls` with the same flags",
        ),
        Silence::NotHttp => {
            steps.fail(&step, what, "write https:// in the URLs of that member, on every member");
        }
        Silence::Status(_) | Silence::NoList => {
            let cure = "give its peer port in --initial-cluster, usually 2380; clients use the other one";
            steps.fail(&step, what, cure);
        }
    }
}

/// Compares what a running member knows with what this one would do.
async fn judge(
    steps: &mut Steps,
    request: &Request,
    list: &InitialCluster,
    name: &str,
    known: &PeerList,
    program: Program,
) {
    let step = format!("member {name}");
    let cluster = known.cluster;
    let there = format!(
        "{} is a {program} of cluster {cluster}, which has {}",
        known.told_by,
        counted(known.members.len(), "member")
    );
    let verdict = match request.existing {
        true => rehearsal::place_among(request, list, known)
            .await
            .map(|own| format!("{there} and expects this one as {}", own.id)),
        false => rehearsal::is_new(request, list, known).map(|()| there),
    };
    match verdict {
        Ok(what) => steps.ok(&step, what),
        Err(error) => {
            let cure = cure(&error, request.existing);
            steps.fail(&step, format!("{}: {error}", known.told_by), cure);
        }
    }
}

fn cure(error: &discovery::Error, existing: bool) -> &'static str {
    if existing {
        return "take --initial-cluster as `etcdctl member add` printed it; every member of the running \
                cluster stands in it, and this one";
    }
    match error {
        discovery::Error::Static(discovery::StaticError::OtherCluster { .. }) => {
            "to join the running cluster: `etcdctl member add`, then --initial-cluster-state existing; for a \
             new one: stop and empty the members of the old one, or give all the same list and \
             --initial-cluster-token"
        }
        _ => {
            "its data directory is gone or was not given: restart with the old one, or `etcdctl member \
             remove` and `member add` it and start with --initial-cluster-state existing"
        }
    }
}
