use std::path::PathBuf;

use crate::membership::PeerUrl;

/// All keys begin with this when the URL names no other prefix.
const DEFAULT_PREFIX: &str = "quorate";

/// The etcd v3 cluster that keeps the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl {
    /// As it was typed; it holds no password.
    pub text: String,
    /// One for each member, as http:// or https:// URLs.
    pub members: Vec<PeerUrl>,
    /// Without slashes at its ends.
    pub prefix: String,
}

/// What that cluster wants to see, and what it has to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreAccess {
    /// User and password.
    pub login: Option<(String, String)>,
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

impl StoreUrl {
    /// Reads `etcd://HOST:PORT,HOST:PORT[/PREFIX]`, `etcds://` for TLS, or `sqlite`, which is none.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, String> {
        const WAY_OUT: &str = "write sqlite, etcd://HOST:2379,HOST:2379 or etcds://HOST:2379";
        if text == "sqlite" {
            return Ok(None);
        }
        let (scheme, rest) = match text.split_once("://") {
            Some(("etcd", rest)) => ("http", rest),
            Some(("etcds", rest)) => ("https", rest),
            _ => return Err(WAY_OUT.to_owned()),
        };
        if rest.contains('@') {
            return Err("a password in a URL ends up in logs; use --store-user".to_owned());
        }
        let (hosts, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if !prefix.chars().all(plain) {
            return Err("a prefix has letters, digits, `-`, `_`, `.` and `/`".to_owned());
        }
        let member = |host: &str| {
            let url = PeerUrl::parse(&format!("{scheme}://{host}"));
            url.map_err(|_reason| format!("`{host}` is no HOST:PORT; {WAY_OUT}"))
        };
        let members: Result<Vec<_>, _> = hosts.split(',').map(member).collect();
        let prefix = if prefix.is_empty() { DEFAULT_PREFIX } else { prefix }.to_owned();
        Ok(Some(Self { text: text.to_owned(), members: members?, prefix }))
    }

    pub fn is_secure(&self) -> bool {
        self.members.iter().any(PeerUrl::is_https)
    }
}

/// Reads `NAME:PASSWORD`, as etcdctl's --user.
pub(super) fn login(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Ok((user.to_owned(), password.to_owned()))
        }
        // What was typed may be the password.
        _ => Err("NAME:PASSWORD is expected".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_members_and_a_prefix() {
        assert_eq!(StoreUrl::parse("sqlite"), Ok(None));
        let url =
            StoreUrl::parse("etcd://a:2379,10.0.0.2:2379,[::1]:2379/boot/eu/").unwrap().unwrap();
        let members: Vec<_> = url.members.iter().map(PeerUrl::as_str).collect();
        assert_eq!(members, ["http://a:2379", "http://10.0.0.2:2379", "http://[::1]:2379"]);
        assert_eq!((url.prefix.as_str(), url.is_secure()), ("boot/eu", false));
        let url = StoreUrl::parse("etcds://a:2379").unwrap().unwrap();
        assert_eq!((url.prefix.as_str(), url.is_secure()), ("quorate", true));
        for wrong in [
            "",
            "mysql://a",
            "etcd://",
            "etcd://a",
            "etcd://a:1,,b:2",
            "etcd://u:p@a:1",
            "etcd://a:1/ü",
        ] {
            assert!(StoreUrl::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(login("root:a:b"), Ok(("root".to_owned(), "a:b".to_owned())));
        assert!(login("secret").is_err_and(|reason| !reason.contains("secret")));
    }
}
