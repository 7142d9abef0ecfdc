//! The signatures of JSON web tokens (RFC 7518 §3, RFC 8037) by ring.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaEncoding, UnparsedPublicKey};
use ring::{hmac, rsa};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| {
        let key = SigningKey::read(*algorithm, key.as_bytes())?;
        Ok(Box::new(RingSigner { algorithm: *algorithm, key }))
    },
    verifier_factory: |algorithm, key| {
        Ok(Box::new(RingVerifier { algorithm: *algorithm, key: key.clone() }))
    },
    // Of key sets as JSON, which nothing here reads.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Lets the token library sign and verify. A second call changes nothing.
pub(super) fn install() {
    // Refused when it is there already.
    let _ = PROVIDER.install_default();
}

/// A key that can sign.
pub(super) enum SigningKey {
    Hmac(hmac::Key),
    Rsa(rsa::KeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

struct RingSigner {
    algorithm: Algorithm,
    key: SigningKey,
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl SigningKey {
    /// Reads a key: bytes for HMAC, PKCS#1 for RSA, PKCS#8 for curves.
    pub(super) fn read(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, Error> {
        use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512};
        use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
        let rsa = |encoding| match rsa::KeyPair::from_der(bytes) {
            Ok(pair) => Ok(Self::Rsa(pair, encoding)),
            Err(why) => Err(ErrorKind::InvalidRsaKey(why.to_string())),
        };
        let ec = |curve| match EcdsaKeyPair::from_pkcs8(curve, bytes, &SystemRandom::new()) {
            Ok(pair) => Ok(Self::Ec(pair)),
            Err(_) => Err(ErrorKind::InvalidEcdsaKey),
        };
        Ok(match algorithm {
            HS256 => Self::Hmac(hmac::Key::new(hmac::HMAC_SHA256, bytes)),
            HS384 => Self::Hmac(hmac::Key::new(hmac::HMAC_SHA384, bytes)),
            HS512 => Self::Hmac(hmac::Key::new(hmac::HMAC_SHA512, bytes)),
            RS256 => rsa(&signature::RSA_PKCS1_SHA256)?,
            RS384 => rsa(&signature::RSA_PKCS1_SHA384)?,
            RS512 => rsa(&signature::RSA_PKCS1_SHA512)?,
            PS256 => rsa(&signature::RSA_PSS_SHA256)?,
            PS384 => rsa(&signature::RSA_PSS_SHA384)?,
            PS512 => rsa(&signature::RSA_PSS_SHA512)?,
            ES256 => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)?,
            ES384 => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING)?,
            EdDSA => Self::Ed(
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes)
                    .ok()
                    .ok_or(ErrorKind::InvalidEddsaKey)?,
            ),
            _ => return Err(ErrorKind::InvalidAlgorithm.into()),
        })
    }

    /// The public half as the verifier takes it; nothing for a shared secret.
    pub(super) fn public(&self) -> Option<Vec<u8>> {
        use signature::KeyPair as _;
        match self {
            Self::Hmac(_) => None,
            Self::Rsa(pair, _) => Some(pair.public_key().as_ref().to_vec()),
            Self::Ec(pair) => Some(pair.public_key().as_ref().to_vec()),
            Self::Ed(pair) => Some(pair.public_key().as_ref().to_vec()),
        }
    }
}

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let random = SystemRandom::new();
        let failed = |_| SignatureError::new();
        match &self.key {
            SigningKey::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            SigningKey::Rsa(pair, encoding) => {
                let mut signed = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, message, &mut signed).map_err(failed)?;
                Ok(signed)
            }
            SigningKey::Ec(pair) => {
                Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec())
            }
            SigningKey::Ed(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> Result<(), SignatureError> {
        let key = self.key.try_get_as_bytes().map_err(SignatureError::from_source)?;
        let by = |algorithm: &'static dyn signature::VerificationAlgorithm| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signed)
        };
        let by_secret = |algorithm| hmac::verify(&hmac::Key::new(algorithm, key), message, signed);
        let verified = match self.algorithm {
            Algorithm::HS256 => by_secret(hmac::HMAC_SHA256),
            Algorithm::HS384 => by_secret(hmac::HMAC_SHA384),
            Algorithm::HS512 => by_secret(hmac::HMAC_SHA512),
            Algorithm::RS256 => by(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => by(&signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => by(&signature::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => by(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => by(&signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => by(&signature::RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => by(&signature::ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => by(&signature::ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => by(&signature::ED25519),
            _ => return Err(SignatureError::new()),
        };
        verified.map_err(|_unspecified| SignatureError::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// The keys of a shared secret.
pub(super) fn secret(bytes: &[u8]) -> (EncodingKey, DecodingKey) {
    (EncodingKey::from_secret(bytes), DecodingKey::from_secret(bytes))
}
