//! The signatures of JSON web tokens (RFC 7518 §3, RFC 8037): by ring, and by the `p521` crate for the one curve that
//! ring lacks.

use p521::ecdsa::signature::{Signer as _, Verifier as _};
use p521::pkcs8::DecodePrivateKey as _;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaEncoding, UnparsedPublicKey};
use ring::{hmac, rsa};

use super::method::{Bits, Method};

/// A key that can sign.
pub(super) enum SigningKey {
    Hmac(hmac::Key),
    Rsa(rsa::KeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    P521(Box<p521::ecdsa::SigningKey>),
    Ed(Ed25519KeyPair),
}

/// A key that can tell whether a signature is right.
#[derive(Clone)]
pub(super) enum VerifyingKey {
    Secret(hmac::Key),
    /// The bare key of a certificate.
    Public(&'static dyn signature::VerificationAlgorithm, Vec<u8>),
    P521(Box<p521::ecdsa::VerifyingKey>),
}

fn hashed(bits: Bits, secret: &[u8]) -> hmac::Key {
    let algorithm = match bits {
        Bits::B256 => hmac::HMAC_SHA256,
        Bits::B384 => hmac::HMAC_SHA384,
        Bits::B512 => hmac::HMAC_SHA512,
    };
    hmac::Key::new(algorithm, secret)
}

impl SigningKey {
    /// Reads a key: bytes for HMAC, PKCS#1 for RSA, PKCS#8 for curves. What is wrong with it, if anything is.
    pub(super) fn read(method: Method, bytes: &[u8]) -> Result<Self, String> {
        let rsa = |encoding| match rsa::KeyPair::from_der(bytes) {
            Ok(pair) => Ok(Self::Rsa(pair, encoding)),
            Err(why) => Err(why.to_string()),
        };
        let ec = |curve| match EcdsaKeyPair::from_pkcs8(curve, bytes, &SystemRandom::new()) {
            Ok(pair) => Ok(Self::Ec(pair)),
            Err(why) => Err(why.to_string()),
        };
        match method {
            Method::Hs(bits) => Ok(Self::Hmac(hashed(bits, bytes))),
            Method::Rs(Bits::B256) => rsa(&signature::RSA_PKCS1_SHA256),
            Method::Rs(Bits::B384) => rsa(&signature::RSA_PKCS1_SHA384),
            Method::Rs(Bits::B512) => rsa(&signature::RSA_PKCS1_SHA512),
            Method::Ps(Bits::B256) => rsa(&signature::RSA_PSS_SHA256),
            Method::Ps(Bits::B384) => rsa(&signature::RSA_PSS_SHA384),
            Method::Ps(Bits::B512) => rsa(&signature::RSA_PSS_SHA512),
            Method::Es(Bits::B256) => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            Method::Es(Bits::B384) => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            Method::Es(Bits::B512) => match p521::ecdsa::SigningKey::from_pkcs8_der(bytes) {
                Ok(key) => Ok(Self::P521(Box::new(key))),
                Err(why) => Err(why.to_string()),
            },
            Method::EdDsa => match Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes) {
                Ok(pair) => Ok(Self::Ed(pair)),
                Err(why) => Err(why.to_string()),
            },
        }
    }

    /// The public half as [`VerifyingKey::read`] takes it; nothing for a shared secret.
    pub(super) fn public(&self) -> Option<Vec<u8>> {
        use signature::KeyPair as _;
        match self {
            Self::Hmac(_) => None,
            Self::Rsa(pair, _) => Some(pair.public_key().as_ref().to_vec()),
            Self::Ec(pair) => Some(pair.public_key().as_ref().to_vec()),
            Self::P521(key) => Some(key.verifying_key().to_sec1_point(false).as_bytes().to_vec()),
            Self::Ed(pair) => Some(pair.public_key().as_ref().to_vec()),
        }
    }

    /// The signature; `None` when the system has no random numbers, or the key is too short for the method.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Hmac(key) => Some(hmac::sign(key, message).as_ref().to_vec()),
            Self::Rsa(pair, encoding) => {
                let mut signed = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, message, &mut signed).ok()?;
                Some(signed)
            }
            Self::Ec(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
            Self::P521(key) => {
                let signed: p521::ecdsa::Signature = key.try_sign(message).ok()?;
                Some(signed.to_bytes().to_vec())
            }
            Self::Ed(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl VerifyingKey {
    /// Reads a bare public key, or a secret for HMAC. What is wrong with it, if that can be seen already.
    pub(super) fn read(method: Method, bytes: &[u8]) -> Result<Self, String> {
        let algorithm: &'static dyn signature::VerificationAlgorithm = match method {
            Method::Hs(bits) => return Ok(Self::Secret(hashed(bits, bytes))),
            Method::Rs(Bits::B256) => &signature::RSA_PKCS1_2048_8192_SHA256,
            Method::Rs(Bits::B384) => &signature::RSA_PKCS1_2048_8192_SHA384,
            Method::Rs(Bits::B512) => &signature::RSA_PKCS1_2048_8192_SHA512,
            Method::Ps(Bits::B256) => &signature::RSA_PSS_2048_8192_SHA256,
            Method::Ps(Bits::B384) => &signature::RSA_PSS_2048_8192_SHA384,
            Method::Ps(Bits::B512) => &signature::RSA_PSS_2048_8192_SHA512,
            Method::Es(Bits::B256) => &signature::ECDSA_P256_SHA256_FIXED,
            Method::Es(Bits::B384) => &signature::ECDSA_P384_SHA384_FIXED,
            Method::Es(Bits::B512) => {
                return match p521::ecdsa::VerifyingKey::from_sec1_bytes(bytes) {
                    Ok(key) => Ok(Self::P521(Box::new(key))),
                    Err(why) => Err(why.to_string()),
                };
            }
            Method::EdDsa => &signature::ED25519,
        };
        Ok(Self::Public(algorithm, bytes.to_vec()))
    }

    /// Whether the signature is that of this message by the other half of this key.
    pub(super) fn verify(&self, message: &[u8], signed: &[u8]) -> bool {
        match self {
            Self::Secret(key) => hmac::verify(key, message, signed).is_ok(),
            Self::Public(algorithm, key) => {
                UnparsedPublicKey::new(*algorithm, key).verify(message, signed).is_ok()
            }
            Self::P521(key) => p521::ecdsa::Signature::from_slice(signed)
                .is_ok_and(|signed| key.verify(message, &signed).is_ok()),
        }
    }
}
