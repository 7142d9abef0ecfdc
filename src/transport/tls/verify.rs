use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::files::Trusted;
use super::{Allowed, PeerIdentity, TlsError};

type Signed = Result<HandshakeSignatureValid, Error>;

/// Checks clients: signed by an authority, valid, and with a name that is allowed.
#[derive(Debug)]
pub(super) struct Clients {
    inner: Arc<dyn ClientCertVerifier>,
    trusted: Trusted,
    allowed: Allowed,
}

impl Clients {
    pub(super) fn new(
        trusted: Trusted,
        allowed: Allowed,
        mandatory: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let roots = Arc::clone(&trusted.store);
        let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
        let builder = if mandatory { builder } else { builder.allow_unauthenticated() };
        let inner = builder.build().map_err(|_no_roots| TlsError::NoAuthorities)?;
        Ok(Self { inner, trusted, allowed })
    }
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.inner.verify_client_cert(shown, chain, now) {
            Err(error) if is_as_trusted(&error, shown, &self.trusted) => in_time(shown, now)?,
            outcome => {
                outcome?;
            }
        }
        self.allowed.check(shown)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Signed {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Signed {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Checks servers: signed by an authority, valid, and for the host that was asked for.
#[derive(Debug)]
pub(super) struct Servers {
    /// The name to be shown instead of the host that was dialed.
    instead: Option<ServerName<'static>>,
    inner: Arc<WebPkiServerVerifier>,
    trusted: Trusted,
    allowed: Allowed,
}

impl Servers {
    pub(super) fn new(
        trusted: Trusted,
        allowed: Allowed,
        instead: Option<&str>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let instead = instead.and_then(|name| ServerName::try_from(name.to_owned()).ok());
        let roots = Arc::clone(&trusted.store);
        let builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider));
        let inner = builder.build().map_err(|_no_roots| TlsError::NoAuthorities)?;
        Ok(Self { instead, inner, trusted, allowed })
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = self.instead.as_ref().unwrap_or(name);
        match self.inner.verify_server_cert(shown, chain, name, ocsp, now) {
            Err(error) if is_as_trusted(&error, shown, &self.trusted) => {
                in_time(shown, now)?;
                let identity = PeerIdentity::of(shown).ok_or(CertificateError::BadEncoding)?;
                if !identity.is_for(&name.to_str()) {
                    let presented = identity.dns_names;
                    let expected = name.to_owned();
                    let other = CertificateError::NotValidForNameContext { expected, presented };
                    return Err(other.into());
                }
            }
            outcome => {
                outcome?;
            }
        }
        self.allowed.check(shown)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Signed {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Signed {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Takes any certificate; the connection is encrypted, and that is all.
#[derive(Debug)]
pub(super) struct Anyone {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) allowed: Allowed,
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.allowed.check(shown)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Signed {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Signed {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl Allowed {
    fn check(&self, shown: &CertificateDer<'_>) -> Result<(), Error> {
        if matches!(self, Self::Anyone) {
            return Ok(());
        }
        let identity = PeerIdentity::of(shown).ok_or(CertificateError::BadEncoding)?;
        let fits = match self {
            Self::Anyone => true,
            Self::CommonNames(names) => {
                identity.common_name.as_ref().is_some_and(|name| names.contains(name))
            }
            Self::Hosts(hosts) => hosts.iter().any(|host| identity.is_for(host)),
        };
        // Go tells the other side that such a certificate is bad, and rustls does for this error.
        if fits { Ok(()) } else { Err(CertificateError::NotValidForName.into()) }
    }
}

/// Whether a certificate was refused for being an authority, and is one of those that are trusted.
///
/// `openssl req -x509` makes such certificates, and people use one as its own authority. Go takes it.
fn is_as_trusted(error: &Error, shown: &CertificateDer<'_>, trusted: &Trusted) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::Other(_)))
        && trusted.exact.contains(shown.as_ref())
}

fn in_time(shown: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, certificate) =
        X509Certificate::from_der(shown).map_err(|_damaged| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}
