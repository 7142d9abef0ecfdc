use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo, X509Certificate};

use super::keys::{SigningKey, VerifyingKey};
use super::method::{Bits, Method};
use super::{Holder, jws};

// What kind of key a public one is (RFC 8017 §A.1, RFC 5480 §2.1.1, RFC 8410 §3).
const ID_RSA: &str = "1.2.840.113549.1.1.1";
const ID_EC: &str = "1.2.840.10045.2.1";
const ID_ED25519: &str = "1.3.101.112";

/// Tokens that carry who they are for, signed (etcd `auth/jwt.go`).
#[derive(Clone)]
pub struct Jwt {
    method: Method,
    /// `None` on a member that only has the public key: it checks tokens and gives out none.
    signing: Option<Arc<SigningKey>>,
    verifying: VerifyingKey,
    ttl: Duration,
}

/// Why tokens cannot be signed or checked. The texts are etcd's where it has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    #[error("auth: missing key data")]
    MissingKey,
    #[error("auth: public and private keys don't match")]
    KeyMismatch,
    #[error("auth: token signing attempted with verify-only key")]
    VerifyOnly,
    #[error("{which} is no key for {method}: {why}")]
    BadKey { which: &'static str, method: &'static str, why: String },
    #[error(
        "auth: token cannot be signed: priv-key is too short for {0}, or there are no random numbers"
    )]
    Signing(Method),
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    username: String,
    revision: u64,
    exp: u64,
}

/// What must be there in a token that somebody else may have signed; etcd does not insist on times, but
/// checks `exp` and `nbf`, and takes 0 for none. That one was issued in the future (`iat`) only
/// releases before 3.6 mind: clocks differ.
#[derive(Debug, Deserialize)]
struct SeenClaims {
    username: String,
    revision: f64,
    exp: Option<f64>,
    nbf: Option<f64>,
}

impl Jwt {
    /// A signer, from the contents of the key files; either may be missing.
    pub fn new(
        method: Method,
        public: Option<&[u8]>,
        private: Option<&[u8]>,
        ttl: Duration,
    ) -> Result<Self, JwtError> {
        let bad = |which: &'static str| {
            move |why: String| JwtError::BadKey { which, method: method.keys(), why }
        };
        if matches!(method, Method::Hs(_)) {
            // The bytes of the private key's file, whatever they are.
            let secret = private.filter(|secret| !secret.is_empty());
            let secret = secret.ok_or(JwtError::MissingKey)?;
            let signing = SigningKey::read(method, secret).map_err(bad("priv-key"))?;
            let verifying = VerifyingKey::read(method, secret).map_err(bad("priv-key"))?;
            return Ok(Self { method, signing: Some(Arc::new(signing)), verifying, ttl });
        }
        let private = private.map(|pem| SigningKey::read(method, &private_key(method, pem)?));
        let private = private.transpose().map_err(bad("priv-key"))?;
        let public =
            public.map(|pem| public_key(method, pem)).transpose().map_err(bad("pub-key"))?;
        let verifying = match (private.as_ref().and_then(SigningKey::public), public) {
            (Some(own), Some(given)) if own != given => return Err(JwtError::KeyMismatch),
            (Some(key), _) | (None, Some(key)) => key,
            (None, None) => return Err(JwtError::MissingKey),
        };
        let verifying = VerifyingKey::read(method, &verifying).map_err(bad("pub-key"))?;
        Ok(Self { method, signing: private.map(Arc::new), verifying, ttl })
    }

    pub(super) fn sign(
        &self,
        user: &str,
        revision: u64,
        now: SystemTime,
    ) -> Result<String, JwtError> {
        let key = self.signing.as_ref().ok_or(JwtError::VerifyOnly)?;
        let exp = seconds(now + self.ttl);
        let claims = Claims { username: user.to_owned(), revision, exp };
        let claims = serde_json::to_vec(&claims).expect("text and numbers can be written as JSON");
        jws::sign(self.method, key, &claims).ok_or(JwtError::Signing(self.method))
    }

    pub(super) fn holder(&self, token: &str, now: SystemTime) -> Option<Holder> {
        let claims = jws::verify(self.method, &self.verifying, token)?;
        let claims = SeenClaims::deserialize(Value::Object(claims)).ok()?;
        let SeenClaims { username, revision, exp, nbf } = claims;
        #[expect(clippy::cast_precision_loss, reason = "seconds stay exact for ages")]
        let now = seconds(now) as f64;
        let has_ended = exp.is_some_and(|exp| exp != 0.0 && exp <= now);
        let begins_later = nbf.is_some_and(|nbf| nbf > now);
        if has_ended || begins_later || revision < 0.0 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as in etcd")]
        Some(Holder { user: username, revision: Some(revision as u64) })
    }
}

impl std::fmt::Debug for Jwt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let signs = self.signing.is_some();
        write!(f, "Jwt({}, signs: {signs}, ttl: {:?})", self.method, self.ttl)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

/// What the signer takes: PKCS#1 for RSA, PKCS#8 for curves.
fn private_key(method: Method, pem: &[u8]) -> Result<Vec<u8>, String> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| unreadable(&error))?;
    match (method, key) {
        (Method::Rs(_) | Method::Ps(_), PrivateKeyDer::Pkcs1(key)) => {
            Ok(key.secret_pkcs1_der().to_vec())
        }
        (Method::Rs(_) | Method::Ps(_), PrivateKeyDer::Pkcs8(key)) => {
            // One form for both files.
            inner_of_pkcs8(key.secret_pkcs8_der()).ok_or_else(|| "not a PKCS#8 key".to_owned())
        }
        (Method::Es(curve), PrivateKeyDer::Sec1(key)) => {
            Ok(sec1_as_pkcs8(curve, key.secret_sec1_der()))
        }
        (Method::Es(_) | Method::EdDsa, PrivateKeyDer::Pkcs8(key)) => {
            Ok(key.secret_pkcs8_der().to_vec())
        }
        _ => Err("it is of another kind".to_owned()),
    }
}

/// The bare key in a public key or a certificate, as Go reads either.
fn public_key(method: Method, pem: &[u8]) -> Result<Vec<u8>, String> {
    let bare = |spki: &SubjectPublicKeyInfo<'_>| {
        let key = &spki.subject_public_key.data;
        let id = spki.algorithm.algorithm.to_id_string();
        let fits = match method {
            // A point of the curve, not compressed (SEC 1 §2.3.3).
            Method::Es(Bits::B256) => id == ID_EC && key.len() == 65,
            Method::Es(Bits::B384) => id == ID_EC && key.len() == 97,
            Method::Es(Bits::B512) => id == ID_EC && key.len() == 133,
            Method::Rs(_) | Method::Ps(_) => id == ID_RSA,
            Method::EdDsa => id == ID_ED25519,
            Method::Hs(_) => false,
        };
        if fits { Ok(key.to_vec()) } else { Err("it is of another kind".to_owned()) }
    };
    if let Ok(spki) = SubjectPublicKeyInfoDer::from_pem_slice(pem) {
        let (_, spki) = SubjectPublicKeyInfo::from_der(&spki).map_err(|error| error.to_string())?;
        return bare(&spki);
    }
    let certificate = CertificateDer::from_pem_slice(pem).map_err(|error| unreadable(&error))?;
    let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|error| error.to_string())?;
    bare(parsed.public_key())
}

fn unreadable(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "there is no such key in the file".to_owned(),
        error => error.to_string(),
    }
}

/// The content of the `privateKey` of a `PrivateKeyInfo` (RFC 5208 §5).
fn inner_of_pkcs8(der: &[u8]) -> Option<Vec<u8>> {
    use x509_parser::asn1_rs::{Any, FromDer, Sequence};
    let (_, whole) = Sequence::from_der(der).ok()?;
    let (rest, _version) = Any::from_der(&whole.content).ok()?;
    let (rest, _algorithm) = Any::from_der(rest).ok()?;
    let (_, key) = Any::from_der(rest).ok()?;
    Some(key.data.to_vec())
}

/// Wraps the key of `openssl ecparam` (RFC 5915) as the other one (RFC 5208).
fn sec1_as_pkcs8(curve: Bits, sec1: &[u8]) -> Vec<u8> {
    /// `id-ecPublicKey` and the curve, in one sequence (RFC 5480 §2.1.1).
    const P256: &[u8] =
        b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    const P384: &[u8] = b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
    const P521: &[u8] = b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23";
    let curve = match curve {
        Bits::B256 => P256,
        Bits::B384 => P384,
        Bits::B512 => P521,
    };
    let version: &[u8] = b"\x02\x01\x00";
    let content = [version, curve, &tagged(0x04, sec1)].concat();
    tagged(0x30, &content)
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("keys are short").to_be_bytes();
    let head: Vec<u8> = match length {
        [0, short @ 0..=127] => vec![tag, short],
        [0, middle] => vec![tag, 0x81, middle],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [&head[..], content].concat()
}

#[cfg(test)]
mod tests;
