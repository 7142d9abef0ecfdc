use std::error::Error;
use std::fmt::Write as _;
use std::ops::ControlFlow;

use bytes::Bytes;
use goldenscript::{Argument, Command, Context};

use crate::mvcc::{KeyRange, Keyspace, Memory, Revision, Storage};

/// Runs every script in `testdata`: commands above the line, what they did below it.
#[test]
fn golden_scripts() -> Result<(), Box<dyn Error>> {
    for entry in std::fs::read_dir("src/mvcc/testdata")? {
        let keys = super::open(Memory::default())?;
        goldenscript::run(&mut Runner { keys }, entry?.path())?;
    }
    Ok(())
}

struct Runner {
    keys: Keyspace<Memory>,
}

impl goldenscript::Runner for Runner {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        match &command.name[..] {
            // write KEY=VALUE KEY: puts, and deletions of keys without a value, in one revision.
            "write" => return Ok(self.write(command)),
            "range" => {
                let at = args.take_key("at").map(str::parse).transpose()?;
                args.reject_next()?;
                return self.range(at.unwrap_or_else(|| self.keys.revision()));
            }
            "compact" => {
                let revision = args.next_pos().ok_or("which revision?")?.parse()?;
                return Ok(match self.keys.compact(revision) {
                    Ok(()) => format!("compact revision {}\n", self.keys.compact_revision()),
                    Err(error) => format!("refused: {error}\n"),
                });
            }
            "sweep" => {
                let limit = args.take_key("limit").map(str::parse).transpose()?;
                return Ok(format!(
                    "sweep: more {}\n",
                    self.keys.sweep(limit.unwrap_or(usize::MAX))
                ));
            }
            "restart" => {
                let storage = std::mem::take(self.keys.storage_mut());
                self.keys = super::open(storage)?;
                let (revision, sweeping) = (self.keys.revision(), self.keys.sweeping());
                return Ok(format!("restart: revision {revision}, sweeping: {sweeping}\n"));
            }
            "records" => {}
            name => return Err(format!("no such command: {name}").into()),
        }
        let mut out = String::new();
        self.keys.storage().scan(Revision::default(), &mut |at, record| {
            let deleted = if record.deleted { " deleted" } else { "" };
            writeln!(out, "{at:?} {}{deleted}", String::from_utf8_lossy(record.key)).unwrap();
            ControlFlow::Continue(())
        })?;
        Ok(out)
    }
}

impl Runner {
    fn write(&mut self, command: &Command) -> String {
        let mut write = self.keys.write();
        for arg in &command.args {
            match arg.clone() {
                Argument::KeyValue(key, value) => write.put(key.into(), value.into(), 0),
                Argument::Positional(key) => write.delete(key.into()),
                other => panic!("{other} is no key"),
            }
        }
        write.finish();
        format!("write: revision {}\n", self.keys.revision())
    }

    fn range(&self, at: i64) -> Result<String, Box<dyn Error>> {
        let mut out = String::new();
        let all = KeyRange::From(Bytes::from_static(b"\0"));
        for (key, found) in self.keys.range(&all, at, None) {
            let Some(found) = found else { continue };
            let kv = self.keys.storage().get(found)?.kv;
            let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(&kv.value));
            let (created, version) = (kv.create_revision, kv.version);
            writeln!(out, "{key}={value} at {found:?}, created {created}, version {version}")?;
        }
        Ok(out)
    }
}
