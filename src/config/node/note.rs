use std::fmt;

use tracing::{info, warn};

use super::check::{BCRYPT_COSTS, DEFAULT_BCRYPT_COST};

/// Something about the configuration that is worth a log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The configuration file alone counts.
    FileSilences { file: String, settings: Vec<String> },
    /// A variable that starts with `ETCD_` and belongs to no setting.
    UnknownVariable { variable: String },
    /// A variable that is not to be set.
    SpecialVariable { variable: String, text: String },
    /// A key of the file that belongs to no setting.
    UnknownKey { file: String, key: String },
    /// A setting that does nothing here, and what that means.
    WithoutEffect { setting: String, meaning: String },
    /// A value that is none for its setting, and what it is taken for.
    Instead { setting: String, meaning: String },
    /// A cost that bcrypt does not know.
    BcryptCost { given: u64 },
    /// A setting with a newer name.
    Deprecated { setting: String, instead: String },
    /// A setting that etcd itself ignores.
    Ignored { setting: String },
    /// Certificates were given, or asked of clients alone, and this URL is not encrypted.
    NothingEncrypted { port: &'static str, url: String, settings: Vec<String>, client_auth: bool },
    /// A key stands in the file more than once.
    RepeatedKey { file: String, line: u64 },
    /// A certificate was given where one was to be made.
    NoAutoTls { port: &'static str },
}

impl Note {
    /// Writes the line.
    pub fn log(&self) {
        match self {
            Self::FileSilences { file, settings } if settings.is_empty() => {
                info!(path = file, "loading server configuration from a file");
            }
            Self::FileSilences { file, settings } => info!(
                path = file,
                ignored = settings.join(","),
                "loading server configuration from a file, flags and environment variables are ignored"
            ),
            Self::UnknownVariable { variable } => {
                warn!(environment_variable = variable, "unrecognized environment variable");
            }
            Self::SpecialVariable { variable, text } => {
                warn!(key = variable, value = text, "cannot set special environment variable");
            }
            Self::Instead { setting, meaning } => {
                warn!(setting, meaning, "setting has a value that means something else");
            }
            Self::BcryptCost { given } => warn!(
                min_cost = BCRYPT_COSTS.start(),
                max_cost = BCRYPT_COSTS.end(),
                default_cost = DEFAULT_BCRYPT_COST,
                given_cost = given,
                "use default bcrypt cost instead of the invalid given cost"
            ),
            Self::UnknownKey { file, key } => {
                warn!(path = file, key, "unknown key in the configuration file is ignored");
            }
            Self::WithoutEffect { setting, meaning } => {
                warn!(setting, meaning, "setting has no effect in this release");
            }
            Self::Deprecated { setting, instead } => {
                warn!(setting, instead, "setting is deprecated, use the newer name");
            }
            Self::Ignored { setting } => {
                warn!(setting, "flag is no longer supported - ignoring");
            }
            Self::NothingEncrypted { port, url, settings, client_auth: true } => warn!(
                port,
                url,
                ignored = settings.join(","),
                "scheme is HTTP while client cert auth is enabled; ignoring client cert auth for this URL"
            ),
            Self::NothingEncrypted { port, url, settings, client_auth: false } => warn!(
                port,
                url,
                ignored = settings.join(","),
                "scheme is HTTP while key and cert files are present; ignoring key and cert files"
            ),
            Self::RepeatedKey { file, line } => {
                warn!(
                    path = file,
                    line, "a key stands twice in the configuration file, the last one counts"
                );
            }
            Self::NoAutoTls { port } => {
                warn!("ignoring {port} auto TLS since certs given");
            }
        }
    }
}

/// For people who look at a configuration without starting it.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileSilences { file, settings } if settings.is_empty() => {
                write!(f, "all settings come from `{file}`")
            }
            Self::FileSilences { file, settings } => write!(
                f,
                "all settings come from `{file}`; flags and variables are ignored: {}",
                settings.join(", ")
            ),
            Self::UnknownVariable { variable } => {
                write!(f, "the variable {variable} belongs to no setting; is it misspelled?")
            }
            Self::SpecialVariable { variable, .. } => {
                write!(f, "the variable {variable} sets nothing")
            }
            Self::UnknownKey { file, key } => {
                write!(f, "`{file}`: nobody reads the key `{key}`; is it misspelled?")
            }
            Self::WithoutEffect { setting, meaning } => {
                write!(f, "--{setting} has no effect in quorate-node: {meaning}")
            }
            Self::Instead { setting, meaning } => write!(f, "--{setting}: {meaning}"),
            Self::BcryptCost { given } => write!(
                f,
                "--bcrypt-cost={given} is not between {} and {}: {DEFAULT_BCRYPT_COST} counts",
                BCRYPT_COSTS.start(),
                BCRYPT_COSTS.end()
            ),
            Self::Deprecated { setting, instead } => {
                write!(f, "--{setting} is an older name of --{instead}")
            }
            Self::Ignored { setting } => write!(f, "--{setting} is ignored, by etcd too"),
            Self::NothingEncrypted { port, url, settings, .. } => write!(
                f,
                "{url} of the {port} port begins with http://, so these do nothing there: {}",
                settings.join(", ")
            ),
            Self::RepeatedKey { file, line } => {
                write!(f, "`{file}`, line {line}: a key stands twice, the last one counts")
            }
            Self::NoAutoTls { port } => {
                write!(f, "no certificate is made for the {port} port, since one is given")
            }
        }
    }
}
