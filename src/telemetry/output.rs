use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use super::rotate::RotatingFile;
use super::{Error, Output, Rotation};

/// Open outputs; a line is written to each in one piece.
#[derive(Debug)]
pub(super) struct Outputs(Mutex<Vec<Sink>>);

#[derive(Debug)]
enum Sink {
    Stderr,
    Stdout,
    File(File),
    Rotating(RotatingFile),
}

impl Outputs {
    pub(super) fn open(outputs: &[Output], rotation: Option<Rotation>) -> Result<Self, Error> {
        let file = |path: &Path| match rotation {
            Some(rotation) => RotatingFile::open(path, rotation).map(Sink::Rotating),
            None => OpenOptions::new().create(true).append(true).open(path).map(Sink::File),
        };
        let open = |output: &Output| match output {
            Output::Stderr => Ok(Sink::Stderr),
            Output::Stdout => Ok(Sink::Stdout),
            Output::File(path) => {
                file(path).map_err(|source| Error::Open { path: path.clone(), source })
            }
        };
        outputs.iter().map(open).collect::<Result<_, _>>().map(|sinks| Self(Mutex::new(sinks)))
    }
}

/// Writes whole lines; the formatter hands each over in one call.
#[derive(Debug)]
pub(super) struct Line<'a>(&'a Outputs);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut sinks = self.0.0.lock();
        for sink in sinks.iter_mut() {
            // An output that is gone (a closed pipe, a full disk) must not keep the others from
            // the line, and there is nowhere left to report it.
            let _ = match sink {
                Sink::Stderr => io::stderr().write_all(line),
                Sink::Stdout => io::stdout().write_all(line),
                Sink::File(file) => file.write_all(line),
                Sink::Rotating(file) => file.write_line(line, SystemTime::now()),
            };
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Outputs {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}
