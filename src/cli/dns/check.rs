use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::cli::output::{self, Format, counted};
use crate::cli::{Failure, running};
use crate::dns_server::{FileError, FileFault, Judged, Warning, check_directory, check_file};
use crate::zone::{self, Finding, Zone};

/// Which files to judge.
#[derive(Debug, Args)]
pub(in crate::cli) struct Check {
    /// Zone file NAME.zone, or a directory of them
    #[arg(value_name = "FILE|DIR", default_value = "dns-zones")]
    paths: Vec<PathBuf>,
    /// Warnings fail too
    #[arg(long)]
    strict: bool,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// What was found in all files.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Report {
    zones: Vec<Good>,
    findings: Vec<Found>,
}

/// A file that makes a zone.
#[derive(Debug, PartialEq, Serialize)]
struct Good {
    file: String,
    zone: String,
    serial: u32,
    records: usize,
}

#[derive(Debug, PartialEq, Serialize)]
struct Found {
    severity: Severity,
    code: &'static str,
    file: String,
    /// The file that the first one includes and in which the line is.
    #[serde(skip_serializing_if = "Option::is_none")]
    included: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Error,
    Warning,
}

impl Check {
    /// Prints all findings; fails if one is an error.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let mut report = Report::default();
        for path in &self.paths {
            if path.is_dir() {
                report.directory(path);
            } else {
                report.file(path);
            }
        }
        output::print(&match self.output {
            Format::Text => report.text(),
            Format::Json => output::json(&report),
        })?;
        let count = |severity| report.findings.iter().filter(|it| it.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        if errors > 0 {
            let errors = counted(errors, "error");
            return Err(running(format!("{errors}; a file with an error is not served")));
        }
        if self.strict && warnings > 0 {
            return Err(running(format!("{} and --strict", counted(warnings, "warning"))));
        }
        if report.zones.is_empty() {
            return Err(running("there is no zone file: a zone is in NAME.zone"));
        }
        Ok(())
    }
}

impl Report {
    fn directory(&mut self, directory: &Path) {
        let Judged { zones, warnings, errors } = check_directory(directory);
        for (file, zone) in &zones {
            self.good(file, zone);
        }
        for Warning { file, finding } in &warnings {
            self.add(Severity::Warning, file, finding);
        }
        errors.iter().for_each(|error| self.error(error));
    }

    fn file(&mut self, file: &Path) {
        match check_file(file) {
            Ok(loaded) => {
                self.good(file, &loaded.zone);
                loaded.warnings.iter().for_each(|it| self.add(Severity::Warning, file, it));
            }
            Err(error) => self.error(&error),
        }
    }

    fn good(&mut self, file: &Path, zone: &Zone) {
        self.zones.push(Good {
            file: file.display().to_string(),
            zone: zone.origin().to_ascii(),
            serial: zone.serial(),
            records: zone.records().count(),
        });
    }

    fn error(&mut self, FileError { file, fault }: &FileError) {
        let code = match fault {
            FileFault::Zone(zone::Error(findings)) => {
                findings.iter().for_each(|it| self.add(Severity::Error, file, it));
                return;
            }
            FileFault::Read(_) => "zone-unreadable",
            FileFault::Name => "zone-file-name",
            FileFault::Twice { .. } => "zone-twice",
        };
        let file = file.display().to_string();
        let (included, line, column) = (None, None, None);
        let text = fault.to_string();
        let severity = Severity::Error;
        self.findings.push(Found { severity, code, file, included, line, column, text });
    }

    fn add(&mut self, severity: Severity, file: &Path, Finding { place, flaw }: &Finding) {
        let place = place.as_ref();
        self.findings.push(Found {
            severity,
            code: flaw.code(),
            file: file.display().to_string(),
            included: place.and_then(|place| place.file.as_deref()).map(str::to_owned),
            line: place.map(|place| place.line),
            column: place.and_then(|place| place.column),
            text: flaw.to_string(),
        });
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for found in &self.findings {
            let severity = match found.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let mut place = found.file.clone();
            if let Some(included) = &found.included {
                place.push_str(&format!(", included {included}"));
            }
            for number in [found.line, found.column].into_iter().flatten() {
                place.push_str(&format!(":{number}"));
            }
            writeln!(text, "{place}: {severity}: {} [{}]", found.text, found.code)
                .expect("a string takes everything");
        }
        for good in &self.zones {
            let Good { file, zone, serial, records } = good;
            let records = counted(*records, "record");
            writeln!(text, "{file}: zone {zone} serial {serial}, {records}")
                .expect("a string takes everything");
        }
        text
    }
}
