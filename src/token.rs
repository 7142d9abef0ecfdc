//! The discovery token: one bootstrap of one cluster, and a secret.
//!
//! Whoever knows a token can register in its cluster, so logs, metrics and page titles show the
//! [`PublicId`] only. A token keeps the spelling it was made with: the ids of etcd members depend
//! on every byte of the discovery URL.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// A token of the short form: 40 or 32 hexadecimal digits, or a UUID.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(String);

/// What may be shown of a token: the first 12 hexadecimal digits of its SHA-256.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicId(String);

/// The address of a token's read-only page: the public id, and 20 hexadecimal digits that only who
/// knows the token can compute.
///
/// It is for those who may look but not join: the token does not follow from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ViewId(String);

/// Where a token lives below the public URL; the key of everything stored about it.
///
/// Two forms exist: `/<token>`, made by `/new` or by hand, and `/v2/keys/<any path>`, the spelling
/// of an etcd v2 store. They are different tokens even when they end alike, because the discovery
/// URL differs and with it the id of every member.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenPath(Arc<str>);

/// Why a text is no token or no path of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a token is 40 or 32 hexadecimal digits or a UUID")]
    NoToken,
    #[error("a public id has twelve lower-case hexadecimal digits")]
    NoId,
    #[error("a view id has 32 lower-case hexadecimal digits")]
    NoViewId,
    #[error("a token path has at most {MAX_PATH_BYTES} bytes, not {bytes}")]
    PathTooLong { bytes: usize },
    #[error("a token path is made of letters, digits and `-._~` between slashes, not `{segment}`")]
    PathSegment { segment: String },
    #[error("the token's path is missing after /v2/keys/")]
    PathEmpty,
    #[error(
        "the token is missing: nothing stands between two slashes; was a variable empty, or \
         `uuidgen` not there?"
    )]
    PathGap,
}

/// The longest path of a raw token.
pub const MAX_PATH_BYTES: usize = 256;

/// The prefix of the raw form in URLs; etcd's keys leave it out.
const RAW_PREFIX: &str = "/v2/keys";

impl Token {
    /// A fresh token of 160 random bits.
    pub fn draw() -> Self {
        let bits: [u8; 20] = rand::random();
        Self(HEXLOWER.encode(&bits))
    }

    /// The whole token; only for URLs handed to whoever asked for it.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// What logs may show.
    pub fn public_id(&self) -> PublicId {
        PublicId::of(&self.0)
    }
}

impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let fits = match text.len() {
            32 | 40 => is_hex(text),
            36 => {
                let groups: Vec<&str> = text.split('-').collect();
                groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
                    && groups.iter().all(|group| is_hex(group))
            }
            _ => false,
        };
        if fits { Ok(Self(text.to_owned())) } else { Err(Error::NoToken) }
    }
}

impl TokenPath {
    /// The path of a token in the short form.
    pub fn short(token: &Token) -> Self {
        Self(format!("/{}", token.0).into())
    }

    /// The path of a token in the raw form, from the segments after `/v2/keys`.
    ///
    /// Bytes that a client might percent-encode are refused: two spellings of one path would be
    /// two discovery URLs.
    pub fn raw<'a>(segments: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let mut path = RAW_PREFIX.to_owned();
        for segment in segments {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            if matches!(segment, "" | "." | "..") || !segment.bytes().all(plain) {
                return Err(Error::PathSegment { segment: segment.to_owned() });
            }
            path.push('/');
            path.push_str(segment);
        }
        match path.len() {
            len if len == RAW_PREFIX.len() => Err(Error::PathEmpty),
            len if len > MAX_PATH_BYTES => Err(Error::PathTooLong { bytes: len }),
            _ => Ok(Self(path.into())),
        }
    }

    /// Takes back a path that [`TokenPath::as_str`] gave, as storage does.
    pub fn stored(path: String) -> Self {
        Self(path.into())
    }

    /// The path below the public URL, with a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory key that v2 answers show.
    pub fn key(&self) -> &str {
        self.0.strip_prefix(RAW_PREFIX).unwrap_or(&self.0)
    }

    /// The one spelling of the discovery URL that every member must use.
    pub fn discovery_url(&self, public_url: &str) -> String {
        format!("{public_url}{}", self.0)
    }

    /// The bare token, if this is the path of one; only for the nodes that sent it.
    pub fn token(&self) -> Option<&str> {
        match self.0.strip_prefix(RAW_PREFIX) {
            Some(_) => None,
            None => self.0.strip_prefix('/'),
        }
    }

    /// The token that a path of the raw form ends in, if nobody could guess it.
    pub fn end(&self) -> Option<Token> {
        let (_, last) = self.0.strip_prefix(RAW_PREFIX)?.rsplit_once('/')?;
        last.parse().ok()
    }

    /// Where the read-only page is.
    pub fn view_id(&self) -> ViewId {
        ViewId::of(self)
    }

    /// A text about this token with the token taken out of it, for those who must not know it.
    pub fn redact(&self, text: &str) -> String {
        let secret = self.token().unwrap_or(&self.0);
        text.replace(secret, &format!("<token {}>", self.public_id()))
    }

    /// What logs may show.
    pub fn public_id(&self) -> PublicId {
        PublicId::of(self.id_source())
    }

    /// The bits of the public id.
    pub fn id_bits(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes[2..].copy_from_slice(&PublicId::hash(self.id_source()));
        u64::from_be_bytes(bytes)
    }

    fn id_source(&self) -> &str {
        match self.0.strip_prefix(RAW_PREFIX) {
            Some(key) => key,
            None => self.0.trim_start_matches('/'),
        }
    }
}

impl ViewId {
    /// Keeps these hashes apart from all others of the same text, such as the public id.
    const DOMAIN: &[u8] = b"quorate view\0";
    const ID_DIGITS: usize = 12;

    fn of(path: &TokenPath) -> Self {
        let hash = Sha256::new().chain_update(Self::DOMAIN).chain_update(path.as_str()).finalize();
        Self(format!("{}{}", path.public_id(), HEXLOWER.encode(&hash[..10])))
    }

    /// The public id of the token whose page this may be.
    pub fn public_id(&self) -> PublicId {
        PublicId(self.0[..Self::ID_DIGITS].to_owned())
    }
}

impl fmt::Display for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ViewId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 32 && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::NoViewId)
        }
    }
}

impl PublicId {
    fn of(secret: &str) -> Self {
        Self(HEXLOWER.encode(&Self::hash(secret)))
    }

    fn hash(secret: &str) -> [u8; 6] {
        let hash = Sha256::digest(secret.as_bytes());
        hash[..6].try_into().expect("a SHA-256 is longer")
    }

    /// The 48 bits behind the digits.
    pub fn bits(&self) -> u64 {
        u64::from_str_radix(&self.0, 16).expect("a public id has twelve hexadecimal digits")
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PublicId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 12 && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::NoId)
        }
    }
}

impl fmt::Display for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token#{}", self.public_id())
    }
}

impl fmt::Debug for TokenPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenPath#{}", self.public_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_tokens_are_40_lower_case_digits_and_differ() {
        let (one, other) = (Token::draw(), Token::draw());
        assert_ne!(one, other);
        assert_eq!(one.secret().len(), 40);
        assert!(one.secret().bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        assert_eq!(one.secret().parse::<Token>().unwrap(), one);
    }

    #[test]
    fn forms_made_elsewhere_are_tokens_and_other_texts_are_not() {
        for text in [
            "6c007a14875d53d9bf0ef5a6fc0257c8",
            "6c007a14875d53d9bf0ef5a6fc0257c86c007a14",
            "6c007a14-875d-53d9-bf0e-f5a6fc0257c8",
            "6C007A14-875D-53D9-BF0E-F5A6FC0257C8",
        ] {
            assert_eq!(text.parse::<Token>().unwrap().secret(), text);
        }
        for text in [
            "",
            "new",
            "6c007a14875d53d9bf0ef5a6fc0257c",
            "6c007a14875d53d9bf0ef5a6fc0257cg",
            "6c007a1487-5d-53d9-bf0e-f5a6fc0257c8",
            "6c007a14é875d53d9bf0ef5a6fc0257c",
        ] {
            assert_eq!(text.parse::<Token>(), Err(Error::NoToken), "{text}");
        }
    }

    #[test]
    fn logs_show_the_public_id_only() {
        let token: Token = "6c007a14875d53d9bf0ef5a6fc0257c8".parse().unwrap();
        let path = TokenPath::short(&token);
        assert_eq!(path.public_id(), token.public_id());
        assert_eq!(path.public_id().bits(), path.id_bits());
        assert_eq!(path.public_id().as_str().len(), 12);
        for shown in [format!("{token:?}"), format!("{path:?}")] {
            assert!(!shown.contains("6c007a14"), "{shown}");
            assert!(shown.contains(token.public_id().as_str()), "{shown}");
        }
    }

    #[test]
    fn a_view_id_leads_to_the_page_and_not_to_the_token() {
        let short = TokenPath::short(&"6c007a14875d53d9bf0ef5a6fc0257c8".parse().unwrap());
        let raw = TokenPath::raw(["6c007a14875d53d9bf0ef5a6fc0257c8"]).unwrap();
        let shown = short.view_id().to_string();
        assert_eq!(shown.parse::<ViewId>().unwrap(), short.view_id());
        assert_eq!(short.view_id().public_id(), short.public_id());
        assert_ne!(short.view_id(), raw.view_id());
        for text in ["", "0", &format!("+{}", &shown[1..]), &format!("A{}", &shown[1..])] {
            assert_eq!(text.parse::<ViewId>(), Err(Error::NoViewId), "{text}");
        }
    }

    #[test]
    fn both_forms_know_their_key_and_their_url() {
        let short = TokenPath::short(&"6c007a14875d53d9bf0ef5a6fc0257c8".parse().unwrap());
        assert_eq!(short.key(), "/6c007a14875d53d9bf0ef5a6fc0257c8");
        assert_eq!(
            short.discovery_url("http://h:1"),
            "http://h:1/6c007a14875d53d9bf0ef5a6fc0257c8"
        );
        let raw = TokenPath::raw(["discovery", "tok1"]).unwrap();
        assert_eq!(raw.key(), "/discovery/tok1");
        assert_eq!(raw.discovery_url("http://h:1"), "http://h:1/v2/keys/discovery/tok1");
        assert_eq!((short.end(), raw.end()), (None, None), "a word is no secret");
        let by_hand = TokenPath::raw(["discovery", &short.key()[1..]]).unwrap();
        assert_eq!(by_hand.end().unwrap().secret(), &short.key()[1..]);
    }

    #[test]
    fn paths_with_more_than_one_spelling_are_refused() {
        for segments in [vec!["a b"], vec!["a%20b"], vec!["..", "a"], vec!["a", ""], vec!["é"]] {
            assert!(matches!(TokenPath::raw(segments), Err(Error::PathSegment { .. })));
        }
        assert_eq!(TokenPath::raw([]), Err(Error::PathEmpty));
        let long = "a".repeat(MAX_PATH_BYTES);
        assert!(matches!(TokenPath::raw([long.as_str()]), Err(Error::PathTooLong { .. })));
    }
}
