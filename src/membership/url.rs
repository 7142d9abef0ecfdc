use std::fmt;
use std::path::Path;

use url::{Host, Url};

/// A peer or client URL: scheme, host and port, nothing else; kept exactly as it was spelled.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerUrl {
    text: String,
    https: bool,
    host: String,
    /// 0 for a Unix socket.
    port: u16,
}

/// Why a text is no member URL. The texts are etcd's, but for that of a socket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("parse \"{text}\": {reason}")]
    Syntax { text: String, reason: String },
    #[error("URL scheme must be http, https, unix, or unixs: {text}")]
    Scheme { text: String },
    #[error("members reach each other over TCP, not over a Unix socket: {text}")]
    Socket { text: String },
    #[error("URL address does not have the form \"host:port\": {text}")]
    HostPort { text: String },
    #[error("URL must not contain a path: {text}")]
    Path { text: String },
}

impl PeerUrl {
    /// Checks and keeps a URL. Surrounding blanks are not part of it.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let owned = || text.to_owned();
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(match text.split_once(':') {
                Some((head, _)) if head.contains(|c: char| !c.is_ascii_alphabetic()) => {
                    let reason = "first path segment in URL cannot contain colon".to_owned();
                    UrlError::Syntax { text: owned(), reason }
                }
                _ => UrlError::Scheme { text: owned() },
            });
        };
        let https = match scheme {
            "http" => false,
            "https" => true,
            "unix" | "unixs" => return Err(UrlError::Socket { text: owned() }),
            _ => return Err(UrlError::Scheme { text: owned() }),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let syntax = |reason: String| UrlError::Syntax { text: owned(), reason };
        let url = Url::parse(text).map_err(|error| syntax(error.to_string()))?;
        // `Url` forgets a port that is the scheme's default; etcd asks for it to be written.
        let written_port = authority.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        let Some(Ok(port)) = written_port else {
            return Err(UrlError::HostPort { text: owned() });
        };
        if rest.len() > authority.len() {
            return Err(UrlError::Path { text: owned() });
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(UrlError::HostPort { text: owned() }),
        };
        Ok(Self { text: owned(), https, host, port })
    }

    /// Checks a URL that clients use, which may name a Unix socket: `unix://` or, with TLS, `unixs://`,
    /// and the path.
    pub fn parse_client(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let (https, path) = match (text.strip_prefix("unix://"), text.strip_prefix("unixs://")) {
            (Some(path), _) => (false, path),
            (_, Some(path)) => (true, path),
            _ => return Self::parse(text),
        };
        if path.is_empty() {
            return Err(UrlError::HostPort { text: text.to_owned() });
        }
        Ok(Self { text: text.to_owned(), https, host: path.to_owned(), port: 0 })
    }

    /// The path, when this is the URL of a Unix socket.
    pub fn socket(&self) -> Option<&Path> {
        self.text.starts_with("unix").then(|| Path::new(&self.host))
    }

    /// The URL as it was spelled; the ids are computed from this.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is to be reached over TLS.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The host: a name, an address without brackets, or the path of a Unix socket.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; always written in a member URL.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for PeerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PeerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_may_use_unix_sockets_and_members_may_not() {
        let url = PeerUrl::parse_client("unix:///run/etcd.sock").unwrap();
        assert_eq!((url.socket(), url.is_https()), (Some(Path::new("/run/etcd.sock")), false));
        let url = PeerUrl::parse_client("unixs://localhost:m1").unwrap();
        assert_eq!((url.socket(), url.is_https()), (Some(Path::new("localhost:m1")), true));
        let url = PeerUrl::parse_client("https://h:1").unwrap();
        assert_eq!((url.socket(), url.is_https(), url.port()), (None, true, 1));
        assert!(PeerUrl::parse_client("unix://").is_err());
        let refused = PeerUrl::parse("unix:///run/etcd.sock").unwrap_err().to_string();
        let words =
            "members reach each other over TCP, not over a Unix socket: unix:///run/etcd.sock";
        assert_eq!(refused, words);
    }
}
