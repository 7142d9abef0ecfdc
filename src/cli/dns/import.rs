use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use hickory_proto::rr::Name;

use crate::cli::{Failure, output, running};
use crate::dns_server::{self, Dnsmasq};
use crate::zone;

/// What to turn into zone files.
#[derive(Debug, Args)]
pub(in crate::cli) struct Import {
    /// Configuration file of dnsmasq; files that it includes are read too
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Directory to write NAME.zone files into; created if missing
    #[arg(long, value_name = "DIR", default_value = "dns-zones")]
    zones_dir: PathBuf,
    /// Name server that the zones name
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    name_server: String,
    /// Replace zone files that are there already
    #[arg(long)]
    force: bool,
}

impl Import {
    /// Writes the zone files, and says on standard error what they cannot hold.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let dnsmasq = Dnsmasq::load(&self.files).map_err(|errors| {
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Failure::Configuration(texts.join("\n  ").into())
        })?;
        let server = Name::from_ascii(&self.name_server).map(|mut name| {
            name.set_fqdn(true);
            name
        });
        let server = server.map_err(|_reason| {
            let text = format!("--name-server `{}` is no name of a host", self.name_server);
            Failure::Configuration(text.into())
        })?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let serial = u32::try_from(now & u64::from(u32::MAX)).expect("the upper bits are cut off");
        let imported = dns_server::import(dnsmasq, &server, serial);
        for note in &imported.notes {
            // Nothing is left to do when standard error itself is closed.
            let _ = writeln!(std::io::stderr().lock(), "note: {note}");
        }
        if imported.zones.is_empty() {
            return Err(running("there is nothing that a zone file could hold"));
        }
        std::fs::create_dir_all(&self.zones_dir).map_err(running)?;
        let mut out = String::new();
        for (name, text) in &imported.zones {
            let file = self.zones_dir.join(format!("{name}.zone"));
            self.write(&file, text)?;
            out.push_str(&format!("{}: {} records\n", file.display(), text.lines().count()));
            for finding in judge(name, text) {
                let _ = writeln!(std::io::stderr().lock(), "note: {}: {finding}", file.display());
            }
        }
        output::print(&out)
    }

    fn write(&self, file: &Path, text: &str) -> Result<(), Failure> {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).create_new(!self.force);
        let written = options.open(file).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| {
            let hint = match error.kind() {
                ErrorKind::AlreadyExists => "; --force replaces it",
                _ => "",
            };
            running(format!("`{}` cannot be written: {error}{hint}", file.display()))
        })
    }
}

/// What `quorate serve` will say about the new file.
fn judge(name: &str, text: &str) -> Vec<String> {
    let origin = Name::from_ascii(format!("{name}.")).unwrap_or_default();
    match zone::load(text.as_bytes(), &origin, None, &mut zone::no_include) {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    }
}
