use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use sha1::{Digest, Sha1};

/// A member of a cluster, as etcd numbers it; printed in hexadecimal without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MemberId(pub u64);

/// A cluster, as etcd numbers it; printed in hexadecimal without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClusterId(pub u64);

impl MemberId {
    /// The id of a founding member with these peer URLs.
    ///
    /// `salt` is the cluster token at bootstrap, and the decimal Unix seconds of the request for a
    /// member added later. The order of `urls` does not matter.
    pub fn derive<'a>(urls: impl IntoIterator<Item = &'a str>, salt: &str) -> Self {
        let mut urls: Vec<&str> = urls.into_iter().collect();
        urls.sort_unstable();
        let mut hash = Sha1::new();
        for url in urls {
            hash.update(url.as_bytes());
        }
        hash.update(salt.as_bytes());
        Self(first_eight_bytes(&hash.finalize()))
    }
}

impl ClusterId {
    /// The id of the cluster these members found.
    pub fn derive(members: impl IntoIterator<Item = MemberId>) -> Self {
        let mut members: Vec<MemberId> = members.into_iter().collect();
        members.sort_unstable();
        let mut hash = Sha1::new();
        for member in members {
            hash.update(member.0.to_be_bytes());
        }
        Self(first_eight_bytes(&hash.finalize()))
    }
}

fn first_eight_bytes(digest: &[u8]) -> u64 {
    let (head, _) = digest.split_first_chunk::<8>().expect("a SHA-1 digest has 20 bytes");
    u64::from_be_bytes(*head)
}

macro_rules! hexadecimal {
    ($id:ident) => {
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:x}", self.0)
            }
        }
        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:x}", self.0)
            }
        }
        impl FromStr for $id {
            type Err = ParseIntError;
            fn from_str(text: &str) -> Result<Self, ParseIntError> {
                u64::from_str_radix(text, 16).map(Self)
            }
        }
    };
}

hexadecimal!(MemberId);
hexadecimal!(ClusterId);
