use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};
use tokio_util::sync::CancellationToken;

use super::*;

const LOOPBACK: &str = "127.0.0.1:40000";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// An authority, and a directory for what it signs.
struct Ca {
    dir: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        // Two authorities of one name would be taken for each other.
        params.distinguished_name.push(DnType::CommonName, dir.path().to_str().unwrap());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let ca = Self { dir, issuer: CertifiedIssuer::self_signed(params, key).unwrap() };
        std::fs::write(ca.path("ca.pem"), ca.issuer.pem()).unwrap();
        ca
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Signs a certificate and writes it with its key.
    fn sign(&self, name: &str, hosts: &[&str], change: impl Fn(&mut CertificateParams)) -> Pair {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let pair = self.pair(name);
        std::fs::write(&pair.cert, certificate.pem()).unwrap();
        std::fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }

    fn pair(&self, name: &str) -> Pair {
        Pair { cert: self.path(&format!("{name}.pem")), key: self.path(&format!("{name}.key")) }
    }

    fn server(&self) -> ServerOptions {
        ServerOptions {
            pair: self.sign("server", &["localhost", "127.0.0.1"], |_| {}),
            client_auth: ClientAuth::Required,
            tells_names: true,
            client_ca: Some(self.path("ca.pem")),
            crl: None,
            allowed: Allowed::Anyone,
            check_addresses: true,
            policy: Policy::default(),
            spoken: Spoken::Http,
        }
    }

    fn client(&self, pair: Option<Pair>) -> ClientOptions {
        ClientOptions { pair, ca: Some(self.path("ca.pem")), ..ClientOptions::default() }
    }
}

/// Shakes hands in memory: whom the server met, and what the client saw.
async fn shake(
    server: &TlsServer,
    client: ClientOptions,
) -> (Result<Option<PeerIdentity>, String>, Result<(), String>) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let from: SocketAddr = LOOPBACK.parse().unwrap();
    let client = TlsClient::load(client).unwrap();
    let calling = async {
        let mut stream =
            client.connect("localhost", theirs).await.map_err(|error| error.to_string())?;
        // In TLS 1.3 the client is done before it is judged.
        let mut byte = [0];
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut byte).await;
        match read {
            // The other side is gone without a word, as it is here when all went well.
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
                Err(error.to_string())
            }
            _ => Ok(()),
        }
    };
    let meeting = async {
        let met = server.accept(ours, from).await;
        met.map(|(_stream, identity)| identity).map_err(|rejected| rejected.reason)
    };
    tokio::join!(meeting, calling)
}

async fn met(
    options: ServerOptions,
    client: ClientOptions,
) -> Result<Option<PeerIdentity>, String> {
    shake(&TlsServer::load(options).unwrap(), client).await.0
}

#[tokio::test]
async fn the_names_of_a_client_are_known() {
    let ca = Ca::new();
    let pair = ca.sign("alice", &["localhost", "127.0.0.1"], |_| {});
    let identity = met(ca.server(), ca.client(Some(pair))).await.unwrap().unwrap();
    assert_eq!(identity.common_name.as_deref(), Some("alice"));
    assert_eq!(identity.dns_names, ["localhost"]);
    assert_eq!(identity.addresses, ["127.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    let pair = ca.sign("alice", &["127.0.0.1"], |_| {});
    let discreet = ServerOptions { tells_names: false, ..ca.server() };
    assert_eq!(met(discreet, ca.client(Some(pair))).await, Ok(None));
    let optional = ServerOptions { client_auth: ClientAuth::Optional, ..ca.server() };
    assert_eq!(met(optional, ca.client(None)).await, Ok(None));
    let none = ServerOptions { client_auth: ClientAuth::None, ..ca.server() };
    assert_eq!(met(none, ca.client(None)).await, Ok(None));
}

#[tokio::test]
async fn bad_clients_are_refused_in_the_words_of_etcd() {
    let (ca, foreign) = (Ca::new(), Ca::new());
    let stranger = foreign.sign("mallory", &[], |_| {});
    let old = ca.sign("old", &[], |params| {
        params.not_before = (SystemTime::now() - 3 * DAY).into();
        params.not_after = (SystemTime::now() - DAY).into();
    });
    let elsewhere = ca.sign("elsewhere", &["192.0.2.1"], |_| {});
    let nameless = ca.sign("nowhere", &["nowhere.invalid"], |_| {});
    let server_only = ca.sign("server-only", &[], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let strict = |allowed| ServerOptions { allowed, ..ca.server() };
    let cn = Allowed::CommonNames(vec!["carol".to_owned(), "alice".to_owned()]);
    let hosts = Allowed::Hosts(vec!["a.example".to_owned()]);
    let alice = || Some(ca.sign("alice", &[], |_| {}));
    let bob = || Some(ca.sign("bob", &[], |_| {}));
    for (options, client, reason) in [
        (ca.server(), ca.client(None), "tls: client didn't provide a certificate"),
        (
            ca.server(),
            ca.client(Some(stranger)),
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        ),
        (
            ca.server(),
            ca.client(Some(old)),
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid",
        ),
        (
            ca.server(),
            ca.client(Some(server_only)),
            "tls: failed to verify certificate: x509: certificate specifies an incompatible key usage",
        ),
        (
            ca.server(),
            ca.client(Some(elsewhere)),
            "x509: certificate is valid for 192.0.2.1, not 127.0.0.1",
        ),
        (
            ca.server(),
            ca.client(Some(nameless)),
            "tls: \"127.0.0.1\" does not match any of DNSNames [\"nowhere.invalid\"]",
        ),
        (
            strict(cn.clone()),
            ca.client(bob()),
            "tls: failed to verify certificate: client certificate authentication failed",
        ),
        (
            strict(hosts),
            ca.client(alice()),
            "tls: failed to verify certificate: client certificate authentication failed",
        ),
        // It does not know who we are.
        (
            ca.server(),
            ClientOptions { ca: Some(foreign.path("ca.pem")), ..ClientOptions::default() },
            "remote error: tls: unknown certificate authority",
        ),
    ] {
        let refused = met(options, client).await.unwrap_err();
        assert!(refused.starts_with(reason), "{refused}\ninstead of\n{reason}");
    }
    let (_, told) = shake(&TlsServer::load(strict(cn.clone())).unwrap(), ca.client(bob())).await;
    assert!(told.clone().unwrap_err().contains("BadCertificate"), "{told:?}");
    assert!(met(strict(cn), ca.client(alice())).await.is_ok());
    let named = || Some(ca.sign("named", &["a.example"], |_| {}));
    let hosts = Allowed::Hosts(vec!["b.example".to_owned(), "a.example".to_owned()]);
    let options = ServerOptions { check_addresses: false, ..strict(hosts) };
    assert!(met(options, ca.client(named())).await.is_ok());
}

/// The first message of a client that speaks TLS 1.1 and nothing newer (RFC 4346 §7.4.1.2).
fn tls11_hello() -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    // No session, one cipher suite, no compression.
    hello.extend([0, 0, 2, 0xc0, 0x14, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    [vec![22, 3, 1, 0, length + 4, 1, 0, 0, length], hello].concat()
}

#[tokio::test]
async fn what_is_no_tls_is_named() {
    let ca = Ca::new();
    let server = TlsServer::load(ca.server()).unwrap();
    for (sent, reason) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "tls: first record does not look like a TLS handshake"),
        (b"", "EOF"),
        (&tls11_hello(), "tls: client offered only unsupported versions"),
    ] {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        tokio::io::AsyncWriteExt::write_all(&mut theirs, sent).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut theirs).await.unwrap();
        let rejected = server.accept(ours, LOOPBACK.parse().unwrap()).await.unwrap_err();
        assert_eq!(rejected.reason, reason);
    }
}

#[tokio::test]
async fn a_revoked_certificate_is_refused() {
    let ca = Ca::new();
    let revoked = ca.sign("alice", &[], |params| {
        params.serial_number = Some(SerialNumber::from(0x4711_u64));
    });
    let now = SystemTime::now();
    let list = CertificateRevocationListParams {
        this_update: (now - DAY).into(),
        next_update: (now + DAY).into(),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(0x4711_u64),
            revocation_time: (now - DAY).into(),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&ca.issuer).unwrap();
    for (name, bytes) in
        [("crl.pem", list.pem().unwrap().into_bytes()), ("crl.der", list.der().to_vec())]
    {
        std::fs::write(ca.path(name), bytes).unwrap();
        let options = || ServerOptions { crl: Some(ca.path(name)), ..ca.server() };
        let refused = met(options(), ca.client(Some(revoked.clone()))).await.unwrap_err();
        assert_eq!(refused, "transport: certificate serial 4711 revoked");
        let bob = ca.sign("bob", &[], |_| {});
        assert!(met(options(), ca.client(Some(bob))).await.is_ok());
    }
}

/// `openssl req -x509` makes an authority, and people use it for everything.
#[tokio::test]
async fn a_certificate_may_be_its_own_authority() {
    let dir = tempfile::tempdir().unwrap();
    let pair = Pair { cert: dir.path().join("a.pem"), key: dir.path().join("a.key") };
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    std::fs::write(&pair.cert, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&pair.key, key.serialize_pem()).unwrap();
    let ca = Some(pair.cert.clone());
    let options = ServerOptions { pair: pair.clone(), client_ca: ca.clone(), ..Ca::new().server() };
    let client = ClientOptions { pair: Some(pair), ca, ..ClientOptions::default() };
    assert!(met(options.clone(), client.clone()).await.unwrap().is_some());
    let other = ClientOptions { server_name: Some("other.example".to_owned()), ..client };
    let (_, seen) = shake(&TlsServer::load(options).unwrap(), other).await;
    assert!(seen.unwrap_err().contains("x509: certificate is valid for other names"));
}

#[tokio::test]
async fn versions_and_names_count_for_clients_too() {
    let ca = Ca::new();
    let options = || ServerOptions { client_auth: ClientAuth::None, ..ca.server() };
    let only = |version| Policy::new(Some(version), Some(version), &[]).unwrap().0;
    let server = ServerOptions { policy: only(Version::Tls13), ..options() };
    let client = ClientOptions { policy: only(Version::Tls12), ..ca.client(None) };
    let refused = met(server, client.clone()).await.unwrap_err();
    assert_eq!(refused, "tls: client offered only unsupported versions");
    assert!(met(options(), client.clone()).await.is_ok());
    let server = TlsServer::load(options()).unwrap();
    let wrong = ClientOptions { server_name: Some("h.example".to_owned()), ..ca.client(None) };
    assert!(shake(&server, wrong.clone()).await.1.is_err());
    let skipping = ClientOptions { verification: Verification::Skipped, ..wrong };
    assert_eq!(shake(&server, skipping.clone()).await.1, Ok(()));
    // As in etcd, a name that members must carry counts in both directions.
    let allowed = Allowed::CommonNames(vec!["member".to_owned()]);
    let picky = ClientOptions { allowed, ..skipping };
    assert!(shake(&server, picky).await.1.unwrap_err().contains("authentication failed"));
}

#[tokio::test]
async fn changed_files_are_taken_over_and_damaged_ones_are_not() {
    let ca = Ca::new();
    let options = ServerOptions { client_auth: ClientAuth::None, ..ca.server() };
    let server = TlsServer::load(options).unwrap();
    let first = server.not_after();
    assert!(!server.is_stale());
    std::fs::write(&server.pair().cert, "half a certi").unwrap();
    assert!(server.is_stale());
    let error = server.reload().unwrap_err().to_string();
    assert!(error.starts_with("tls: failed to find any PEM data in certificate input"), "{error}");
    assert_eq!(server.not_after(), first);
    assert!(shake(&server, ca.client(None)).await.0.is_ok());
    let not_after = SystemTime::now() + 90 * DAY;
    ca.sign("server", &["localhost"], |params| params.not_after = not_after.into());
    let stop = CancellationToken::new();
    let watching = tokio::spawn(watch(vec![server.clone()], vec![], stop.clone()));
    let limit = tokio::time::Instant::now() + Duration::from_secs(60);
    while server.not_after() == first {
        assert!(tokio::time::Instant::now() < limit, "the new certificate is not taken");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
    watching.await.unwrap();
    assert!(shake(&server, ca.client(None)).await.0.is_ok());
}

#[test]
fn files_that_make_no_pair_are_named() {
    let (ca, other) = (Ca::new(), Ca::new());
    let load = |cert: &Path, key: &Path| {
        let pair = Pair { cert: cert.to_owned(), key: key.to_owned() };
        TlsServer::load(ServerOptions { pair, ..ca.server() }).unwrap_err().to_string()
    };
    let (good, foreign) = (ca.sign("a", &[], |_| {}), other.sign("b", &[], |_| {}));
    let none = ca.path("none.pem");
    assert_eq!(
        load(&none, &good.key),
        format!("open {}: no such file or directory", none.display())
    );
    let mixed = load(&good.cert, &foreign.key);
    assert!(mixed.starts_with("tls: private key does not match public key"), "{mixed}");
    let swapped = load(&good.key, &good.cert);
    assert!(swapped.starts_with("tls: failed to find any PEM data in certificate"), "{swapped}");
}

#[tokio::test]
async fn a_self_signed_pair_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("fixtures/client");
    let hosts = || vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    assert!(matches!(self_signed(&home, hosts(), 0), Err(SelfSignedError::Validity)));
    let pair = self_signed(&home, hosts(), 1).unwrap();
    let mode = |path: &Path| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions())
    };
    assert_eq!((mode(&pair.key) & 0o777, mode(&home) & 0o777), (0o600, 0o700));
    let text = std::fs::read(&pair.cert).unwrap();
    assert_eq!(self_signed(&home, hosts(), 1).unwrap(), pair);
    assert_eq!(std::fs::read(&pair.cert).unwrap(), text);
    let ca = Ca::new();
    let options = ServerOptions { pair, client_auth: ClientAuth::None, ..ca.server() };
    let client = ClientOptions { verification: Verification::Skipped, ..ClientOptions::default() };
    assert!(met(options, client).await.is_ok());
}
