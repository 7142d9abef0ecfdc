use std::fmt::{self, Write as _};

use slog::{Drain, KV, Level, Logger, Never, OwnedKVList, Record, o};
use tracing::{debug, error, trace};

/// The logger of the wrapped crate. What operators must know is logged by the replica; the crate's own
/// account goes one level down, and only what precedes a panic of it is an error.
pub(super) fn logger() -> Logger {
    Logger::root(Forward, o!())
}

#[derive(Debug)]
struct Forward;

impl Drain for Forward {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), Never> {
        if !self.is_enabled(record.level()) {
            return Ok(());
        }
        let mut fields = Fields(String::new());
        // Formatting into a string cannot fail.
        let _ = record.kv().serialize(record, &mut fields);
        match record.level() {
            Level::Critical => error!("raft: {}{}", record.msg(), fields.0),
            Level::Error | Level::Warning | Level::Info => {
                debug!("raft: {}{}", record.msg(), fields.0);
            }
            Level::Debug | Level::Trace => trace!("raft: {}{}", record.msg(), fields.0),
        }
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        match level {
            Level::Critical => true,
            Level::Error | Level::Warning | Level::Info => {
                tracing::enabled!(tracing::Level::DEBUG)
            }
            Level::Debug | Level::Trace => tracing::enabled!(tracing::Level::TRACE),
        }
    }
}

/// The key-value pairs of a record as text.
struct Fields(String);

impl slog::Serializer for Fields {
    fn emit_arguments(&mut self, key: slog::Key, value: &fmt::Arguments<'_>) -> slog::Result {
        write!(self.0, " {key}={value}")?;
        Ok(())
    }
}
