use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt::Write as _;
use std::path::Path;

use super::tests::{config, roster};
use super::*;
use crate::raft::kind;

type Answer = Result<String, Box<dyn StdError>>;

/// Some replicas; a script moves every tick, message and sync by hand.
struct Runner {
    replicas: BTreeMap<u64, Replica>,
    /// Messages on the way, by sender and receiver, oldest first.
    links: BTreeMap<(u64, u64), Vec<Message>>,
    /// Batches that are not on disk.
    disks: BTreeMap<u64, Vec<Persist>>,
}

impl Runner {
    fn new(size: u64) -> Self {
        let roster = roster(1..=size);
        let replica = |id| (id, Replica::new(config(id, &roster, true)).unwrap());
        Self {
            replicas: (1..=size).map(replica).collect(),
            links: BTreeMap::new(),
            disks: BTreeMap::new(),
        }
    }
}

impl goldenscript::Runner for Runner {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &Self::Command, _: &goldenscript::Context) -> Answer {
        let mut args = command.consume_args();
        let mut out = String::new();
        let mut number = || -> Result<u64, Box<dyn StdError>> {
            Ok(args.next_pos().ok_or("a number")?.parse()?)
        };
        match command.name.as_str() {
            // campaign ID: ticks until it wants to lead.
            "campaign" => {
                let id = number()?;
                while self.replica(id)?.status().role == Role::Follower {
                    self.replica(id)?.step(Event::Tick);
                }
                self.settle(id, &mut out)?;
            }
            "tick" => {
                let id = number()?;
                self.replica(id)?.step(Event::Tick);
                self.settle(id, &mut out)?;
            }
            "propose" => {
                let (id, value) = (number()?, number()?);
                self.replica(id)?.step(Event::Propose(Bytes::from(value.to_string())));
                self.settle(id, &mut out)?;
            }
            "read" => {
                let (id, context) = (number()?, number()?);
                self.replica(id)?.step(Event::Read { context });
                self.settle(id, &mut out)?;
            }
            // sync ID: everything it wrote is on disk.
            "sync" => {
                let id = number()?;
                self.sync(id, &mut out)?;
            }
            // deliver FROM TO: everything on that link.
            "deliver" => {
                let (from, to) = (number()?, number()?);
                for message in self.links.remove(&(from, to)).unwrap_or_default() {
                    self.replica(to)?.step(Event::Receive(message));
                    self.settle(to, &mut out)?;
                }
            }
            "drop" => {
                let (from, to) = (number()?, number()?);
                let lost = self.links.remove(&(from, to)).unwrap_or_default();
                writeln!(out, "{} messages lost", lost.len())?;
            }
            // settle ID...: syncs and delivers among these until nothing moves.
            "settle" => {
                let mut ids = Vec::new();
                while let Ok(id) = number() {
                    ids.push(id);
                }
                self.settle_among(&ids, &mut out)?;
            }
            name => return Err(format!("no command {name}").into()),
        }
        Ok(out)
    }
}

impl Runner {
    fn replica(&mut self, id: u64) -> Result<&mut Replica, Box<dyn StdError>> {
        self.replicas.get_mut(&id).ok_or_else(|| "no such replica".into())
    }

    fn sync(&mut self, id: u64, out: &mut String) -> Result<(), Box<dyn StdError>> {
        let batches = self.disks.remove(&id).unwrap_or_default();
        let Some(batch) = batches.last().map(|persist| persist.batch) else { return Ok(()) };
        writeln!(out, "{id} has synced up to batch {batch}")?;
        for persist in batches {
            self.post(id, persist.then_send, "", out)?;
        }
        self.replica(id)?.step(Event::Persisted { batch });
        self.settle(id, out)
    }

    fn settle_among(&mut self, ids: &[u64], out: &mut String) -> Result<(), Box<dyn StdError>> {
        loop {
            let before = out.len();
            for id in ids {
                self.sync(*id, out)?;
            }
            for (from, to) in ids.iter().flat_map(|from| ids.iter().map(|to| (*from, *to))) {
                for message in self.links.remove(&(from, to)).unwrap_or_default() {
                    writeln!(out, "{to} <- {from} {}", show(&message))?;
                    self.replica(to)?.step(Event::Receive(message));
                    self.settle(to, out)?;
                }
            }
            if out.len() == before {
                return Ok(());
            }
        }
    }

    fn post(
        &mut self,
        from: u64,
        messages: Vec<Message>,
        note: &str,
        out: &mut String,
    ) -> Result<(), Box<dyn StdError>> {
        for message in messages {
            writeln!(out, "{from} -> {} {}{note}", message.to, show(&message))?;
            self.links.entry((from, message.to)).or_default().push(message);
        }
        Ok(())
    }

    fn settle(&mut self, id: u64, out: &mut String) -> Result<(), Box<dyn StdError>> {
        loop {
            let effects = self.replica(id)?.effects();
            if effects.is_empty() {
                return Ok(());
            }
            if let Some(Status { leader, term, role, .. }) = effects.status {
                let leader = leader.map_or_else(|| "nobody".to_owned(), |id| id.to_string());
                writeln!(out, "{id} is {role:?} of term {}, led by {leader}", term.0)?;
            }
            if let Some(persist) = effects.persist {
                writeln!(out, "{id} writes {}", show_batch(&persist))?;
                self.disks.entry(id).or_default().push(persist);
            }
            self.post(id, effects.send, " at once", out)?;
            for committed in effects.committed {
                if let Committed::Request { index, term, data } = &committed {
                    let data = String::from_utf8_lossy(data);
                    writeln!(out, "{id} applies {}@{} \"{data}\"", index.0, term.0)?;
                }
                self.replica(id)?.step(Event::Applied { index: committed.index() });
            }
            for ReadReady { context, index } in effects.reads {
                writeln!(out, "{id} may serve read {context} from {}", index.0)?;
            }
            for context in effects.reads_lost {
                writeln!(out, "{id} lost read {context}")?;
            }
        }
    }
}

fn show(message: &Message) -> String {
    let mut out = format!("{} of term {}", kind::name(message.kind), message.term);
    let fits = "writing to a string cannot fail";
    if message.index > 0 {
        write!(out, ", {}@{}", message.index, message.log_term).expect(fits);
    } else if message.term == 0 {
        write!(out, ", made in term {}", message.log_term).expect(fits);
    }
    if !message.entries.is_empty() && message.kind == kind::APPEND {
        let entries: Vec<String> =
            message.entries.iter().map(|entry| format!("{}@{}", entry.index, entry.term)).collect();
        write!(out, " + {}", entries.join(" ")).expect(fits);
    }
    if message.commit > 0 {
        write!(out, ", commit {}", message.commit).expect(fits);
    }
    if message.reject {
        write!(out, ", rejected, try {}", message.reject_hint).expect(fits);
    }
    out
}

fn show_batch(persist: &Persist) -> String {
    let mut parts = Vec::new();
    if let Some(HardState { term, vote, commit }) = persist.hard_state {
        let vote = vote.map_or_else(|| "nobody".to_owned(), |id| id.to_string());
        parts.push(format!("term {} vote {vote} commit {}", term.0, commit.0));
    }
    let entry = |entry: &Entry| format!("{}@{}", entry.index.0, entry.term.0);
    parts.extend(persist.entries.iter().map(entry));
    let waits = persist.then_send.len();
    let sync = if persist.sync { "" } else { ", no hurry" };
    format!("batch {} [{}], {waits} messages wait{sync}", persist.batch, parts.join(", "))
}

fn script(name: &str) {
    script_of(3, name);
}

fn script_of(size: u64, name: &str) {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/replica/testdata"));
    goldenscript::run(&mut Runner::new(size), dir.join(name)).unwrap();
}

#[test]
fn votes_leave_after_their_sync() {
    script("votes_leave_after_their_sync.txt");
}

#[test]
fn leader_replicates_before_its_own_sync() {
    script("leader_replicates_before_its_own_sync.txt");
}

#[test]
fn divergent_follower_is_rewritten() {
    script("divergent_follower_is_rewritten.txt");
}

#[test]
fn read_index_needs_a_quorum() {
    script("read_index_needs_a_quorum.txt");
}

#[test]
fn two_of_five_are_no_quorum() {
    script_of(5, "two_of_five_are_no_quorum.txt");
}
