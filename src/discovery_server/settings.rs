use std::collections::BTreeSet;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::membership::PeerUrl;

/// Settings of a member by the names of its flags, to be printed for wherever they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings(Vec<(&'static str, String)>);

/// How to print settings and lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The one value, bare.
    Text,
    Json,
    /// One flag a line, quoted for a shell where that is needed.
    Flags,
    /// An environment file, for systemd and for shells.
    Env,
    /// Keys of the configuration file.
    Yaml,
}

impl Format {
    /// Reads the parameter `format`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "flags" => Ok(Self::Flags),
            "env" => Ok(Self::Env),
            "yaml" => Ok(Self::Yaml),
            _ => Err(format!(
                "format `{}` is not known; ask for text, json, flags, env or yaml",
                head(text)
            )),
        }
    }
}

/// What of a stranger's text a message repeats.
pub(super) fn head(text: &str) -> &str {
    const SHOWN_CHARACTERS: usize = 60;
    text.char_indices().nth(SHOWN_CHARACTERS).map_or(text, |(end, _)| &text[..end])
}

impl Settings {
    pub fn new(settings: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self(settings.into_iter().collect())
    }

    pub fn print(&self, format: Format) -> String {
        match format {
            Format::Text => self.0.iter().fold(String::new(), |text, (_, value)| text + value),
            Format::Json => {
                serde_json::to_string_pretty(self).expect("strings are always JSON") + "\n"
            }
            Format::Flags => self.lines(|(name, value)| format!("--{name}={}", for_shell(value))),
            Format::Env => {
                self.lines(|(name, value)| format!("{}={}", variable(name), for_file(value)))
            }
            Format::Yaml => self.yaml(),
        }
    }

    fn lines(&self, line: impl Fn(&(&'static str, String)) -> String) -> String {
        self.0.iter().fold(String::new(), |text, setting| text + &line(setting) + "\n")
    }

    /// The settings one by one.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Adds settings behind the others.
    pub fn extend(&mut self, more: impl IntoIterator<Item = (&'static str, String)>) {
        self.0.extend(more);
    }

    /// What one member needs besides a way to the others. It listens at `listen`, or everywhere.
    pub fn of_member(
        name: &str,
        urls: &[PeerUrl],
        (client_scheme, client_port): (&str, u16),
        listen: Option<&str>,
    ) -> Self {
        let list = |urls: &mut dyn Iterator<Item = String>| urls.collect::<Vec<_>>().join(",");
        let scheme = |url: &PeerUrl| if url.is_https() { "https" } else { "http" };
        let mut ports: Vec<_> = urls.iter().map(|url| (scheme(url), url.port())).collect();
        ports.sort_unstable();
        ports.dedup();
        let hosts: BTreeSet<String> = urls.iter().map(|url| bracketed(url.host())).collect();
        // A name cannot be listened on, and an address need not be on this machine.
        let listen = bracketed(listen.unwrap_or("0.0.0.0"));
        Self::new([
            ("name", name.to_owned()),
            (
                "listen-peer-urls",
                list(&mut ports.iter().map(|(scheme, port)| format!("{scheme}://{listen}:{port}"))),
            ),
            ("initial-advertise-peer-urls", list(&mut urls.iter().map(PeerUrl::to_string))),
            ("listen-client-urls", format!("{client_scheme}://{listen}:{client_port}")),
            (
                "advertise-client-urls",
                list(
                    &mut hosts.iter().map(|host| format!("{client_scheme}://{host}:{client_port}")),
                ),
            ),
        ])
    }

    /// The keys of the file are the names of the flags, but some are in sections.
    fn yaml(&self) -> String {
        let keys = self.0.iter().map(|(name, value)| (path(name), written(name, value)));
        let (sections, plain): (Vec<_>, Vec<_>) = keys.partition(|(path, _)| path.len() > 1);
        section(&sections, 0) + &section(&plain, 0)
    }
}

/// The keys that lead to a setting in the configuration file.
fn path(name: &'static str) -> Vec<&'static str> {
    match name {
        "discovery-token" => vec!["discovery-config", "token"],
        "discovery-endpoints" => vec!["discovery-config", "client", "endpoints"],
        "cert-file" | "key-file" | "trusted-ca-file" | "client-cert-auth" => {
            vec!["client-transport-security", name]
        }
        _ => match name.strip_prefix("peer-") {
            Some(key @ ("cert-file" | "key-file" | "trusted-ca-file" | "client-cert-auth")) => {
                vec!["peer-transport-security", key]
            }
            _ => vec![name],
        },
    }
}

/// A value as etcd takes it from the file: of these kinds, and no other.
fn written(name: &str, value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    match (name, value) {
        ("discovery-endpoints", _) => format!("[{quoted}]"),
        (_, "true" | "false") => value.to_owned(),
        _ => quoted,
    }
}

/// Lines of keys, those of a section together where its first key is.
fn section(keys: &[(Vec<&'static str>, String)], depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let mut text = String::new();
    let mut done = BTreeSet::new();
    for (path, value) in keys {
        let key = path[depth];
        if path.len() == depth + 1 {
            text += &format!("{indent}{key}: {value}\n");
        } else if done.insert(key) {
            let inner: Vec<_> =
                keys.iter().filter(|(path, _)| path[depth] == key).cloned().collect();
            text += &format!("{indent}{key}:\n{}", section(&inner, depth + 1));
        }
    }
    text
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

/// Names of flags with their values.
impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// etcd's variable for a flag.
fn variable(flag: &str) -> String {
    format!("ETCD_{}", flag.to_ascii_uppercase().replace('-', "_"))
}

/// One word of a POSIX shell.
fn for_shell(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+[]".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) && !text.contains('[') {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// A value of an environment file, which systemd and shells read alike between double quotes.
fn for_file(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        if matches!(character, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_its_own_quotes() {
        let settings = Settings::new([
            ("initial-cluster", "n1=http://h:1,it's $x=http://[::1]:2".to_owned()),
            ("initial-cluster-state", "new".to_owned()),
        ]);
        assert_eq!(
            settings.print(Format::Flags),
            "--initial-cluster='n1=http://h:1,it'\\''s $x=http://[::1]:2'\n\
             --initial-cluster-state=new\n"
        );
        assert_eq!(
            settings.print(Format::Env),
            "ETCD_INITIAL_CLUSTER=\"n1=http://h:1,it's \\$x=http://[::1]:2\"\n\
             ETCD_INITIAL_CLUSTER_STATE=\"new\"\n"
        );
        assert_eq!(
            settings.print(Format::Yaml),
            "initial-cluster: \"n1=http://h:1,it's $x=http://[::1]:2\"\n\
             initial-cluster-state: \"new\"\n"
        );
    }

    #[test]
    fn v3_discovery_is_a_section_of_the_file() {
        let settings = Settings::new([
            ("discovery-token", "abc".to_owned()),
            ("discovery-endpoints", "h:1".to_owned()),
        ]);
        assert_eq!(
            settings.print(Format::Yaml),
            "discovery-config:\n  token: \"abc\"\n  client:\n    endpoints: [\"h:1\"]\n"
        );
    }

    #[test]
    fn certificates_are_in_sections_of_the_file() {
        let settings = Settings::new([
            ("name", "n1".to_owned()),
            ("cert-file", "c".to_owned()),
            ("client-cert-auth", "true".to_owned()),
            ("peer-cert-file", "p".to_owned()),
        ]);
        assert_eq!(
            settings.print(Format::Yaml),
            "client-transport-security:\n  cert-file: \"c\"\n  client-cert-auth: true\n\
             peer-transport-security:\n  cert-file: \"p\"\nname: \"n1\"\n"
        );
    }

    #[test]
    fn a_format_that_is_not_known_is_named() {
        assert_eq!(Format::parse("yaml"), Ok(Format::Yaml));
        let refused = Format::parse("xml").unwrap_err();
        assert!(refused.contains("`xml`") && refused.contains("json"), "{refused}");
    }
}
