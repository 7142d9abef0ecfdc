use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use super::{Policy, TlsError};

/// Where a system keeps the authorities it trusts (Go's `crypto/x509/root_linux.go`).
const SYSTEM_FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A certificate, with the chain behind it, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Pair {
    /// Whether the files can be read and belong together.
    pub fn check(&self, policy: &Policy) -> Result<(), TlsError> {
        self.load(&policy.provider()).map(drop)
    }

    pub(super) fn load(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let chain = certificates(&self.cert, "certificate")?;
        let key =
            PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|error| match error {
                pem::Error::NoItemsFound => TlsError::NoPem { path: self.key.clone(), what: "key" },
                error => TlsError::Damaged { path: self.key.clone(), reason: error.to_string() },
            })?;
        CertifiedKey::from_der(chain, key, provider).map_err(|source| {
            let (cert, key) = (self.cert.clone(), self.key.clone());
            match source {
                rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { cert, key },
                source => TlsError::Pair { cert, key, source },
            }
        })
    }
}

/// When the first certificate of a chain ends, in seconds since 1970.
pub(super) fn not_after(pair: &CertifiedKey) -> i64 {
    let first = pair.cert.first().map(AsRef::as_ref).unwrap_or_default();
    X509Certificate::from_der(first)
        .map_or(0, |(_, certificate)| certificate.validity().not_after.timestamp())
}

/// Authorities, and the certificates they came in.
#[derive(Debug, Clone)]
pub(super) struct Trusted {
    pub(super) store: Arc<RootCertStore>,
    /// One that stands here is trusted for itself, whatever it says about what it may be used for.
    pub(super) exact: Arc<BTreeSet<Vec<u8>>>,
}

impl Trusted {
    /// The authorities in a file, or those of the system.
    pub(super) fn load(file: Option<&Path>) -> Result<Self, TlsError> {
        let Some(path) = file else { return Self::system() };
        let found = certificates(path, "certificate")?;
        let mut store = RootCertStore::empty();
        for certificate in &found {
            store.add(certificate.clone()).map_err(|error| TlsError::Damaged {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
        }
        Ok(Self::of(store, &found))
    }

    /// What `SSL_CERT_FILE` and `SSL_CERT_DIR` name, else what the system has.
    fn system() -> Result<Self, TlsError> {
        let own = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty());
        let file = match own {
            Some(path) => Some(PathBuf::from(path)),
            None => SYSTEM_FILES.iter().map(PathBuf::from).find(|path| path.exists()),
        };
        let mut found = Vec::new();
        if let Some(file) = file.filter(|file| file.exists()) {
            found.extend(certificates(&file, "certificate")?);
        }
        let directories = std::env::var("SSL_CERT_DIR").unwrap_or_default();
        for directory in directories.split(':').filter(|directory| !directory.is_empty()) {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            // Other files may lie there as well.
            found
                .extend(entries.filter_map(|entry| certificates(&entry.path(), "").ok()).flatten());
        }
        let mut store = RootCertStore::empty();
        // A system has odd old certificates among the others.
        let (usable, _unusable) = store.add_parsable_certificates(found.iter().cloned());
        if usable == 0 {
            return Err(TlsError::NoAuthorities);
        }
        Ok(Self::of(store, &found))
    }

    fn of(store: RootCertStore, found: &[CertificateDer<'_>]) -> Self {
        let exact = found.iter().map(|certificate| certificate.as_ref().to_vec()).collect();
        Self { store: Arc::new(store), exact: Arc::new(exact) }
    }
}

/// The serial numbers of revoked certificates.
///
/// As in etcd, the list counts by serial number alone; who signed it is not asked.
#[derive(Debug, Default)]
pub(super) struct Revoked(BTreeSet<Vec<u8>>);

impl Revoked {
    pub(super) fn load(path: &Path) -> Result<Self, TlsError> {
        let bytes = read(path)?;
        let der = match CertificateRevocationListDer::from_pem_slice(&bytes) {
            Ok(list) => list.as_ref().to_vec(),
            Err(pem::Error::NoItemsFound) => bytes,
            Err(error) => {
                return Err(TlsError::Damaged { path: path.to_owned(), reason: error.to_string() });
            }
        };
        let (_, list) = CertificateRevocationList::from_der(&der).map_err(|error| {
            let reason = format!("no certificate revocation list: {error}");
            TlsError::Damaged { path: path.to_owned(), reason }
        })?;
        let serials =
            list.iter_revoked_certificates().map(|revoked| revoked.serial().to_bytes_be());
        Ok(Self(serials.collect()))
    }

    /// The serial number of a certificate that is on the list, in hex.
    pub(super) fn find(&self, chain: &[CertificateDer<'_>]) -> Option<String> {
        let serials = chain.iter().filter_map(|der| {
            let (_, certificate) = X509Certificate::from_der(der).ok()?;
            Some(certificate.serial.to_bytes_be())
        });
        let mut serials = serials.filter(|_| !self.0.is_empty());
        serials.find(|serial| self.0.contains(serial)).map(|serial| HEXLOWER.encode(&serial))
    }
}

/// What a file looks like from outside; it changes when the file does.
pub(super) type Stamp = Vec<Option<(u64, u64, i64, i64)>>;

pub(super) fn stamp<'a>(paths: impl Iterator<Item = &'a Path>) -> Stamp {
    let look = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
    };
    paths.map(look).collect()
}

fn certificates(path: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsError::NoPem { path: path.to_owned(), what }),
        Ok(found) => Ok(found),
        Err(error) => Err(TlsError::Damaged { path: path.to_owned(), reason: error.to_string() }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::open(path, &error))
}
