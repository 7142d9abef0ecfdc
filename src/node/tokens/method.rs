use std::fmt;
use std::str::FromStr;

/// How tokens are signed (RFC 7518 §3.1, RFC 8037 §3.1): `sign-method` of `--auth-token`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// HMAC with SHA-2.
    Hs(Bits),
    /// RSA in the padding of PKCS #1 v1.5.
    Rs(Bits),
    /// RSA in the padding PSS.
    Ps(Bits),
    /// ECDSA on the curve P-256, P-384 or P-521.
    Es(Bits),
    /// Ed25519.
    EdDsa,
}

/// The length of the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    B256,
    B384,
    B512,
}

const NAMES: [(&str, Method); 13] = [
    ("RS256", Method::Rs(Bits::B256)),
    ("RS384", Method::Rs(Bits::B384)),
    ("RS512", Method::Rs(Bits::B512)),
    ("PS256", Method::Ps(Bits::B256)),
    ("PS384", Method::Ps(Bits::B384)),
    ("PS512", Method::Ps(Bits::B512)),
    ("ES256", Method::Es(Bits::B256)),
    ("ES384", Method::Es(Bits::B384)),
    ("ES512", Method::Es(Bits::B512)),
    ("EdDSA", Method::EdDsa),
    ("HS256", Method::Hs(Bits::B256)),
    ("HS384", Method::Hs(Bits::B384)),
    ("HS512", Method::Hs(Bits::B512)),
];

/// No method has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownMethod;

impl Method {
    /// What the kind of its keys is called.
    pub(super) fn keys(self) -> &'static str {
        match self {
            Self::Hs(_) => "HMAC",
            Self::Rs(_) | Self::Ps(_) => "RSA",
            Self::Es(_) => "ECDSA",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(name: &str) -> Result<Self, UnknownMethod> {
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, method)| *method).ok_or(UnknownMethod)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = NAMES.iter().find(|(_, method)| method == self);
        f.write_str(found.expect("every method has a name").0)
    }
}
