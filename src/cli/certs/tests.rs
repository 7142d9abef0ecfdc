use std::os::unix::fs::PermissionsExt as _;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::*;

fn ca(dir: &Path) -> Ca {
    Ca { name: "an authority".to_owned(), place: Place { dir: dir.to_owned() }, days: 10 }
}

fn node(dir: &Path, name: &str, hosts: &[&str]) -> Node {
    Node {
        name: name.to_owned(),
        host: hosts.iter().map(|host| (*host).to_owned()).collect(),
        srv_domain: Some("example.test.".to_owned()),
        place: Place { dir: dir.to_owned() },
        days: 10,
    }
}

fn client(dir: &Path, name: &str) -> Client {
    let place = Place { dir: dir.to_owned() };
    Client { name: name.to_owned(), no_common_name: false, place, days: 10 }
}

#[test]
fn certificates_carry_the_names_and_are_signed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("certs");
    let (ca_cert, _) = ca(&dir).make().unwrap();
    let (cert, key) = node(&dir, "n1", &["n1.example.test", "10.0.0.1"]).make().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    // The umask of this process may take from what others may read, and never adds to it.
    assert_eq!(mode(&key), 0o600);
    assert_eq!((mode(&dir) & !0o755, mode(&cert) & !0o644), (0, 0));
    let open = fs::File::create(dir.join("open")).unwrap();
    let usual = open.metadata().unwrap().permissions().mode() & 0o644;
    assert_eq!(mode(&cert), usual, "others may read it as they may read any file");
    let read = |path: &Path| CertificateDer::from_pem_file(path).unwrap();
    let (ca_der, der) = (read(&ca_cert), read(&cert));
    let (_, authority) = X509Certificate::from_der(&ca_der).unwrap();
    let (_, signed) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(signed.issuer().as_raw(), authority.subject().as_raw());
    let names = signed.subject_alternative_name().unwrap().unwrap();
    let names: Vec<String> = names.value.general_names.iter().map(ToString::to_string).collect();
    for name in ["n1.example.test", "example.test", "localhost"] {
        assert!(names.iter().any(|held| held.contains(name)), "{name} in {names:?}");
    }
    assert_eq!(names.len(), 6, "{names:?}");
    let (cert, _) = client(&dir, "alice").make().unwrap();
    let der = read(&cert);
    let (_, signed) = X509Certificate::from_der(&der).unwrap();
    let uses = signed.extended_key_usage().unwrap().unwrap();
    assert!(uses.value.client_auth && !uses.value.server_auth);
    assert_eq!(signed.subject().iter_common_name().next().unwrap().as_str().unwrap(), "alice");
    let patroni = Client { no_common_name: true, ..client(&dir, "patroni") };
    let der = read(&patroni.make().unwrap().0);
    let (_, signed) = X509Certificate::from_der(&der).unwrap();
    assert!(signed.subject().iter_common_name().next().is_none());
    assert_eq!(signed.subject().to_string(), "O=patroni");
}

#[test]
fn nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (_, key) = ca(dir).make().unwrap();
    let before = fs::read(&key).unwrap();
    assert!(matches!(ca(dir).make(), Err(Error::Exists(_))));
    assert_eq!(fs::read(&key).unwrap(), before);
    client(dir, "a").make().unwrap();
    fs::remove_file(dir.join("a.pem")).unwrap();
    assert!(matches!(client(dir, "a").make(), Err(Error::Exists(_))));
    assert!(!dir.join("a.pem").exists());
}

#[test]
fn wrong_wishes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(matches!(client(dir, "a").make(), Err(Error::NoAuthority { .. })));
    ca(dir).make().unwrap();
    assert!(matches!(client(dir, "../a").make(), Err(Error::Name(_))));
    assert!(matches!(client(dir, "ca").make(), Err(Error::Reserved)));
    assert!(matches!(node(dir, "n", &["http://h"]).make(), Err(Error::Host(_))));
    assert!(matches!(Client { days: 0, ..client(dir, "a") }.make(), Err(Error::Days)));
    // The key of another authority.
    let other = tempfile::tempdir().unwrap();
    ca(other.path()).make().unwrap();
    fs::copy(other.path().join(CA_KEY), dir.join(CA_KEY)).unwrap();
    assert!(matches!(client(dir, "a").make(), Err(Error::BadAuthority { .. })));
}
