use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use tracing::info;

use super::Pair;

/// etcd's year.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Debug, thiserror::Error)]
pub enum SelfSignedError {
    #[error("selfSignedCertValidity is invalid,it should be greater than 0")]
    Validity,
    #[error("`{}`", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the certificate cannot be made")]
    Make(#[from] rcgen::Error),
}

/// A certificate that vouches for itself, in `directory` as etcd keeps it: `cert.pem` and `key.pem`.
///
/// One that is there already is taken as it is.
pub fn self_signed(
    directory: &Path,
    hosts: Vec<String>,
    years: u64,
) -> Result<Pair, SelfSignedError> {
    if years == 0 {
        return Err(SelfSignedError::Validity);
    }
    let pair = Pair { cert: directory.join("cert.pem"), key: directory.join("key.pem") };
    if pair.cert.exists() && pair.key.exists() {
        return Ok(pair);
    }
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| SelfSignedError::Io { path, source }
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(io(directory))?;
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "etcd");
    params.key_usages = vec![KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let now = SystemTime::now();
    params.not_before = now.into();
    let years = u32::try_from(years).unwrap_or(u32::MAX).min(1000);
    params.not_after = (now + YEAR * years).into();
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    write(&pair.key, &key.serialize_pem()).map_err(io(&pair.key))?;
    write(&pair.cert, &certificate.pem()).map_err(io(&pair.cert))?;
    info!(path = %pair.cert.display(), "created cert file");
    info!(path = %pair.key.display(), "created key file");
    Ok(pair)
}

/// Writes a file that only its owner reads; what was there of an earlier attempt goes.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
