use std::error::Error as StdError;
use std::fmt::Write as _;
use std::path::Path;

use super::tests::{SMALL, batch, entry, metadata};
use super::*;
use crate::membership::MemberId;
use crate::raft::{HardState, Index, Payload, Term};
use crate::replica::Persist;
use crate::sim::SimDisk;

/// Runs scripts against a log on a simulated disk.
#[derive(Default)]
struct Runner {
    wal: Option<Wal<SimDisk>>,
    disk: Option<SimDisk>,
}

type Answer = Result<String, Box<dyn StdError>>;

impl goldenscript::Runner for Runner {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &Self::Command, _: &goldenscript::Context) -> Answer {
        let mut args = command.consume_args();
        let out = match command.name.as_str() {
            "create" => {
                self.wal = Some(Wal::create_on(SimDisk::default(), metadata(), SMALL)?);
                self.place()
            }
            // append INDEX TERM SIZE: one entry, not yet synced.
            "append" => {
                let mut number = || number(args.next_pos());
                let (index, term, size) = (number()?, number()?, number()?);
                let data = vec![b'x'; usize::try_from(size)?];
                self.wal()?.append(&batch(vec![entry(index, term, data)]));
                String::new()
            }
            "vote" => {
                let mut number = || number(args.next_pos());
                let (term, vote, commit) = (Term(number()?), MemberId(number()?), Index(number()?));
                let hard_state = Some(HardState { term, vote: Some(vote), commit });
                self.wal()?.append(&Persist { hard_state, sync: true, ..Persist::default() });
                String::new()
            }
            "sync" => {
                self.wal()?.sync()?;
                self.place()
            }
            "compact" => {
                let index = args.next_pos().ok_or("an index")?.parse()?;
                self.wal()?.compact(Index(index))?;
                self.names()?
            }
            "stop" => {
                self.disk = Some(self.wal.take().ok_or("no log")?.into_disk());
                String::new()
            }
            // flip SEGMENT OFFSET: changes one bit.
            "flip" => {
                let name = self.name(args.next_pos().ok_or("a segment")?.parse()?)?;
                let offset = args.next_pos().ok_or("an offset")?.parse()?;
                self.disk()?.damage(&name, offset, 0x10);
                String::new()
            }
            // zero SEGMENT FROM TO: as though these bytes had never been written.
            "zero" => {
                let name = self.name(args.next_pos().ok_or("a segment")?.parse()?)?;
                let from: usize = args.next_pos().ok_or("an offset")?.parse()?;
                let to: usize = args.next_pos().ok_or("an offset")?.parse()?;
                self.disk()?.overwrite(&name, from, &vec![0; to - from]);
                String::new()
            }
            "format" => {
                let name = self.name(args.next_pos().ok_or("a segment")?.parse()?)?;
                let version: u32 = args.next_pos().ok_or("a version")?.parse()?;
                self.disk()?.overwrite(&name, 8, &version.to_le_bytes());
                String::new()
            }
            "lose" => {
                let name = self.name(args.next_pos().ok_or("a segment")?.parse()?)?;
                self.disk()?.remove(&name)?;
                String::new()
            }
            "open" => {
                let (wal, found) = Wal::open_on(self.disk.take().ok_or("not stopped")?, SMALL)?;
                self.wal = Some(wal);
                show(&found)?
            }
            name => return Err(format!("no command {name}").into()),
        };
        args.reject_next()?;
        Ok(out)
    }
}

fn number(argument: Option<&str>) -> Result<u64, Box<dyn StdError>> {
    Ok(argument.ok_or("a number")?.parse()?)
}

impl Runner {
    fn wal(&mut self) -> Result<&mut Wal<SimDisk>, Box<dyn StdError>> {
        self.wal.as_mut().ok_or_else(|| "the log is not open".into())
    }

    fn disk(&self) -> Result<&SimDisk, Box<dyn StdError>> {
        self.disk.as_ref().ok_or_else(|| "the log is open".into())
    }

    fn name(&self, number: usize) -> Result<String, Box<dyn StdError>> {
        Ok(self.disk()?.names()?.get(number).ok_or("no such segment")?.clone())
    }

    fn names(&mut self) -> Answer {
        let mut names = self.wal()?.disk().names()?;
        names.sort_unstable();
        Ok(names.join("\n"))
    }

    fn place(&self) -> String {
        let wal = self.wal.as_ref().expect("just used");
        let segment = wal.segments.last().expect("a log has a segment");
        format!("{}: next frame {} at {}", segment.name, wal.chain.number, wal.offset)
    }
}

fn show(found: &Recovered) -> Answer {
    let mut out = String::new();
    let HardState { term, vote, commit } = found.hard_state;
    let vote = vote.map_or_else(|| "nobody".to_owned(), |id| id.to_string());
    writeln!(out, "term {}, vote for {vote}, commit {}", term.0, commit.0)?;
    writeln!(out, "begins behind {} of term {}", found.base.index.0, found.base.term.0)?;
    for entry in &found.entries {
        let size = match &entry.payload {
            Payload::Empty => 0,
            Payload::Request(data) | Payload::Membership(data) => data.len(),
        };
        writeln!(out, "entry {} of term {}, {size} bytes", entry.index.0, entry.term.0)?;
    }
    Ok(out)
}

fn script(name: &str) {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/wal/testdata"));
    // A refusal leaves a log that cannot be opened; each script has its own.
    goldenscript::run(&mut Runner::default(), dir.join(name)).unwrap();
}

#[test]
fn torn_tail_is_cut_off() {
    script("torn_tail_is_cut_off.txt");
}

#[test]
fn damage_that_was_acknowledged_is_refused() {
    for name in ["damaged_middle", "damaged_last_frame", "damaged_older_segment"] {
        script(&format!("{name}.txt"));
    }
}

#[test]
fn other_formats_and_gaps_are_refused() {
    script("newer_version.txt");
    script("missing_segment.txt");
}

#[test]
fn rewritten_entries_survive_compaction() {
    script("rewritten_entries_and_compaction.txt");
}
