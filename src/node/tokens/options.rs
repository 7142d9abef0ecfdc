use std::path::PathBuf;
use std::time::Duration;

use super::{Jwt, JwtError, Method};

/// How long a signed token lives when nothing else is said.
const DEFAULT_JWT_TTL: Duration = Duration::from_secs(300);
/// How long an unused simple token lives when 0 was said.
const DEFAULT_SIMPLE_TTL: Duration = Duration::from_secs(300);

/// The kind of tokens a node gives out: `--auth-token`.
#[derive(Debug, Clone)]
pub enum TokenOptions {
    Simple {
        /// How long a token lives after its last use.
        ttl: Duration,
    },
    Signed(Box<Jwt>),
}

/// Why `--auth-token` makes no sense; etcd's words come first.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    #[error("auth: invalid auth options")]
    Invalid,
    #[error(
        "auth: invalid auth signature method: `{0}`; know RS256, RS384, RS512, PS256, PS384, \
         PS512, ES256, ES384, ES512, EdDSA, HS256, HS384 and HS512"
    )]
    Method(String),
    #[error("auth: invalid auth options: ttl `{0}` is no duration, such as 10m")]
    Ttl(String),
    #[error("auth: invalid auth options: {which} `{}`", path.display())]
    File { which: &'static str, path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Key(#[from] JwtError),
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self::Simple { ttl: DEFAULT_SIMPLE_TTL }
    }
}

/// Reads `simple`, or `jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=10m` and the files it
/// names. `duration` reads Go's durations.
pub fn parse_options(
    text: &str,
    simple_ttl: Duration,
    duration: impl Fn(&str) -> Option<Duration>,
) -> Result<TokenOptions, OptionsError> {
    let (kind, rest) = text.split_once(',').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
    let mut options: Vec<(&str, &str)> = Vec::new();
    for option in rest.into_iter().flat_map(|rest| rest.split(',')) {
        let pair = option.split_once('=').filter(|(_, value)| !value.contains('='));
        let (key, value) = pair.ok_or(OptionsError::Invalid)?;
        if options.iter().any(|(known, _)| *known == key) {
            return Err(OptionsError::Invalid);
        }
        options.push((key, value));
    }
    let option = |name: &str| {
        let found = options.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| *value).filter(|value| !value.is_empty())
    };
    match kind {
        "" | "simple" => {
            let ttl = if simple_ttl.is_zero() { DEFAULT_SIMPLE_TTL } else { simple_ttl };
            Ok(TokenOptions::Simple { ttl })
        }
        "jwt" => {
            let ttl = match option("ttl") {
                Some(text) => duration(text).ok_or_else(|| OptionsError::Ttl(text.to_owned()))?,
                None => DEFAULT_JWT_TTL,
            };
            let method = option("sign-method").unwrap_or_default();
            let method: Method =
                method.parse().ok().ok_or_else(|| OptionsError::Method(method.to_owned()))?;
            let read =
                |which: &'static str| match option(which) {
                    None => Ok(None),
                    Some(path) => std::fs::read(path).map(Some).map_err(|source| {
                        OptionsError::File { which, path: PathBuf::from(path), source }
                    }),
                };
            let (public, private) = (read("pub-key")?, read("priv-key")?);
            let jwt = Jwt::new(method, public.as_deref(), private.as_deref(), ttl)?;
            Ok(TokenOptions::Signed(Box::new(jwt)))
        }
        _ => Err(OptionsError::Invalid),
    }
}
