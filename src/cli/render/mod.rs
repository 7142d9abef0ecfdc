//! `quorate render`: what starts the members of a cluster that was described once.
//!
//! [`description`] makes the settings of each member, as flags with values; the other modules write
//! them for whoever starts it. The result is read by `quorate lint` before it is printed, so that
//! nothing is printed that a member would not start with.

mod compose;
mod description;
mod kubernetes;
mod procfile;
mod systemd;

use clap::{Args, ValueEnum};

use super::lint;
use super::{Failure, output};
use crate::discovery_server::SettingsFormat;
use description::{Cluster, Description};

/// What to print.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 printed, 2 the description is wrong.")]
pub(super) struct Render {
    /// What starts the members
    #[arg(value_name = "FORMAT")]
    format: Format,
    #[command(flatten)]
    description: Description,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A unit of systemd, for one member
    Systemd,
    /// A file of docker compose with all members
    Compose,
    /// All members on this machine, for goreman or foreman
    Procfile,
    /// An environment file, for one member
    Env,
    /// The file of --config-file, for one member
    Yaml,
    /// A `StatefulSet` and its headless `Service`
    K8s,
}

/// Why nothing is printed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Description(String),
    #[error("a member would not start like this:\n  {}", .0.join("\n  "))]
    Findings(Vec<String>),
}

impl Render {
    /// Prints it; asks and starts nothing.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let wrong = |error: Error| Failure::Configuration(error.into());
        let text = self.text().map_err(|text| wrong(Error::Description(text)))?;
        let kind = match self.format {
            Format::Systemd => lint::Kind::Systemd,
            Format::Compose => lint::Kind::Compose,
            Format::Procfile => lint::Kind::Procfile,
            Format::Env => lint::Kind::Env,
            Format::Yaml => lint::Kind::Yaml,
            Format::K8s => lint::Kind::K8s,
        };
        let (errors, warnings) = lint::verdict(kind, &text, self.description.release());
        if !errors.is_empty() {
            return Err(wrong(Error::Findings(errors)));
        }
        for warning in warnings {
            output::progress(&format!("warning: {warning}\n"));
        }
        output::print(&text)
    }

    fn text(&self) -> Result<String, String> {
        let cluster = self.description.cluster(self.format == Format::Procfile)?;
        let one = |cluster: &Cluster| cluster.one(self.description.name.as_deref());
        Ok(match self.format {
            Format::Systemd => systemd::unit(&cluster, &one(&cluster)?),
            Format::Compose => compose::file(&cluster)?,
            Format::Procfile => procfile::file(&cluster),
            Format::Env => one(&cluster)?.on_host(&cluster).print(SettingsFormat::Env),
            Format::Yaml => one(&cluster)?.on_host(&cluster).print(SettingsFormat::Yaml),
            Format::K8s => kubernetes::manifest(&cluster)?,
        })
    }
}

#[cfg(test)]
mod tests;
