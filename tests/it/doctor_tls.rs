//! `quorate doctor tls`: certificates as a node would use them, and handshakes with one that runs.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose as Use,
    IsCa, Issuer, KeyPair,
};

use crate::doctor::Checked;
use crate::harness::{Flavor, Node, scratch, wait};
use crate::tls::{Member, certificates, serve_https};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn doctor(dir: &Path, arguments: &[&str]) -> Checked {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    let command = command.args(["doctor", "tls", "-o=json"]).args(arguments);
    Checked::of(&command.current_dir(dir).output().unwrap())
}

/// A node that shows this certificate on both ports, at that host.
fn node(dir: &Path, certificate: &str, host: &str, more: &[&str]) -> Checked {
    let url = format!("https://{host}:2380");
    let client = format!("https://{host}:2379");
    let mut flags = vec![
        format!("--cert-file=certs/{certificate}.pem"),
        format!("--key-file=certs/{certificate}-key.pem"),
        "--trusted-ca-file=certs/ca.pem".to_owned(),
        "--client-cert-auth".to_owned(),
        format!("--peer-cert-file=certs/{certificate}.pem"),
        format!("--peer-key-file=certs/{certificate}-key.pem"),
        "--peer-trusted-ca-file=certs/ca.pem".to_owned(),
        "--peer-client-cert-auth".to_owned(),
        "--listen-peer-urls=https://127.0.0.1:2380".to_owned(),
        "--listen-client-urls=https://127.0.0.1:2379".to_owned(),
        format!("--initial-advertise-peer-urls={url}"),
        format!("--advertise-client-urls={client}"),
    ];
    flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    doctor(dir, &flags.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Signs a certificate that `quorate certs` would not make.
fn sign(dir: &Path, name: &str, uses: &[Use], ends: SystemTime) {
    let key = std::fs::read_to_string(dir.join("certs/ca-key.pem")).unwrap();
    let mut authority = CertificateParams::new(vec![]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name = DistinguishedName::new();
    authority.distinguished_name.push(DnType::CommonName, "quorate CA");
    let issuer = Issuer::new(authority, KeyPair::from_pem(&key).unwrap());
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = uses.to_vec();
    params.not_before = (SystemTime::now() - 10 * DAY).into();
    params.not_after = ends.into();
    let own = KeyPair::generate().unwrap();
    let made = params.signed_by(&own, &issuer).unwrap();
    std::fs::write(dir.join(format!("certs/{name}.pem")), made.pem()).unwrap();
    std::fs::write(dir.join(format!("certs/{name}-key.pem")), own.serialize_pem()).unwrap();
}

#[test]
fn certificates_of_our_own_making_are_right() {
    let dir = scratch();
    certificates(dir.path());
    let right = node(dir.path(), "n1", "127.0.0.1", &[]);
    right.passes("ok", &["peer port: others take it for 127.0.0.1"]);
    right.passes("ok", &["client port: others take it for 127.0.0.1"]);
    right.passes("ok", &["client port: etcd's JSON gateway is let in"]);
    right.passes("ok", &["peer port: CN=n1 of CN=quorate CA", "servers and clients"]);
    assert!(right.steps("warning").is_empty(), "{:?}", right.steps("warning"));
    doctor(dir.path(), &["--name=n1"]).fails(&["certificates: these flags name none"]);
}

#[test]
fn every_mistake_with_certificates_has_its_step() {
    let dir = scratch();
    let dir = dir.path();
    certificates(dir);
    let later = SystemTime::now() + 100 * DAY;
    sign(dir, "server", &[Use::ServerAuth], later - 95 * DAY + DAY / 2);
    sign(dir, "client", &[Use::ClientAuth], later);
    sign(dir, "ended", &[Use::ServerAuth, Use::ClientAuth], SystemTime::now() - DAY);

    let host = node(dir, "n1", "127.0.0.2", &[]);
    let refused = "others refuse it for 127.0.0.2: tls: failed to verify certificate: x509";
    host.fails(&["peer port: ", refused, "quorate certs node NAME --host 127.0.0.2"]);
    host.fails(&["client port: ", refused]);

    let server = node(dir, "server", "127.0.0.1", &[]);
    server.fails(&[
        "peer port: as a client, at another member",
        "incompatible key usage",
        "clientAuth",
    ]);
    let gateway = ["client port: etcd's JSON gateway", "refused", "--client-cert-file"];
    server.has("warning", &gateway);
    server.has("warning", &["client port: it ends in 5 days"]);
    server.has("warning", &["may be read by others", "chmod 600 certs/server-key.pem"]);
    let client = node(dir, "client", "127.0.0.1", &[]);
    client.fails(&["client port: others refuse it", "incompatible key usage"]);
    client.has("ok", &["for clients alone"]);
    let ended = node(dir, "ended", "127.0.0.1", &[]);
    ended.fails(&["peer port: it ended on"]);
    ended.fails(&["peer port: others refuse it", "expired"]);

    let mixed = node(dir, "n1", "127.0.0.1", &["--peer-key-file=certs/n2-key.pem"]);
    mixed.fails(&["peer port: tls: private key does not match"]);
    let lost = node(dir, "n1", "127.0.0.1", &["--peer-trusted-ca-file=nosuch.pem"]);
    lost.fails(&["peer port: open nosuch.pem: no such file"]);
    let named = node(dir, "n1", "127.0.0.1", &["--peer-cert-allowed-cn=other"]);
    named.fails(&["peer port: ", "client certificate authentication failed"]);
    let quorate = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["certs", "ca", "--dir=other"])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(quorate.status.success());
    let other = node(dir, "n1", "127.0.0.1", &["--peer-trusted-ca-file=other/ca.pem"]);
    other.fails(&["peer port: ", "certificate signed by unknown authority"]);
    std::fs::write(dir.join("empty"), "").unwrap();
    std::fs::set_permissions(dir.join("certs/n1-key.pem"), Permissions::from_mode(0o640)).unwrap();
    node(dir, "n1", "127.0.0.1", &[]).passes("warning", &["client port: ", "mode 640"]);
}

/// Those who speak HTTP/2 to a member hear of a refusal that a connection broke; the handshake tells why.
fn refused_on(dir: &Path, list: &str, url: &str) {
    let plain = url.replace("https://", "http://");
    let ca = "--cacert=certs/ca.pem";
    for ask in [&["doctor", "node"][..], &["verify", "--initial-cluster", list]] {
        let told = |more: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
            let command = command.args(ask).arg("-o=json").args(more);
            Checked::of(&command.current_dir(dir).output().unwrap())
        };
        told(&["--endpoints", url, ca]).has("failed", &["tls: ", "--cert FILE --key FILE"]);
        told(&["--endpoints", &plain]).has("failed", &["TLS", "write https://"]);
        told(&["--endpoints", url]).has("failed", &["unknown authority", "--cacert"]);
    }
}

fn endpoint_of(flavor: Flavor) {
    let dir = scratch();
    let dir = dir.path();
    certificates(dir);
    let mut member = Member::new("n1", dir);
    let list = format!("--initial-cluster=n1={}", member.peer);
    if member.start(flavor, &list).is_none() {
        return;
    }
    member.process().wait_for_log("serving client");
    let shows = ["--cert=certs/root.pem", "--key=certs/root-key.pem"];
    let ca = "--cacert=certs/ca.pem";
    for url in [&member.client, &member.peer] {
        let ask = |more: &[&str]| doctor(dir, &[&["--endpoints", url.as_str()][..], more].concat());
        let right = wait("the port to be open", || {
            let found = ask(&[ca, shows[0], shows[1]]);
            (found.code == Some(0)).then_some(found)
        });
        right.passes("ok", &[url, "both sides take each other's certificates"]);
        right.passes("ok", &[url, "CN=n1 of CN=quorate CA"]);
        let bare = ask(&[ca]);
        bare.fails(&[
            "the endpoint refuses this side: remote error: tls: ",
            "--cert FILE --key FILE",
        ]);
        if url == &member.client {
            refused_on(dir, &format!("n1={}", member.peer), url);
        }
        let stranger = ask(&["--cacert=/etc/ssl/certs/ca-certificates.crt", shows[0], shows[1]]);
        if Path::new("/etc/ssl/certs/ca-certificates.crt").exists() {
            stranger.fails(&["this side refuses its certificate", "unknown authority", "--cacert"]);
            stranger.has("ok", &["CN=n1 of CN=quorate CA"]);
        }
    }
}

#[test]
fn an_endpoint_says_which_side_refuses() {
    endpoint_of(Flavor::Ours);
}

#[test]
fn an_endpoint_of_etcd_says_which_side_refuses() {
    endpoint_of(Flavor::Etcd35);
}

#[test]
fn a_scheme_that_is_mixed_up_is_named_to_those_who_start_by_a_token() {
    let dir = scratch();
    let dir = dir.path();
    certificates(dir);
    let (_service, url) = serve_https(dir, &[]);
    let secure = url.strip_prefix("https://").unwrap();
    let mut plain = Node::new(Flavor::Ours, "n1", dir).unwrap();
    plain.start();
    plain.wait_until_healthy();
    let plain = format!("https://127.0.0.1:{}", plain.client_port);
    let told = |endpoint: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        let command = command.args(["doctor", "token", "-o=json", "--discovery-token"]);
        let token = "6c007a14875d53d9bf0ef5a6fc0257c817f0fb83";
        Checked::of(&command.args([token, "--discovery-endpoints", endpoint]).output().unwrap())
    };
    told(secure).fails(&["speaks TLS", "write https://"]);
    told(&url).fails(&["unknown authority", "--cacert FILE"]);
    told(&plain).fails(&["first record does not look like", "write http://"]);
    let by_url = format!("--discovery=http://{secure}/6c007a14875d53d9bf0ef5a6fc0257c817f0fb83");
    let mut node = Node::new(Flavor::Ours, "n2", dir).unwrap();
    node.bootstrap = vec![by_url];
    node.start();
    node.process().wait_for_log(
        "malformed HTTP response; a port that speaks TLS answers so to http://: write https://",
    );
}

#[test]
fn a_port_without_tls_is_named() {
    let dir = scratch();
    certificates(dir.path());
    let mut node = Node::new(Flavor::Ours, "n1", dir.path()).unwrap();
    node.start();
    node.wait_until_healthy();
    let address = format!("127.0.0.1:{}", node.client_port);
    let plain = doctor(dir.path(), &["--endpoints", &address, "--cacert=certs/ca.pem"]);
    plain.fails(&["speaks no TLS: write http://"]);
    let nobody = doctor(dir.path(), &["--endpoints=127.0.0.1:9", "--cacert=certs/ca.pem"]);
    nobody.fails(&["https://127.0.0.1:9: Connection refused", "does the node run"]);
}
