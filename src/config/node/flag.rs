use super::value::{Kind, Value};

/// One setting: a flag, an environment variable and a key of the configuration file.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// The flag without dashes.
    pub name: &'static str,
    pub kind: Kind,
    /// The default as a user would write it.
    pub default: &'static str,
    pub treatment: Treatment,
    pub help: &'static str,
    /// The key in the configuration file when it is not the name of the flag.
    pub key: Option<&'static str>,
}

/// What this node makes of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It works as in etcd.
    Honoured,
    /// Nothing to do: it tunes a part that this node does not have.
    Silent,
    /// Accepted; when it differs from the default one warning says what it means here.
    Warn(&'static str),
    /// Refused when it differs from the default, because going on would be less safe than asked.
    Refuse(&'static str),
    /// An older name of that setting.
    Alias(&'static str),
    /// Belongs to the certificates of the client port.
    ClientTls,
    /// Belongs to the certificates of the peer port.
    PeerTls,
    /// etcd ignores it since long ago.
    Legacy,
}

impl Flag {
    /// Whether the text is a value of this flag's kind.
    pub fn takes(&self, text: &str) -> bool {
        Value::parse(self.kind, text).is_ok()
    }

    /// The environment variable of this setting.
    pub fn variable(&self) -> String {
        format!("ETCD_{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// The key of this setting in the configuration file.
    pub fn key(&self) -> &'static str {
        self.key.unwrap_or(self.name)
    }
}
