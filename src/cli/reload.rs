// What SIGHUP does. Certificates and zones need none: they are looked at all the time.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::serve::{Config, Flags};
use crate::discovery_server::{Accounts, Secrets};
use crate::telemetry::Level;

/// Where the settings came from, and what may change while the service runs.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) flags: Flags,
    /// The settings of the start.
    pub(super) in_use: Config,
    pub(super) level: Level,
}

impl Settled {
    /// Reads the key files, the users and the log level again at each SIGHUP. A file that is wrong changes
    /// nothing.
    pub(super) async fn reload(
        self,
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
            for keys in [Some(&admin), new.as_ref()].into_iter().flatten() {
                if let Err(error) = keys.reload() {
                    warn!(error = %error, "keys are not reloaded, the old ones count");
                }
            }
            if let (Some(accounts), Some(path)) = (&accounts, &self.in_use.discovery_users) {
                let read = std::fs::read_to_string(path).map_err(|error| error.to_string());
                if let Err(error) = read.and_then(|text| accounts.renew(&text)) {
                    warn!(users.file = %path.display(), error, "users are not reloaded, the old ones count");
                }
            }
            self.settings();
        }
    }

    fn settings(&self) {
        let config = match Config::load(&self.flags, |name| std::env::var(name).ok()) {
            Ok(config) => config,
            Err(problems) => {
                warn!(error = %problems, "settings are not reloaded, the old ones count");
                return;
            }
        };
        self.level.set(config.log_level);
        info!(log.level = %config.log_level, "reloaded");
        let same = Config { log_level: self.in_use.log_level, ..config };
        if same != self.in_use {
            warn!("other settings than the log level have changed; they need a restart");
        }
    }
}
