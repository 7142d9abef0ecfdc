use std::io;
use std::path::{Path, PathBuf};

use rustls::{AlertDescription, CertificateError};

/// Why files of a configuration make no TLS. The texts are Go's where there are some.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("open {}: {reason}", .path.display())]
    Open { path: PathBuf, reason: String },
    #[error("tls: failed to find any PEM data in {what} input `{}`", .path.display())]
    NoPem { path: PathBuf, what: &'static str },
    #[error("`{}` cannot be read: {reason}", .path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "tls: private key does not match public key (certificate `{}`, key `{}`)",
        .cert.display(),
        .key.display()
    )]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("certificate `{}` with key `{}`", .cert.display(), .key.display())]
    Pair { cert: PathBuf, key: PathBuf, source: rustls::Error },
    #[error(
        "this system has no trusted authorities to check certificates with; name a CA file, or set \
         SSL_CERT_FILE"
    )]
    NoAuthorities,
    #[error("the TLS settings exclude each other")]
    Settings(#[from] rustls::Error),
}

impl TlsError {
    pub(super) fn open(path: &Path, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        Self::Open { path: path.to_owned(), reason }
    }
}

/// Why a handshake failed, in Go's words: these are what people search for.
pub fn words(error: &io::Error) -> String {
    match inside(error) {
        Some(error) => tls_words(error),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None if error.kind() == io::ErrorKind::ConnectionReset => {
            "read: connection reset by peer".to_owned()
        }
        None => error.to_string(),
    }
}

/// The error of the TLS library, however deep it is wrapped.
fn inside(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| inside(inner.downcast_ref()?))
}

/// Whether a handshake failed, and not what is below it.
pub fn is_tls(error: &io::Error) -> bool {
    inside(error).is_some()
}

fn tls_words(error: &rustls::Error) -> String {
    use rustls::Error as E;
    match error {
        E::NoCertificatesPresented => "tls: client didn't provide a certificate".to_owned(),
        E::InvalidCertificate(error) => {
            format!("tls: failed to verify certificate: {}", certificate_words(error))
        }
        E::InvalidMessage(_) => "tls: first record does not look like a TLS handshake".to_owned(),
        E::AlertReceived(alert) => format!("remote error: tls: {}", alert_words(*alert)),
        E::PeerIncompatible(
            rustls::PeerIncompatible::Tls12NotOffered
            | rustls::PeerIncompatible::Tls12NotOfferedOrEnabled
            | rustls::PeerIncompatible::Tls13RequiredForQuic
            | rustls::PeerIncompatible::SupportedVersionsExtensionRequired
            // Older versions have no such extension.
            | rustls::PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) => "tls: client offered only unsupported versions".to_owned(),
        E::PeerIncompatible(rustls::PeerIncompatible::NoCipherSuitesInCommon) => {
            "tls: no cipher suite supported by both client and server".to_owned()
        }
        error => format!("tls: {error}"),
    }
}

fn certificate_words(error: &CertificateError) -> String {
    use CertificateError as C;
    match error {
        // An authority of the same name with another key.
        C::UnknownIssuer | C::BadSignature => {
            "x509: certificate signed by unknown authority".to_owned()
        }
        C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. } => {
            format!("x509: certificate has expired or is not yet valid: {error}")
        }
        C::NotValidForNameContext { .. } => {
            format!("x509: certificate is valid for other names: {error}")
        }
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
            "x509: certificate specifies an incompatible key usage".to_owned()
        }
        // Ours: a name that is not allowed. The library itself says which names there are.
        C::NotValidForName => "client certificate authentication failed".to_owned(),
        // The library's own type for what has no other name; webpki's words are in its debug form.
        C::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "x509: certificate is one of an authority, and none of those that are trusted"
                .to_owned()
        }
        error => format!("x509: {error}"),
    }
}

fn alert_words(alert: AlertDescription) -> String {
    use AlertDescription as A;
    match alert {
        A::BadCertificate => "bad certificate".to_owned(),
        A::UnknownCA => "unknown certificate authority".to_owned(),
        A::CertificateExpired => "expired certificate".to_owned(),
        A::CertificateUnknown => "unknown certificate".to_owned(),
        A::CertificateRequired => "certificate required".to_owned(),
        A::HandshakeFailure => "handshake failure".to_owned(),
        A::ProtocolVersion => "protocol version not supported".to_owned(),
        A::AccessDenied => "access denied".to_owned(),
        A::CertificateRevoked => "revoked certificate".to_owned(),
        A::DecodeError => "error decoding message".to_owned(),
        A::DecryptError => "error decrypting message".to_owned(),
        A::InsufficientSecurity => "insufficient security level".to_owned(),
        A::InternalError => "internal error".to_owned(),
        A::NoApplicationProtocol => "no application protocol".to_owned(),
        A::UnrecognisedName => "unrecognized name".to_owned(),
        A::UnsupportedCertificate => "unsupported certificate".to_owned(),
        other => format!("{other:?}"),
    }
}
