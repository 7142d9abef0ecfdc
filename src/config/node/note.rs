use tracing::{info, warn};

/// Something about the configuration that is worth a log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The configuration file alone counts.
    FileSilences { file: String, settings: Vec<String> },
    /// A variable that starts with `ETCD_` and belongs to no setting.
    UnknownVariable { variable: String },
    /// A key of the file that belongs to no setting.
    UnknownKey { file: String, key: String },
    /// A setting that does nothing here, and what that means.
    WithoutEffect { setting: String, meaning: String },
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
