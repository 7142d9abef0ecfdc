use super::*;
use crate::transport::tls::Allowed;

const HTTPS: &str = "--listen-client-urls https://127.0.0.1:1 --advertise-client-urls https://h:1 \
    --cert-file c.pem --key-file k.pem --client-cert-auth";

fn names(names: &[&str]) -> Allowed {
    Allowed::CommonNames(names.iter().map(|name| (*name).to_owned()).collect())
}

/// In etcd a key of the file; ignored, it leaves the port open to every certificate.
#[test]
fn common_names_of_the_file_count_on_both_ports() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("etcd.yaml");
    let line = format!("--config-file={}", path.display());
    let ports = ["client", "peer"];
    for (value, expected) in [
        ("[alice]", names(&["alice"])),
        ("alice", names(&["alice"])),
        ("[alice, bob]", names(&["alice", "bob"])),
        ("alice,bob", names(&["alice", "bob"])),
        ("[]", Allowed::Anyone),
        ("", Allowed::Anyone),
        // Nobody rather than everybody.
        ("['']", names(&[])),
    ] {
        let section = |port| format!("{port}-transport-security:\n  allowed-cn: {value}\n");
        std::fs::write(&path, ports.map(section).concat()).unwrap();
        let settings = settings(&line, &[]);
        assert_eq!(
            [settings.tls.client.allowed, settings.tls.peer.allowed],
            [&expected; 2].map(Clone::clone),
            "{value}"
        );
        assert!(!settings.notes.iter().any(|note| matches!(note, Note::UnknownKey { .. })));
    }
}

#[test]
fn flags_name_who_is_let_in() {
    let client = |more: &str| settings(&format!("{HTTPS} {more}"), &[]).tls.client.allowed;
    let peer = |more: &str| settings(more, &[]).tls.peer.allowed;
    assert_eq!(client("--client-cert-allowed-cn=alice,bob"), names(&["alice", "bob"]));
    assert_eq!(peer("--peer-cert-allowed-cn=n1,n2"), names(&["n1", "n2"]));
    assert_eq!(peer("--peer-cert-allowed-cn="), names(&[]));
    assert_eq!(peer(""), Allowed::Anyone);
    let hosts = Allowed::Hosts(vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(client("--client-cert-allowed-hostname 'a, b'"), hosts);
    assert_eq!(client("--client-cert-allowed-hostname="), Allowed::Hosts(Vec::new()));
    assert_eq!(
        problems(
            &format!("{HTTPS} --client-cert-allowed-cn=a,b --client-cert-allowed-hostname=h"),
            &[]
        ),
        [
            "AllowedCNs and AllowedHostnames are mutually exclusive (cns=[\"a\" \"b\"], hostnames=[\"h\"])"
        ]
    );
}

#[test]
fn names_are_of_no_use_where_nobody_is_asked() {
    let open = HTTPS.replace("--client-cert-auth", "--client-cert-allowed-cn=alice");
    assert!(matches!(
        &settings(&open, &[]).notes[..],
        [Note::WithoutEffect { setting, .. }] if setting == "client-cert-allowed-cn"
    ));
    assert!(settings(&format!("{open} --trusted-ca-file ca.pem"), &[]).notes.is_empty());
}

/// As in etcd, which compares the names in certificates with addresses on the peer port only.
#[test]
fn certificates_of_clients_may_come_from_anywhere() {
    let checks = |more: &str| {
        let tls = settings(&format!("{HTTPS} {more}"), &[]).tls;
        (tls.client.check_addresses, tls.peer.check_addresses)
    };
    assert_eq!(checks(""), (false, true));
    assert_eq!(checks("--peer-skip-client-san-verification"), (false, false));
}
