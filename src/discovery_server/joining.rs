use serde::Serialize;

use super::settings::{Settings, head};
use crate::admission::{Founding, Protocol};
use crate::token::TokenPath;

/// A program that can found a cluster, as far as its flags for it differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    Etcd34,
    Etcd35,
    Etcd36,
    Etcd37,
    Quorate,
}

impl Release {
    pub const ALL: [Self; 5] =
        [Self::Etcd34, Self::Etcd35, Self::Etcd36, Self::Etcd37, Self::Quorate];

    /// Reads the parameter `etcd`: a version such as `3.5` or `v3.5.17`, or `quorate-node`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let version = text.trim_start_matches("etcd-").trim_start_matches('v');
        let mut parts = version.split('.');
        match (parts.next(), parts.next()) {
            (Some("3"), Some("4")) => Ok(Self::Etcd34),
            (Some("3"), Some("5")) => Ok(Self::Etcd35),
            (Some("3"), Some("6")) => Ok(Self::Etcd36),
            (Some("3"), Some("7")) => Ok(Self::Etcd37),
            (Some("quorate" | "quorate-node"), None) => Ok(Self::Quorate),
            _ => Err(format!(
                "etcd `{}` is not known here; ask for 3.4, 3.5, 3.6, 3.7 or quorate-node",
                head(text)
            )),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd34 => "etcd-3.4",
            Self::Etcd35 => "etcd-3.5",
            Self::Etcd36 => "etcd-3.6",
            Self::Etcd37 => "etcd-3.7",
            Self::Quorate => "quorate-node",
        }
    }

    /// The name as people write it.
    pub fn title(self) -> String {
        if self == Self::Quorate {
            self.name().to_owned()
        } else {
            format!("etcd {}", self.version())
        }
    }

    pub fn version(self) -> &'static str {
        self.name().trim_start_matches("etcd-")
    }

    pub fn program(self) -> &'static str {
        if self == Self::Quorate { "quorate-node" } else { "etcd" }
    }

    /// What it speaks when nobody has registered yet.
    fn prefers(self) -> Protocol {
        match self {
            Self::Etcd34 | Self::Etcd35 | Self::Quorate => Protocol::V2,
            Self::Etcd36 | Self::Etcd37 => Protocol::V3,
        }
    }

    fn speaks(self, protocol: Protocol) -> bool {
        match self {
            Self::Etcd34 | Self::Etcd35 => protocol == Protocol::V2,
            // Both, though 3.6 calls the older one deprecated.
            Self::Etcd36 | Self::Quorate => true,
            Self::Etcd37 => protocol == Protocol::V3,
        }
    }
}

/// What a node has to be told to join by a token.
#[derive(Debug, Clone)]
pub struct Joining {
    url: String,
    /// The bare token and where v3 discovery finds it; raw paths have no bare token.
    v3: Option<(String, String)>,
    /// The protocol of the first registration, once there is one.
    protocol: Option<Protocol>,
}

/// Lines that start a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Lines {
    /// To be pasted into a shell, after its first line was filled in.
    pub(super) command: String,
    pub(super) settings: Settings,
}

impl Joining {
    pub(super) fn new(path: &TokenPath, public_url: &str, protocol: Option<Protocol>) -> Self {
        let v3 = path.token().map(|token| (token.to_owned(), endpoint(public_url)));
        Self { url: path.discovery_url(public_url), v3, protocol }
    }

    /// What a discovery URL says by itself; a token that is none of ours is for the older protocol.
    pub fn of_url(url: &str) -> Self {
        let short = url.rsplit_once('/').and_then(|(public_url, token)| {
            let path = TokenPath::short(&token.parse().ok()?);
            Some(Self::new(&path, public_url, None)).filter(|joining| joining.url == url)
        });
        short.unwrap_or_else(|| Self { url: url.to_owned(), v3: None, protocol: None })
    }

    /// The settings with which this program joins, or why it cannot.
    pub fn settings(&self, release: Release) -> Result<Settings, String> {
        let preferred = if self.v3.is_some() { release.prefers() } else { Protocol::V2 };
        let protocol = self.protocol.unwrap_or(preferred);
        if !release.speaks(protocol) {
            return Err(format!(
                "{} cannot join: the members of this token use {}, which it does not have; take a \
                 new token, and start all members with the same flags",
                release.name(),
                match protocol {
                    Protocol::V2 => "--discovery",
                    Protocol::V3 => "--discovery-token",
                }
            ));
        }
        Ok(match (protocol, &self.v3) {
            (Protocol::V3, Some((token, endpoint))) => Settings::new([
                ("discovery-token", token.clone()),
                ("discovery-endpoints", endpoint.clone()),
            ]),
            _ => Settings::new([("discovery", self.url.clone())]),
        })
    }

    /// The whole start of a member, or why this program cannot join.
    pub(super) fn lines(
        &self,
        release: Release,
        client_port: u16,
        name: &str,
    ) -> Result<Lines, String> {
        let settings = self.settings(release)?;
        let flags = settings.print(super::settings::Format::Flags);
        let flags = flags.trim_end().replace('\n', " \\\n  ");
        let command = format!(
            "NAME={name} ADDRESS=10.0.0.1\n\
             {program} --name \"$NAME\" --data-dir \"$NAME.etcd\" \\\n  \
             --listen-peer-urls http://0.0.0.0:2380 \\\n  \
             --initial-advertise-peer-urls \"http://$ADDRESS:2380\" \\\n  \
             --listen-client-urls http://0.0.0.0:{client_port} \\\n  \
             --advertise-client-urls \"http://$ADDRESS:{client_port}\" \\\n  {flags}",
            program = release.program(),
        );
        Ok(Lines { command, settings })
    }

    /// The discovery URL.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

/// A name that no founder has: the next member is started with it.
pub(super) fn free_name(founding: &Founding) -> String {
    let is_free = |name: &String| founding.founders.iter().all(|held| held.name() != name);
    (1..).map(|number| format!("n{number}")).find(is_free).unwrap_or_default()
}

/// Where v3 discovery finds a service with this URL. The port is always said, since gRPC has no
/// default for it.
fn endpoint(public_url: &str) -> String {
    let (scheme, rest) = public_url.split_once("://").unwrap_or(("http", public_url));
    let authority = rest.split('/').next().unwrap_or_default();
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    match (scheme, has_port) {
        ("https", true) => format!("https://{authority}"),
        ("https", false) => format!("https://{authority}:443"),
        (_, true) => authority.to_owned(),
        (_, false) => format!("{authority}:80"),
    }
}

/// Reads the parameter `client-port`.
pub(super) fn client_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!(
            "client-port `{}` is no port; choose a number from 1 to 65535, such as 2379",
            head(text)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery_server::settings::Format;

    const TOKEN: &str = "6c007a14875d53d9bf0ef5a6fc0257c8";

    fn joining(public_url: &str, protocol: Option<Protocol>) -> Joining {
        Joining::new(&TokenPath::short(&TOKEN.parse().unwrap()), public_url, protocol)
    }

    #[test]
    fn every_release_gets_the_flags_it_has() {
        let open = joining("http://h:8087", None);
        let v2 = format!("--discovery=http://h:8087/{TOKEN}\n");
        let v3 = format!("--discovery-token={TOKEN}\n--discovery-endpoints=h:8087\n");
        for (text, flags) in [
            ("3.4", &v2),
            ("v3.5.17", &v2),
            ("etcd-3.6", &v3),
            ("3.7.0", &v3),
            ("quorate-node", &v2),
        ] {
            let settings = open.settings(Release::parse(text).unwrap()).unwrap();
            assert_eq!(&settings.print(Format::Flags), flags, "{text}");
        }
        for text in ["3.3", "3", "", "4.0", "etcd"] {
            let refused = Release::parse(text).unwrap_err();
            assert!(refused.contains(&format!("`{text}`")) && refused.contains("3.6"), "{refused}");
        }
    }

    #[test]
    fn the_first_registration_decides_for_all() {
        let v2 = joining("https://d.example", Some(Protocol::V2));
        let flags = v2.settings(Release::Etcd36).unwrap().print(Format::Flags);
        assert_eq!(flags, format!("--discovery=https://d.example/{TOKEN}\n"));
        assert!(v2.settings(Release::Etcd37).unwrap_err().contains("take a new token"));
        let v3 = joining("https://d.example", Some(Protocol::V3));
        assert!(v3.settings(Release::Etcd35).unwrap_err().contains("etcd-3.5 cannot join"));
        let flags = v3.settings(Release::Quorate).unwrap().print(Format::Flags);
        assert!(flags.contains("--discovery-endpoints=https://d.example:443"), "{flags}");
    }

    #[test]
    fn a_raw_path_is_for_the_older_protocol() {
        let path = TokenPath::raw(["discovery", "t"]).unwrap();
        let flags = Joining::new(&path, "http://h", None).settings(Release::Etcd36).unwrap();
        assert_eq!(flags.print(Format::Flags), "--discovery=http://h/v2/keys/discovery/t\n");
        assert_eq!(endpoint("http://[::1]/base"), "[::1]:80");
    }

    #[test]
    fn ports_are_numbers() {
        assert_eq!(client_port("4001"), Ok(4001));
        for text in ["0", "65536", "-1", "x", ""] {
            assert!(client_port(text).unwrap_err().contains(&format!("`{text}`")), "{text}");
        }
    }
}
