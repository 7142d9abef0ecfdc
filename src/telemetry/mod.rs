//! The log of a process: who writes it, how a line looks, where it goes.
//!
//! Two formats: JSON lines with the keys that etcd writes (`level`, `ts`, `caller`, `msg`, then the
//! fields), and text for people. Both hold one event per line whatever its fields contain.

mod fields;
mod json;
mod output;
mod rotate;
mod text;
mod time;

use std::path::PathBuf;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, reload};

pub use rotate::Rotation;

use json::JsonLines;
use output::Outputs;
use text::TextLines;

/// What is logged, how, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub level: LevelFilter,
    pub format: Format,
    /// Every line goes to all of them.
    pub outputs: Vec<Output>,
    /// For files; `None` lets them grow.
    pub rotation: Option<Rotation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    Stderr,
    Stdout,
    /// Appended to; created when missing.
    File(PathBuf),
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("log output `{path}` cannot be opened")]
    Open { path: PathBuf, source: std::io::Error },
    #[error("this process has a log already")]
    Twice,
}

impl Default for Options {
    /// Text on stderr from `info` on.
    fn default() -> Self {
        Self {
            level: LevelFilter::INFO,
            format: Format::Text,
            outputs: vec![Output::Stderr],
            rotation: None,
        }
    }
}

/// The level of the running log, to be changed.
#[derive(Debug, Clone)]
pub struct Level(reload::Handle<Targets, Registry>);

impl Level {
    /// Logs from this level on.
    pub fn set(&self, level: LevelFilter) {
        // It fails when the log is gone, and then nothing is logged at any level.
        let _ = self.0.reload(targets(level));
    }
}

fn targets(level: LevelFilter) -> Targets {
    // Below `info` the libraries would drown what this process says about itself.
    let others = level.min(LevelFilter::WARN);
    Targets::new().with_target("quorate", level).with_default(others)
}

/// Starts the log of this process.
pub fn init(options: &Options) -> Result<Level, Error> {
    let outputs = Outputs::open(&options.outputs, options.rotation)?;
    let (filter, level) = reload::Layer::new(targets(options.level));
    // What cannot be written, on a full disk for one, is not complained about where it cannot be
    // written either; that would end the process.
    let layer = tracing_subscriber::fmt::layer().with_writer(outputs).with_ansi(false);
    let layer = layer.log_internal_errors(false);
    let layer = match options.format {
        Format::Json => layer.event_format(JsonLines).with_filter(filter).boxed(),
        Format::Text => layer.event_format(TextLines).with_filter(filter).boxed(),
    };
    tracing_subscriber::registry().with(layer).try_init().map_err(|_already| Error::Twice)?;
    Ok(Level(level))
}
