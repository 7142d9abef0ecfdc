use std::fmt::Write as _;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// Settings of a member by the names of its flags, to be printed for wherever they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Settings(Vec<(&'static str, String)>);

/// How to print settings and lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
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
    pub(super) fn new(settings: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self(settings.into_iter().collect())
    }

    pub(super) fn print(&self, format: Format) -> String {
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

    /// The keys of the file are the names of the flags, but v3 discovery has a section of its own.
    fn yaml(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut text = String::new();
        let of = |wanted: &str| self.0.iter().find(|(name, _)| *name == wanted);
        if let (Some((_, token)), Some((_, endpoints))) =
            (of("discovery-token"), of("discovery-endpoints"))
        {
            let (token, endpoints) = (quoted(token), quoted(endpoints));
            write!(
                text,
                "discovery-config:\n  token: {token}\n  client:\n    endpoints: [{endpoints}]\n"
            )
            .expect("a string takes everything");
        }
        let plain = self
            .0
            .iter()
            .filter(|(name, _)| !matches!(*name, "discovery-token" | "discovery-endpoints"));
        plain.fold(text, |text, (name, value)| text + name + ": " + &quoted(value) + "\n")
    }
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
    fn a_format_that_is_not_known_is_named() {
        assert_eq!(Format::parse("yaml"), Ok(Format::Yaml));
        let refused = Format::parse("xml").unwrap_err();
        assert!(refused.contains("`xml`") && refused.contains("json"), "{refused}");
    }
}
