//! `quorate certs`: a small authority, and certificates for nodes and clients.
//!
//! For labs and for clusters that have no authority of their own. Keys are readable by their owner
//! only, certificates by everybody, and no file is ever overwritten.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _,
};
use x509_parser::prelude::{FromDer as _, Pem, X509Certificate, X509Name};

use super::{Failure, output, running};

const CA_CERT: &str = "ca.pem";
const CA_KEY: &str = "ca-key.pem";
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Clocks differ; a certificate counts from a little earlier on.
const SKEW: Duration = Duration::from_secs(300);
/// Every node is also asked on its own machine.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

#[derive(Debug, Subcommand)]
pub(super) enum Certs {
    /// Make an authority: ca.pem and ca-key.pem
    Ca(Ca),
    /// Make a certificate for a node, for both of its ports and for asking other nodes
    Node(Node),
    /// Make a certificate for a client; its name is the user's name where etcd asks for one
    Client(Client),
}

#[derive(Debug, Args)]
pub(super) struct Ca {
    /// Name of the authority
    #[arg(long, value_name = "NAME", default_value = "quorate CA")]
    name: String,
    #[command(flatten)]
    place: Place,
    /// Days it is valid
    #[arg(long, value_name = "N", default_value_t = 3650)]
    days: u32,
}

#[derive(Debug, Args)]
pub(super) struct Node {
    /// Name of the node, and of the files NAME.pem and NAME-key.pem
    name: String,
    /// Host name or address that the node is reached under, repeatable; localhost is always one
    #[arg(long, value_name = "HOST", required = true)]
    host: Vec<String>,
    /// Domain of --discovery-srv; members check this name when they have no CA file
    #[arg(long, value_name = "DOMAIN")]
    srv_domain: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Days it is valid
    #[arg(long, value_name = "N", default_value_t = 365)]
    days: u32,
}

#[derive(Debug, Args)]
pub(super) struct Client {
    /// Name of the client, and of the files NAME.pem and NAME-key.pem
    name: String,
    /// Make it the organization instead of the common name: where there are users, the JSON gateway
    /// (Patroni, etcd3gw, curl) refuses certificates with a common name
    #[arg(long)]
    no_common_name: bool,
    #[command(flatten)]
    place: Place,
    /// Days it is valid
    #[arg(long, value_name = "N", default_value_t = 365)]
    days: u32,
}

#[derive(Debug, Args)]
struct Place {
    /// Directory of the files; made if it is missing
    #[arg(long, value_name = "DIR", default_value = "certs")]
    dir: PathBuf,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("`{}` is there already and is not overwritten; remove it or choose another name", .0.display())]
    Exists(PathBuf),
    #[error("`{0}` is no name for a file: letters, digits, `.`, `-` and `_` are")]
    Name(String),
    #[error("`ca` and `ca-key` are the files of the authority")]
    Reserved,
    #[error("--days has to be from 1 to 36500")]
    Days,
    #[error("`{0}` is neither a host name nor an address")]
    Host(String),
    #[error("`{}` cannot be read; `quorate certs ca` makes an authority", .path.display())]
    NoAuthority { path: PathBuf, source: io::Error },
    #[error("`{}` and `{}` are no authority that can sign: {reason}", .cert.display(), .key.display())]
    BadAuthority { cert: PathBuf, key: PathBuf, reason: String },
    #[error("`{}` cannot be written", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the certificate cannot be made")]
    Make(#[from] rcgen::Error),
}

impl Error {
    fn into_failure(self) -> Failure {
        match self {
            Self::Write { .. } | Self::Make(_) => running(self),
            other => Failure::Configuration(other.into()),
        }
    }
}

impl Certs {
    /// Makes the files and prints their names.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let made = match self {
            Self::Ca(ca) => ca.make(),
            Self::Node(node) => node.make(),
            Self::Client(client) => client.make(),
        };
        let (cert, key) = made.map_err(Error::into_failure)?;
        output::print(&format!("{}\n{}\n", cert.display(), key.display()))
    }
}

impl Ca {
    fn make(&self) -> Result<(PathBuf, PathBuf), Error> {
        let mut params = params(DnType::CommonName, &self.name, vec![], self.days)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        self.place.write((CA_CERT, &certificate.pem()), (CA_KEY, &key.serialize_pem()))
    }
}

impl Node {
    fn make(&self) -> Result<(PathBuf, PathBuf), Error> {
        let mut hosts = self.host.clone();
        hosts.extend(self.srv_domain.iter().map(|domain| domain.trim_end_matches('.').to_owned()));
        for local in LOCAL {
            if !hosts.iter().any(|host| host == local) {
                hosts.push(local.to_owned());
            }
        }
        for host in &hosts {
            let is_name = !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._*".contains(&b));
            if !is_name && host.parse::<std::net::IpAddr>().is_err() {
                return Err(Error::Host(host.clone()));
            }
        }
        let uses = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.place.sign(DnType::CommonName, &self.name, hosts, uses, self.days)
    }
}

impl Client {
    fn make(&self) -> Result<(PathBuf, PathBuf), Error> {
        let part = if self.no_common_name { DnType::OrganizationName } else { DnType::CommonName };
        let uses = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.place.sign(part, &self.name, vec![], uses, self.days)
    }
}

impl Place {
    /// Signs a certificate whose subject has the name as this part.
    fn sign(
        &self,
        part: DnType,
        name: &str,
        hosts: Vec<String>,
        uses: Vec<ExtendedKeyUsagePurpose>,
        days: u32,
    ) -> Result<(PathBuf, PathBuf), Error> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
            return Err(Error::Name(name.to_owned()));
        }
        if matches!(name, "ca" | "ca-key") {
            return Err(Error::Reserved);
        }
        let mut params = params(part, name, hosts, days)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = uses;
        let issuer = self.authority()?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        let (cert, key_file) = (format!("{name}.pem"), format!("{name}-key.pem"));
        self.write((&cert, &certificate.pem()), (&key_file, &key.serialize_pem()))
    }

    /// The authority in this directory, ours or another program's.
    fn authority(&self) -> Result<Issuer<'static, KeyPair>, Error> {
        let (cert, key) = (self.dir.join(CA_CERT), self.dir.join(CA_KEY));
        let read = |path: &Path| {
            fs::read_to_string(path)
                .map_err(|source| Error::NoAuthority { path: path.to_owned(), source })
        };
        let (cert_text, key_text) = (read(&cert)?, read(&key)?);
        let bad =
            |reason: String| Error::BadAuthority { cert: cert.clone(), key: key.clone(), reason };
        let pair = KeyPair::from_pem(&key_text).map_err(|error| bad(error.to_string()))?;
        let block = Pem::iter_from_buffer(cert_text.as_bytes()).next();
        let block = block.and_then(Result::ok).ok_or_else(|| bad("no certificate".to_owned()))?;
        let (_, parsed) = X509Certificate::from_der(&block.contents)
            .map_err(|error| bad(format!("no certificate: {error}")))?;
        if !parsed.is_ca() {
            return Err(bad("the certificate is not one of an authority".to_owned()));
        }
        if parsed.public_key().raw != pair.subject_public_key_info() {
            return Err(bad("the key belongs to another certificate".to_owned()));
        }
        let mut params = CertificateParams::new(vec![])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = name_of(parsed.subject())
            .ok_or_else(|| bad("its name has parts that this program does not write".to_owned()))?;
        Ok(Issuer::new(params, pair))
    }

    /// Writes both files, or none when one of them is there.
    fn write(&self, cert: (&str, &str), key: (&str, &str)) -> Result<(PathBuf, PathBuf), Error> {
        let (cert_path, key_path) = (self.dir.join(cert.0), self.dir.join(key.0));
        for path in [&cert_path, &key_path] {
            if path.symlink_metadata().is_ok() {
                return Err(Error::Exists(path.clone()));
            }
        }
        DirBuilder::new()
            .recursive(true)
            .create(&self.dir)
            .map_err(|source| Error::Write { path: self.dir.clone(), source })?;
        for (path, text, mode) in [(&key_path, key.1, 0o600), (&cert_path, cert.1, 0o644)] {
            let written = create(path, text, mode);
            written.map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => Error::Exists(path.clone()),
                _ => Error::Write { path: path.clone(), source },
            })?;
        }
        Ok((cert_path, key_path))
    }
}

fn create(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn params(
    part: DnType,
    name: &str,
    hosts: Vec<String>,
    days: u32,
) -> Result<CertificateParams, Error> {
    if !(1..=36_500).contains(&days) {
        return Err(Error::Days);
    }
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(part, name);
    let now = SystemTime::now();
    params.not_before = (now - SKEW).into();
    params.not_after = (now + DAY * days).into();
    Ok(params)
}

/// The same name, byte for byte; `None` when it has parts that cannot be written so.
fn name_of(subject: &X509Name<'_>) -> Option<DistinguishedName> {
    let mut name = DistinguishedName::new();
    for part in subject.iter_rdn() {
        let mut attributes = part.iter();
        let (attribute, None) = (attributes.next()?, attributes.next()) else { return None };
        let kind: Vec<u64> = attribute.attr_type().iter()?.collect();
        let text = attribute.as_str().ok()?;
        let value = match attribute.attr_value().tag().0 {
            12 => DnValue::Utf8String(text.to_owned()),
            19 => DnValue::PrintableString(text.try_into().ok()?),
            22 => DnValue::Ia5String(text.try_into().ok()?),
            _ => return None,
        };
        name.push(DnType::from_oid(&kind), value);
    }
    Some(name)
}

#[cfg(test)]
mod tests;
