use super::Failure;
use crate::config::serve::{Config, Flags};

/// Runs the service until a signal ends it.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let _config = Config::load(flags, |name| std::env::var(name).ok())
        .map_err(|problems| Failure::Configuration(problems.into()))?;
    Ok(())
}
