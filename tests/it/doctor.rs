//! `quorate doctor static` and the JSON of all checks.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{
    Flavor, Node, Service, cluster_id, free_port, initial_cluster, scratch, static_cluster, wait,
};

fn run(dir: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    let command = command.args(arguments).current_dir(dir);
    command.envs(environment.iter().copied()).output().unwrap()
}

/// The steps of a check, as JSON.
pub(super) struct Checked {
    pub(super) code: Option<i32>,
    report: Value,
}

impl Checked {
    #[track_caller]
    pub(super) fn of(output: &Output) -> Self {
        let report = serde_json::from_slice(&output.stdout);
        let report = report.unwrap_or_else(|error| panic!("{error}: {output:?}"));
        Self { code: output.status.code(), report }
    }

    /// The steps of that outcome, as `name: detail; way out`.
    pub(super) fn steps(&self, outcome: &str) -> Vec<String> {
        let steps = self.report["steps"].as_array().unwrap();
        let steps = steps.iter().filter(|step| step["outcome"] == outcome);
        let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
        let line = |step| {
            format!("{}: {}; {}", text(step, "name"), text(step, "detail"), text(step, "way_out"))
        };
        steps.map(line).collect()
    }

    /// Nothing failed, and one step of that outcome says so.
    #[track_caller]
    pub(super) fn passes(&self, outcome: &str, words: &[&str]) {
        assert_eq!(self.code, Some(0), "{:#}", self.report);
        assert_ne!(self.report["outcome"], "failed");
        self.has(outcome, words);
    }

    /// One step failed, with these words.
    #[track_caller]
    pub(super) fn fails(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{:#}", self.report);
        assert_eq!(self.report["outcome"], "failed");
        self.has("failed", words);
    }

    #[track_caller]
    pub(super) fn has(&self, outcome: &str, words: &[&str]) {
        let said = |step: &String| words.iter().all(|word| step.contains(word));
        let steps = self.steps(outcome);
        assert!(steps.iter().any(said), "{outcome} {words:?}: {:#}", self.report);
    }
}

#[track_caller]
fn doctor(dir: &Path, environment: &[(&str, &str)], flags: &[String]) -> Checked {
    let mut arguments = vec!["doctor", "static", "-o=json"];
    arguments.extend(flags.iter().map(String::as_str));
    Checked::of(&run(dir, environment, &arguments))
}

/// The flags of a node of three on loopback, changed as the test wants.
fn flags(changes: &[(&str, &str)]) -> (Vec<String>, String) {
    let ports = [free_port(), free_port(), free_port(), free_port()];
    let [own, second, third, client] = ports;
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let list = format!("n1={},n2={},n3={}", url(own), url(second), url(third));
    let mut flags = vec![
        ("name", "n1".to_owned()),
        ("listen-peer-urls", url(own)),
        ("initial-advertise-peer-urls", url(own)),
        ("listen-client-urls", url(client)),
        ("advertise-client-urls", url(client)),
        ("initial-cluster", list.clone()),
    ];
    for (name, value) in changes {
        let value = value.replace("OWN", &own.to_string()).replace("SECOND", &second.to_string());
        flags.retain(|(held, _)| held != name);
        flags.push((*name, value));
    }
    let typed = flags.iter().map(|(name, value)| format!("--{name}={value}"));
    (typed.collect(), list)
}

#[test]
fn a_list_that_is_right_has_its_ids_and_nobody_to_ask() {
    let dir = scratch();
    let (flags, list) = flags(&[("initial-cluster-token", "t"), ("heartbeat-interval", "50")]);
    let checked = doctor(dir.path(), &[], &flags);
    let list: quorate::membership::InitialCluster = list.parse().unwrap();
    let (member, cluster) = (list.member_id("n1", "t").unwrap(), list.cluster_id("t"));
    checked.passes("ok", &["ids: ", &member.to_string(), &cluster.to_string()]);
    checked.passes("ok", &["list: the cluster has 3 members and can lose 1"]);
    checked.passes("skipped", &["member n2: ", "nobody listens"]);
    assert!(!dir.path().join("n1.etcd").exists(), "nothing is made");
}

/// Flags that are changed, and what is said of them.
type Mistake<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

#[test]
fn every_mistake_of_a_static_start_is_a_step_that_fails() {
    let dir = scratch();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("http://{}", taken.local_addr().unwrap());
    let cases: [Mistake<'_>; 15] = [
        (&[("name", "N1")], &["name: couldn't find local name \"N1\"", "`n1`, `n2`, `n3`"]),
        (&[("initial-cluster", "")], &["name: ", "name=url,name=url"]),
        (
            &[("initial-advertise-peer-urls", "http://127.0.0.1:9")],
            &["own URLs: --initial-cluster has n1=http", "the same"],
        ),
        (
            &[("initial-cluster", "n1=http://127.0.0.1:OWN,n2=http://127.0.0.1:OWN")],
            &["list: initial cluster ", "has duplicate url"],
        ),
        (
            &[("listen-client-urls", &taken)],
            &["client port: ", "address already in use", "ss -ltnp"],
        ),
        (
            &[("listen-client-urls", "http://127.0.0.1:OWN")],
            &["client port: ", "address already in use"],
        ),
        (
            &[("listen-peer-urls", "http://192.0.2.1:2380")],
            &["peer port: listen tcp 192.0.2.1:2380", "an address that this machine has"],
        ),
        (
            &[("listen-peer-urls", "https://127.0.0.1:OWN")],
            &["configuration: cannot listen on TLS", "KeyFile and CertFile are not presented"],
        ),
        (
            &[("initial-cluster", "n1=http://127.0.0.1:OWN,n2=127.0.0.1:2380")],
            &["configuration: error setting up", "write name=http://ADDRESS:2380"],
        ),
        (
            &[("listen-peer-urls", "http://localhost.example:2380")],
            &["configuration: expected IP in URL", "write an address of the machine"],
        ),
        (&[("initial-cluster-state", "old")], &["configuration: invalid value \"old\""]),
        (
            &[
                ("initial-cluster", "n1=http://192.0.2.1:OWN,n2=http://192.0.2.2:OWN"),
                ("initial-advertise-peer-urls", "http://192.0.2.1:OWN"),
            ],
            &["advertised: the node listens at http://127.0.0.1", "--listen-peer-urls"],
        ),
        (
            &[("initial-cluster", "n1=http://127.0.0.1:OWN,n2=http://192.0.2.2:OWN")],
            &["addresses: 127.0.0.1 of this member is loopback"],
        ),
        (&[("initial-cluster-state", "existing")], &["others: nobody answers"]),
        (
            &[
                ("cert-file", "nosuch.pem"),
                ("key-file", "nosuch-key.pem"),
                ("listen-client-urls", "https://127.0.0.1:SECOND"),
            ],
            &["certificates: open nosuch.pem: no such file", "quorate doctor tls"],
        ),
    ];
    for (changes, words) in cases {
        doctor(dir.path(), &[], &flags(changes).0).fails(words);
    }
    let (mut token, _) = flags(&[]);
    token.retain(|flag| !flag.starts_with("--initial-cluster="));
    token.push("--discovery=http://127.0.0.1:9/T".to_owned());
    doctor(dir.path(), &[], &token).fails(&["way: ", "quorate doctor token URL"]);
    let both = doctor(dir.path(), &[("ETCD_NAME", "n1")], &flags(&[]).0);
    both.fails(&["configuration: conflicting environment variable", "ETCD_NAME"]);
}

#[test]
fn what_is_odd_and_starts_is_a_warning() {
    let dir = scratch();
    let urls = [
        (
            "initial-cluster",
            "n1=http://127.0.0.1:OWN,n1=http://localhost:OWN,n2=http://no-host.invalid:1",
        ),
        ("initial-advertise-peer-urls", "http://127.0.0.1:OWN,http://localhost:OWN"),
    ];
    let odd = doctor(dir.path(), &[("ETCD_NAMEE", "n1")], &flags(&urls).0);
    odd.passes("warning", &["list: `n1` is one member with the URLs"]);
    odd.passes("warning", &["addresses: `no-host.invalid` of n2"]);
    odd.passes("warning", &["configuration: the variable ETCD_NAMEE belongs to no setting"]);
    let blank =
        flags(&[("initial-cluster", "n1=http://127.0.0.1:OWN, n2=http://127.0.0.1:SECOND")]);
    doctor(dir.path(), &[], &blank.0).passes("warning", &["list: the name ` n2` has a blank"]);
}

#[test]
fn a_file_and_variables_are_read_as_the_node_reads_them() {
    let dir = scratch();
    let (given, _) = flags(&[]);
    let lines = given.iter().map(|flag| {
        let (name, value) = flag.trim_start_matches("--").split_once('=').unwrap();
        format!("{name}: \"{value}\"\n")
    });
    std::fs::write(dir.path().join("etcd.yaml"), lines.collect::<String>()).unwrap();
    let file = ["--config-file=etcd.yaml".to_owned()];
    doctor(dir.path(), &[], &file).passes("ok", &["own URLs: "]);
    let variables = given.iter().map(|flag| {
        let (name, value) = flag.trim_start_matches("--").split_once('=').unwrap();
        (format!("ETCD_{}", name.to_uppercase().replace('-', "_")), value.to_owned())
    });
    let variables: Vec<(String, String)> = variables.collect();
    let set: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    doctor(dir.path(), &set, &[]).passes("ok", &["own URLs: "]);
}

/// Who starts in place of a running member, or beside it.
fn beside_a_running_cluster(flavor: Flavor, program: &str) {
    let dir = scratch();
    let Some(nodes) = static_cluster(&[flavor; 2], dir.path()) else { return };
    let list = initial_cluster(&nodes);
    let made = cluster_id(&nodes, "etcd-cluster");
    let elsewhere = tempfile::tempdir_in(dir.path()).unwrap();
    let mut again = nodes[0].flags();
    again.push(format!("--data-dir={}", elsewhere.path().display()));
    let again = doctor(dir.path(), &[], &again);
    again.fails(&["peer port: ", "runs already"]);
    again.fails(&["member n2: ", "has already been bootstrapped", "member add"]);
    let restart = doctor(dir.path(), &[], &nodes[0].flags());
    let log = ["data directory: ", "goes on with it and ignores --initial-cluster"];
    restart.passes("warning", &log);
    if program != "quorate-node" {
        restart.passes("warning", &["data directory: ", "a quorate-node does not start there"]);
    }
    let others =
        restart.steps("ok").into_iter().filter(|step| !step.starts_with("configuration: "));
    assert_eq!(others.count(), 0, "a member that restarts bootstraps nothing");

    let mut new = Node::new(flavor, "n3", dir.path()).unwrap();
    let grown = format!("{list},n3={}", new.peer_url());
    new.bootstrap = vec![format!("--initial-cluster={grown}")];
    let cluster = format!("run as cluster {made:x} already");
    doctor(dir.path(), &[], &new.flags()).fails(&["member n1: ", &cluster, "state existing"]);
    new.bootstrap.push("--initial-cluster-state=existing".to_owned());
    doctor(dir.path(), &[], &new.flags()).fails(&["member n1: ", "member count is unequal"]);
    // etcd takes nobody in before its members have been connected for a while.
    wait("the member to be added", || nodes[0].client().add_member(new.peer_url()).ok());
    let known = format!("is a {program} of cluster {made:x}, which has 3 members and expects this");
    doctor(dir.path(), &[], &new.flags()).passes("ok", &["member n1: ", &known]);
    // The port of clients where that of members belongs.
    let wrong = grown.replace(&nodes[1].peer_url(), &nodes[1].client_url());
    new.bootstrap = vec![format!("--initial-cluster={wrong}")];
    doctor(dir.path(), &[], &new.flags()).fails(&["member n2: ", "this is no peer port"]);
    let secure = grown.replace(&nodes[1].peer_url(), &nodes[1].peer_url().replace("http", "https"));
    new.bootstrap =
        vec![format!("--initial-cluster={secure}"), "--peer-trusted-ca-file=ca.pem".to_owned()];
    let quorate = |arguments: &[&str]| assert!(run(dir.path(), &[], arguments).status.success());
    quorate(&["certs", "ca", "--dir=."]);
    doctor(dir.path(), &[], &new.flags()).fails(&["member n2: ", "does not look like a TLS"]);
}

#[test]
fn the_others_are_asked() {
    beside_a_running_cluster(Flavor::Ours, "quorate-node");
}

#[test]
fn members_of_etcd_are_asked_too() {
    beside_a_running_cluster(Flavor::Etcd34, "etcd");
    beside_a_running_cluster(Flavor::Etcd35, "etcd");
}

#[test]
fn all_checks_have_one_shape_for_programs() {
    let dir = scratch();
    let service = Service::start(dir.path());
    let url = service.new_token(1);
    let token = |url: &str| run(dir.path(), &[], &["doctor", "token", url, "-o=json"]);
    Checked::of(&token(&url)).passes("ok", &["size: the cluster will have 1 member"]);
    Checked::of(&token(&format!("{url}/"))).fails(&["spelling: ", "slashes at the end"]);
    let resolver = format!("--resolver=127.0.0.1:{}", service.dns_port);
    let srv = run(dir.path(), &[], &["doctor", "srv", "nosuch.test", &resolver, "-o=json"]);
    Checked::of(&srv).fails(&["srv-lookup: "]);
    let good = run(dir.path(), &[], &["config", "check", "-o=json"]);
    Checked::of(&good).passes("ok", &["configuration: the configuration is good"]);
    let bad = run(dir.path(), &[], &["config", "check", "--max-size=0", "--new-rate=x", "-o=json"]);
    let bad = Checked::of(&bad);
    assert_eq!((bad.code, bad.steps("failed").len()), (Some(2), 2));
    let strange = run(dir.path(), &[("QUORATE_HTTP_ADR", "x")], &["config", "check", "-o=json"]);
    Checked::of(&strange).passes("warning", &["QUORATE_HTTP_ADR"]);
}
