use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation, decode, encode,
};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo, X509Certificate};

use super::Holder;
use super::ring_keys::{self, SigningKey};

// What kind of key a public one is (RFC 8017 §A.1, RFC 5480 §2.1.1, RFC 8410 §3).
const ID_RSA: &str = "1.2.840.113549.1.1.1";
const ID_EC: &str = "1.2.840.10045.2.1";
const ID_ED25519: &str = "1.3.101.112";

/// Tokens that carry who they are for, signed (etcd `auth/jwt.go`).
#[derive(Clone)]
pub struct Jwt {
    algorithm: Algorithm,
    /// `None` on a member that only has the public key: it checks tokens and gives out none.
    signing: Option<EncodingKey>,
    verifying: DecodingKey,
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
    #[error("auth: token cannot be signed: {0}")]
    Signing(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    username: String,
    revision: u64,
    exp: u64,
}

/// What must be there in a token that somebody else may have signed; etcd does not insist on times, but
/// checks `exp` and `nbf`, and takes 0 for none. That one was issued in the future (`iat`) only its earlier
/// releases mind: clocks differ.
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
        algorithm: Algorithm,
        public: Option<&[u8]>,
        private: Option<&[u8]>,
        ttl: Duration,
    ) -> Result<Self, JwtError> {
        ring_keys::install();
        let family = algorithm.family();
        if family == AlgorithmFamily::Hmac {
            // The bytes of the private key's file, whatever they are.
            let secret = private.filter(|secret| !secret.is_empty());
            let (signing, verifying) = ring_keys::secret(secret.ok_or(JwtError::MissingKey)?);
            return Ok(Self { algorithm, signing: Some(signing), verifying, ttl });
        }
        let bad = |which: &'static str| {
            move |why: String| JwtError::BadKey { which, method: name(algorithm), why }
        };
        let private = private.map(|pem| private_key(algorithm, pem)).transpose();
        let private = private.map_err(bad("priv-key"))?;
        let public =
            public.map(|pem| public_key(algorithm, pem)).transpose().map_err(bad("pub-key"))?;
        let of_private = match &private {
            Some(der) => SigningKey::read(algorithm, der)
                .map_err(|error| bad("priv-key")(error.to_string()))?
                .public(),
            None => None,
        };
        let verifying = match (of_private, public) {
            (Some(own), Some(given)) if own != given => return Err(JwtError::KeyMismatch),
            (Some(key), _) | (None, Some(key)) => key,
            (None, None) => return Err(JwtError::MissingKey),
        };
        let (signing, verifying) = match family {
            AlgorithmFamily::Rsa => (
                private.map(|der| EncodingKey::from_rsa_der(&der)),
                DecodingKey::from_rsa_der(&verifying),
            ),
            AlgorithmFamily::Ec => (
                private.map(|der| EncodingKey::from_ec_der(&der)),
                DecodingKey::from_ec_der(&verifying),
            ),
            _ => (
                private.map(|der| EncodingKey::from_ed_der(&der)),
                DecodingKey::from_ed_der(&verifying),
            ),
        };
        Ok(Self { algorithm, signing, verifying, ttl })
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
        encode(&Header::new(self.algorithm), &claims, key)
            .map_err(|error| JwtError::Signing(error.to_string()))
    }

    pub(super) fn holder(&self, token: &str, now: SystemTime) -> Option<Holder> {
        let mut validation = Validation::new(self.algorithm);
        validation.required_spec_claims.clear();
        validation.validate_aud = false;
        // Checked below, without leeway and against the caller's clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = decode::<SeenClaims>(token, &self.verifying, &validation).ok()?.claims;
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
        write!(f, "Jwt({:?}, signs: {signs}, ttl: {:?})", self.algorithm, self.ttl)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm.family() {
        AlgorithmFamily::Hmac => "HMAC",
        AlgorithmFamily::Rsa => "RSA",
        AlgorithmFamily::Ec => "ECDSA",
        _ => "EdDSA",
    }
}

/// What the signer takes: PKCS#1 for RSA, PKCS#8 for curves.
fn private_key(algorithm: Algorithm, pem: &[u8]) -> Result<Vec<u8>, String> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| unreadable(&error))?;
    match (algorithm.family(), key) {
        (AlgorithmFamily::Rsa, PrivateKeyDer::Pkcs1(key)) => Ok(key.secret_pkcs1_der().to_vec()),
        (AlgorithmFamily::Rsa, PrivateKeyDer::Pkcs8(key)) => {
            // `ring` reads PKCS#8 itself, but the token library hands out PKCS#1.
            inner_of_pkcs8(key.secret_pkcs8_der()).ok_or_else(|| "not a PKCS#8 key".to_owned())
        }
        (AlgorithmFamily::Ec, PrivateKeyDer::Sec1(key)) => {
            Ok(sec1_as_pkcs8(algorithm, key.secret_sec1_der()))
        }
        (AlgorithmFamily::Ec | AlgorithmFamily::Ed, PrivateKeyDer::Pkcs8(key)) => {
            Ok(key.secret_pkcs8_der().to_vec())
        }
        _ => Err("it is of another kind".to_owned()),
    }
}

/// The bare key in a public key or a certificate, as Go reads either.
fn public_key(algorithm: Algorithm, pem: &[u8]) -> Result<Vec<u8>, String> {
    let bare = |spki: &SubjectPublicKeyInfo<'_>| {
        let key = &spki.subject_public_key.data;
        let fits = match (algorithm, spki.algorithm.algorithm.to_id_string().as_str()) {
            // A point of the curve, not compressed (SEC 1 §2.3.3).
            (Algorithm::ES256, ID_EC) => key.len() == 65,
            (Algorithm::ES384, ID_EC) => key.len() == 97,
            (_, id) => match algorithm.family() {
                AlgorithmFamily::Rsa => id == ID_RSA,
                AlgorithmFamily::Ed => id == ID_ED25519,
                _ => false,
            },
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
fn sec1_as_pkcs8(algorithm: Algorithm, sec1: &[u8]) -> Vec<u8> {
    /// `id-ecPublicKey` and the curve, in one sequence (RFC 5480 §2.1.1).
    const P256: &[u8] =
        b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    const P384: &[u8] = b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
    let curve = if algorithm == Algorithm::ES384 { P384 } else { P256 };
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
