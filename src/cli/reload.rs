//! What SIGHUP does. Certificates and zones need none: they are looked at all the time.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::files::ADMIN_KEY_FILE;
use crate::config::serve::{Config, Flags};
use crate::discovery_server::{Accounts, Secrets};
use crate::telemetry::Level;
use crate::transport::chain;

/// Where the settings came from, and what may change while the service runs.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) flags: Flags,
    /// The settings of the start, and the log level as it is now.
    pub(super) in_use: Config,
    pub(super) level: Level,
}

impl Settled {
    /// Reads the key files, the users and the log level again at each SIGHUP. A file that is wrong changes
    /// nothing.
    pub(super) async fn reload(
        mut self,
        admin: Arc<Secrets>,
        new: Option<Arc<Secrets>>,
        accounts: Option<Accounts>,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = hangup.recv() => {}
            }
            let mut failed = false;
            for keys in [Some(&admin), new.as_ref()].into_iter().flatten() {
                if let Err(error) = keys.reload() {
                    let error = chain(&error);
                    warn!(error, "keys are not reloaded, the old ones count");
                    failed = true;
                }
            }
            if let (Some(accounts), Some(path)) = (&accounts, &self.in_use.discovery_users) {
                let read = std::fs::read_to_string(path).map_err(|error| error.to_string());
                if let Err(error) = read.and_then(|text| accounts.renew(&text)) {
                    warn!(users.file = %path.display(), error, "users are not reloaded, the old ones count");
                    failed = true;
                }
            }
            self.settings(failed);
        }
    }

    /// Takes the log level, and says what is in use then.
    fn settings(&mut self, mut failed: bool) {
        match Config::load(&self.flags, |name| std::env::var(name).ok()) {
            Ok(config) => {
                self.level.set(config.log_level);
                self.in_use.log_level = config.log_level;
                if config != self.in_use {
                    warn!("other settings than the log level have changed; they need a restart");
                }
            }
            Err(problems) => {
                warn!(error = %problems, "settings are not reloaded, the old ones count");
                failed = true;
            }
        }
        let Config { admin_key_file, new_key_file, discovery_users, data_dir, log_level, .. } =
            &self.in_use;
        let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let made = || data_dir.join(ADMIN_KEY_FILE).display().to_string();
        let admin = shown(admin_key_file).unwrap_or_else(made);
        let (new, users) = (shown(new_key_file), shown(discovery_users));
        if failed {
            warn!(log.level = %log_level, admin.keys = admin, new.keys = new, users, "reloaded in part: what was wrong is in use as it was");
        } else {
            info!(log.level = %log_level, admin.keys = admin, new.keys = new, users, "reloaded");
        }
    }
}
