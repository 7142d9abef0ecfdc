use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::op::{Message, ResponseCode};
use parking_lot::Mutex;
use tracing::warn;

use super::asker::Asker;

/// A line for each answer, for as long as somebody wants to know.
///
/// ```text
/// 1732190400.123 192.0.2.7#40123 udp A n0.example.org. NOERROR 62 bytes
/// ```
#[derive(Debug)]
pub struct QueryLog {
    file: Mutex<File>,
    path: PathBuf,
}

impl QueryLog {
    /// Appends to a file, which is made if it is missing.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self { file: Mutex::new(file), path: path.to_owned() })
    }

    /// `answer` is what was sent; empty if nothing was.
    pub(super) fn note(&self, asker: Asker, answer: &[u8]) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let Asker { address, transport } = asker;
        let mut line = format!(
            "{}.{:03} {}#{} {} ",
            since.as_secs(),
            since.subsec_millis(),
            address.ip(),
            address.port(),
            transport.label()
        );
        match Message::from_vec(answer) {
            Ok(message) => {
                match message.queries.first() {
                    // Names in a message may have any byte; printed they have escapes.
                    Some(query) => write!(line, "{} {} ", query.query_type(), query.name()),
                    None => write!(line, "- - "),
                }
                .expect("a string takes everything");
                line.push_str(super::metrics::code_label(code(&message)));
            }
            Err(_nothing) => line.push_str("- - dropped"),
        }
        writeln!(line, " {} bytes", answer.len()).expect("a string takes everything");
        let mut file = self.file.lock();
        if let Err(error) = file.write_all(line.as_bytes()) {
            warn!(file = %self.path.display(), error = %error, "DNS query log cannot be written");
        }
    }
}

fn code(message: &Message) -> ResponseCode {
    message.metadata.response_code
}
