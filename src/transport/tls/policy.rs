use std::str::FromStr;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};

/// Cipher suites that Go names and that this library, for good reasons, does not have.
const NOT_SPOKEN: [&str; 18] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_FALLBACK_SCSV",
    "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
];

static ONLY_12: [&SupportedProtocolVersion; 1] = [&version::TLS12];
static ONLY_13: [&SupportedProtocolVersion; 1] = [&version::TLS13];
static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

/// A version of the protocol; older ones are not spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Tls12,
    Tls13,
}

/// Which versions and cipher suites are spoken. The default is all that are safe.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    pub min: Option<Version>,
    pub max: Option<Version>,
    /// Suites of TLS 1.2, as IANA names them; empty for all. Those of 1.3 are always spoken.
    suites: Vec<SupportedCipherSuite>,
}

/// Words of a policy that are none, or exclude each other. The texts are etcd's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("unexpected TLS version \"{0}\"")]
    Version(String),
    #[error("unexpected TLS cipher suite \"{0}\"")]
    Suite(String),
    #[error("min version ({min}) is greater than max version ({max})")]
    Order { min: &'static str, max: &'static str },
    #[error("cipher suites cannot be configured when only TLS1.3 is enabled")]
    SuitesOfTls13,
    #[error(
        "--cipher-suites names only suites without forward secrecy or authenticated encryption, \
         which this program does not speak; add one such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    )]
    OnlyUnsafe,
}

impl Eq for Policy {}

impl Version {
    fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "TLS1.2",
            Self::Tls13 => "TLS1.3",
        }
    }
}

impl FromStr for Version {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        match text {
            "TLS1.2" => Ok(Self::Tls12),
            "TLS1.3" => Ok(Self::Tls13),
            other => Err(PolicyError::Version(other.to_owned())),
        }
    }
}

impl Policy {
    /// Checks a policy; the suites that were named and are not spoken come with it.
    pub fn new(
        min: Option<Version>,
        max: Option<Version>,
        names: &[&str],
    ) -> Result<(Self, Vec<String>), PolicyError> {
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            return Err(PolicyError::Order { min: min.name(), max: max.name() });
        }
        if min == Some(Version::Tls13) && !names.is_empty() {
            return Err(PolicyError::SuitesOfTls13);
        }
        let mut suites = Vec::new();
        let mut not_spoken = Vec::new();
        let mut of_tls13 = false;
        for &name in names {
            let known = ring::ALL_CIPHER_SUITES.iter().find(|suite| suite_name(suite) == name);
            // Go has older names for these two.
            let known = known.or_else(|| {
                let longer = format!("{name}_SHA256");
                let chacha = name.ends_with("CHACHA20_POLY1305");
                ring::ALL_CIPHER_SUITES.iter().find(|suite| chacha && suite_name(suite) == longer)
            });
            match known {
                Some(suite) if suite.tls13().is_some() => of_tls13 = true,
                Some(suite) => suites.push(*suite),
                None if NOT_SPOKEN.contains(&name) => not_spoken.push(name.to_owned()),
                None => return Err(PolicyError::Suite(name.to_owned())),
            }
        }
        if suites.is_empty() && !not_spoken.is_empty() && !of_tls13 {
            return Err(PolicyError::OnlyUnsafe);
        }
        Ok((Self { min, max, suites }, not_spoken))
    }

    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        let mut provider = ring::default_provider();
        if !self.suites.is_empty() {
            let kept = |suite: &SupportedCipherSuite| {
                suite.tls13().is_some() || self.suites.contains(suite)
            };
            provider.cipher_suites.retain(kept);
        }
        Arc::new(provider)
    }

    pub(super) fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        match (self.min, self.max) {
            (Some(Version::Tls13), _) => &ONLY_13,
            (_, Some(Version::Tls12)) => &ONLY_12,
            _ => &BOTH,
        }
    }
}

/// IANA's name; the library marks those of TLS 1.3.
fn suite_name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_and_versions_are_judged_as_in_etcd() {
        let gcm = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        let cbc = "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA";
        let (policy, not_spoken) = Policy::new(None, None, &[gcm, cbc]).unwrap();
        assert_eq!(not_spoken, [cbc]);
        let names: Vec<_> = policy.provider().cipher_suites.iter().map(suite_name).collect();
        assert_eq!(names.iter().filter(|name| name.contains("ECDHE")).count(), 1, "{names:?}");
        assert!(names.contains(&"TLS_AES_128_GCM_SHA256".to_owned()), "{names:?}");
        assert!(Policy::new(None, None, &["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"]).is_ok());
        let refused = |min: Option<Version>, max: Option<Version>, names: &[&str]| {
            Policy::new(min, max, names).unwrap_err().to_string()
        };
        assert_eq!(refused(None, None, &["TLS_NONE"]), "unexpected TLS cipher suite \"TLS_NONE\"");
        assert_eq!(
            refused(Some(Version::Tls13), Some(Version::Tls12), &[]),
            "min version (TLS1.3) is greater than max version (TLS1.2)"
        );
        assert_eq!(
            refused(Some(Version::Tls13), None, &[gcm]),
            "cipher suites cannot be configured when only TLS1.3 is enabled"
        );
        assert_eq!(refused(None, None, &[cbc]), PolicyError::OnlyUnsafe.to_string());
        let error = "TLS1.1".parse::<Version>().unwrap_err();
        assert_eq!(error.to_string(), "unexpected TLS version \"TLS1.1\"");
    }
}
