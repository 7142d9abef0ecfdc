use std::collections::{BTreeMap, BTreeSet};

use super::check::Checkers;
use super::client::{History, Wish};
use super::lease_holders::LeaseHolders;
use super::member::Member;
use super::network::Network;
use super::patience::Patience;
use super::readers::Readers;
use super::traffic::CLIENT_PATIENCE;
use super::watchers::Watchers;
use crate::apply::{Error, Outcome};
use crate::membership::{MemberId, PeerUrl, Roster, RosterEntry};
use crate::raft::{Draw, Message, Role};
use crate::replica::{Committed, Effects, Event, Persist};

/// One tick of a member's clock; everything else is measured in the same unit.
const TICK: u64 = 10;
/// How long the first act lasts.
const TROUBLE: u64 = 1500;
/// How long the second may last: forty election timeouts.
const PATIENCE: u64 = 4000;
pub(super) const CLIENTS: usize = 3;

/// A rule that the simulated shell breaks on purpose, to show that a checker notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    None,
    /// Says that a batch is on disk, and sends what waits for it, before it is.
    AcknowledgeEarly,
    /// Serves gets from whatever is applied, without a read index.
    ReadLocally,
    /// A leader serves reads without asking whether it still leads.
    LeadBlindly,
    /// Leaves terms and votes out of the log.
    ForgetVotes,
    /// Judges about leases by the clock of whoever believes to lead.
    TrustClocks,
    /// Proposes what clients asked for, however long ago.
    NeverForget,
}

impl Sabotage {
    /// Whether users, leases, compactions and watches go on around the broken rule.
    pub(super) fn leaves_others_alone(self) -> bool {
        matches!(self, Self::None | Self::TrustClocks | Self::NeverForget)
    }
}

/// What a run did, so that tests can see that it did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    pub operations: usize,
    pub answered: usize,
    pub crashes: u64,
    pub installed_snapshots: u64,
    /// Operations that were not answered while their client waited.
    pub given_up: u64,
    /// Requests that were refused for who made them.
    pub denied: u64,
    /// Compactions that took place.
    pub compacted: u64,
    /// Leases: renewals that were acknowledged, checkpoints that were applied, and ends by the clock.
    pub renewed: u64,
    pub checkpointed: u64,
    pub expired: u64,
    /// Revisions that watchers were told of, and times that what they asked for was compacted.
    pub watched: u64,
    pub missed: u64,
    pub happenings: u64,
    /// Differs when anything differs.
    pub fingerprint: u64,
}

/// Runs one seed. The error says which checker objects, and `story` takes what happened.
pub fn run(seed: u64, sabotage: Sabotage, story: &mut Vec<String>) -> Result<Summary, String> {
    let mut world = World::new(seed, sabotage);
    let ended = world.live();
    story.append(&mut world.story);
    ended?;
    world.summary.operations = world.history.len();
    world.summary.answered = world.history.answered();
    world.summary.fingerprint = world.draw.number();
    Ok(world.summary)
}

#[derive(Debug)]
pub(super) enum Happening {
    Tick(MemberId, u64),
    Deliver(Box<Message>),
    Persist(MemberId, u64),
    Apply(MemberId, u64),
    MakeSnapshot(MemberId, u64),
    SnapshotSent { from: MemberId, to: MemberId, delivered: bool },
    Act(usize),
    Read,
    Fault,
    Restart(MemberId),
}

pub(super) struct World {
    pub(super) draw: Draw,
    /// What users do, apart from the rest: a broken rule shows at the same seeds with and without them.
    pub(super) users: Draw,
    pub(super) now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    last_happening: u64,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) network: Network,
    pub(super) history: History,
    pub(super) checkers: Checkers,
    /// What each client waits for, and since when.
    pub(super) clients: [Option<(u64, u64)>; CLIENTS],
    /// For how long members propose what they were asked for.
    request_ticks: u32,
    pub(super) patience: Patience,
    pub(super) lease_holders: LeaseHolders,
    pub(super) watchers: Watchers,
    pub(super) readers: Readers,
    pub(super) sabotage: Sabotage,
    /// The second act has begun.
    pub(super) calm: bool,
    pub(super) summary: Summary,
    story: Vec<String>,
}

/// The founders of a simulated cluster.
fn founders(size: u64) -> Roster {
    let member = |id| (MemberId(id), entry(id));
    Roster { members: (1..=size).map(member).collect(), ..Roster::default() }
}

pub(super) fn entry(id: u64) -> RosterEntry {
    let url = PeerUrl::parse(&format!("http://10.0.0.{id}:2380")).expect("this is a URL");
    RosterEntry { peer_urls: vec![url], learner: false }
}

impl World {
    fn new(seed: u64, sabotage: Sabotage) -> Self {
        let mut draw = Draw::new(seed);
        let roster = founders(if draw.chance(500) { 3 } else { 5 });
        // About as long as clients wait, or longer, so that what was lost with a leader is proposed again.
        let request_ticks = if seed.is_multiple_of(2) { 20 } else { 70 };
        let member = |id: &MemberId| (*id, Member::create(*id, &roster, false));
        Self {
            now: 0,
            queue: BTreeMap::new(),
            last_happening: 0,
            members: roster.members.keys().map(member).collect(),
            network: Network::default(),
            history: History::default(),
            checkers: Checkers::default(),
            clients: [None; CLIENTS],
            request_ticks,
            patience: Patience::of_ticks(request_ticks),
            lease_holders: LeaseHolders::default(),
            watchers: Watchers::default(),
            readers: Readers::default(),
            sabotage,
            calm: false,
            summary: Summary::default(),
            story: Vec::new(),
            users: Draw::new(!seed),
            draw,
        }
    }

    fn live(&mut self) -> Result<(), String> {
        let ids: Vec<MemberId> = self.members.keys().copied().collect();
        for id in ids {
            self.start(id)?;
        }
        for client in 0..CLIENTS {
            self.after(TICK, Happening::Act(client));
        }
        if self.has_readers() {
            self.after(TICK, Happening::Read);
        }
        self.after(50, Happening::Fault);
        while self.now < TROUBLE {
            self.next()?;
        }
        self.heal()?;
        self.history.check()
    }

    /// The second act: everything works again, and the cluster must too.
    fn heal(&mut self) -> Result<(), String> {
        self.tell("everything heals");
        self.calm = true;
        self.network.heal();
        let down: Vec<MemberId> = self.members.keys().copied().collect();
        for id in down {
            if self.members[&id].up.is_none() {
                self.start(id)?;
            }
        }
        let deadline = self.now + PATIENCE;
        let Some(roster) = self.wait(deadline, Self::settled_roster)? else {
            return Err("liveness: no leader that all members follow".to_owned());
        };
        for id in roster {
            self.serve(id, Wish::Put(0), deadline)?;
            self.serve(id, Wish::Get, deadline)?;
        }
        if self.wait(deadline, Self::equal_states)?.is_none() {
            return Err("liveness: states stay different".to_owned());
        }
        self.watchers_see_all()
    }

    /// Lets things happen until there is what is looked for, or the deadline passes.
    fn wait<T>(
        &mut self,
        deadline: u64,
        look: impl Fn(&Self) -> Option<T>,
    ) -> Result<Option<T>, String> {
        while self.now < deadline {
            if let Some(found) = look(self) {
                return Ok(Some(found));
            }
            self.next()?;
        }
        Ok(None)
    }

    /// The members of the cluster, when all of them follow one leader.
    pub(super) fn settled_roster(&self) -> Option<Vec<MemberId>> {
        let running = |id: &MemberId| self.members.get(id)?.up.as_ref();
        let leads =
            |id: &&MemberId| running(id).is_some_and(|up| up.replica.status().role == Role::Leader);
        let leader = self
            .members
            .keys()
            .filter(leads)
            .max_by_key(|id| running(id).map(|up| up.replica.status().term))?;
        let roster = running(leader)?.replica.roster();
        let follows = |id: &MemberId| running(id)?.replica.status().leader;
        let all: Vec<MemberId> = roster.members.keys().copied().collect();
        all.iter().all(|id| follows(id) == Some(*leader)).then_some(all)
    }

    /// Writes or reads through this member until it is answered.
    fn serve(&mut self, id: MemberId, wish: Wish, deadline: u64) -> Result<(), String> {
        while self.now < deadline {
            // A change that was asked for in the first act may have removed it only now.
            if self.settled_roster().is_some_and(|roster| !roster.contains(&id)) {
                return Ok(());
            }
            let stamp = self.stamp();
            let number = match wish {
                Wish::Get => self.history.begin_get(stamp),
                Wish::Put(_) | Wish::Swap { .. } => self.history.begin_put(stamp),
            };
            self.ask(id, number)?;
            let patience = deadline.min(self.now + CLIENT_PATIENCE);
            let answered = |world: &Self| world.history.is_answered(number).then_some(());
            if self.wait(patience, answered)?.is_some() {
                return Ok(());
            }
        }
        Err(format!("liveness: {id} does not serve {wish:?}"))
    }

    /// Durability: everybody has applied all that anybody ever applied, and holds the same.
    fn equal_states(&self) -> Option<()> {
        let roster = self.settled_roster()?;
        let last = self.checkers.last_applied();
        let states =
            roster.iter().map(|id| &self.members[id].up.as_ref().expect("it follows").state);
        let mut hashes = BTreeSet::new();
        for state in states {
            if state.applied().0 != last {
                return None;
            }
            let users = format!("{:?}", state.auth());
            hashes.insert((state.revision(), state.hash_kv(0).ok(), users));
        }
        (hashes.len() == 1).then_some(())
    }

    pub(super) fn after(&mut self, delay: u64, happening: Happening) {
        self.last_happening += 1;
        self.queue.insert((self.now + delay, self.last_happening), happening);
    }

    fn next(&mut self) -> Result<(), String> {
        let ((now, _), happening) = self.queue.pop_first().expect("clocks never stop");
        self.now = now;
        self.summary.happenings += 1;
        match happening {
            Happening::Tick(id, starts) => self.tick(id, starts),
            Happening::Deliver(message) => self.deliver(*message),
            Happening::Persist(id, starts) => self.persist(id, starts),
            Happening::Apply(id, starts) => self.apply(id, starts),
            Happening::MakeSnapshot(id, starts) => self.make_snapshot(id, starts),
            Happening::SnapshotSent { from, to, delivered } => {
                self.step(from, Event::SnapshotSent { to, delivered })
            }
            Happening::Act(client) => self.act(client),
            Happening::Read => self.reader_asks(),
            Happening::Fault => self.fault(),
            Happening::Restart(id) => match self.members[&id].up {
                Some(_) => Ok(()),
                None => self.start(id),
            },
        }
    }

    /// One moment of the clients' common clock.
    pub(super) fn stamp(&mut self) -> u64 {
        self.last_happening += 1;
        self.last_happening
    }

    pub(super) fn start(&mut self, id: MemberId) -> Result<(), String> {
        let member = self.members.get_mut(&id).expect("members are never forgotten");
        let request_ticks = match self.sabotage {
            Sabotage::NeverForget => u32::MAX,
            _ => self.request_ticks,
        };
        member.start(&mut self.draw, request_ticks)?;
        let starts = member.starts;
        self.tell(format!("{id} starts"));
        let first = self.draw.below(TICK);
        self.after(first, Happening::Tick(id, starts));
        self.settle(id)
    }

    pub(super) fn is_current(&self, id: MemberId, starts: u64) -> bool {
        let member = &self.members[&id];
        member.up.is_some() && member.starts == starts
    }

    fn tick(&mut self, id: MemberId, starts: u64) -> Result<(), String> {
        if !self.is_current(id, starts) {
            return Ok(());
        }
        // Clocks run at different speeds.
        let next = TICK - 1 + self.draw.below(3);
        self.after(next, Happening::Tick(id, starts));
        self.step(id, Event::Tick)?;
        self.mind_leases(id)
    }

    fn deliver(&mut self, message: Message) -> Result<(), String> {
        let id = MemberId(message.to);
        let Some(running) = self.members.get_mut(&id).and_then(|member| member.up.as_mut()) else {
            return Ok(());
        };
        running.replica.step(Event::Receive(message));
        // Sometimes several events are taken before their effects are looked at.
        if self.draw.chance(200) { Ok(()) } else { self.settle(id) }
    }

    pub(super) fn step(&mut self, id: MemberId, event: Event) -> Result<(), String> {
        let Some(running) = self.members.get_mut(&id).and_then(|member| member.up.as_mut()) else {
            return Ok(());
        };
        self.patience.hears(&event, self.now);
        running.replica.step(event);
        self.settle(id)
    }

    /// Carries out effects until there are none.
    pub(super) fn settle(&mut self, id: MemberId) -> Result<(), String> {
        while let Some(running) = &mut self.members.get_mut(&id).expect("it exists").up {
            let effects = running.replica.effects();
            if effects.is_empty() {
                break;
            }
            self.carry_out(id, effects)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, id: MemberId, effects: Effects) -> Result<(), String> {
        if let Some(status) = effects.status {
            self.tell(format!("{id} {status:?}"));
            self.follow_leader(id, status);
            if status.role == Role::Leader {
                self.checkers.leads(status.term, id)?;
            }
        }
        self.send(id, effects.send)?;
        if let Some(persist) = effects.persist {
            self.take_batch(id, persist)?;
        }
        let starts = self.members[&id].starts;
        let member = self.members.get_mut(&id).expect("it exists");
        let running = member.up.as_mut().expect("it has effects");
        running.to_apply.extend(effects.committed);
        let apply = !running.to_apply.is_empty() && !running.apply_busy;
        running.apply_busy |= apply;
        for request in effects.refused {
            use prost::Message as _;
            let request = crate::proto::quorate::replica::Request::decode(request);
            if let Ok(request) = request
                && request.id > 0
                && request.op.is_some()
            {
                if Self::is_about_leases(request.id) {
                    self.refused_of_leases(id, request.id);
                } else {
                    self.history.refused(request.id);
                }
            }
        }
        for read in effects.reads {
            self.read_ready(id, read)?;
        }
        for context in effects.reads_lost {
            self.read_lost(id, context);
        }
        if apply {
            let delay = 1 + self.draw.below(4);
            self.after(delay, Happening::Apply(id, starts));
        }
        if effects.snapshot_wanted {
            let delay = 1 + self.draw.below(20);
            self.after(delay, Happening::MakeSnapshot(id, starts));
        }
        self.serve_reads(id)
    }

    fn take_batch(&mut self, id: MemberId, mut persist: Persist) -> Result<(), String> {
        self.checkers.logs(id, &persist.entries)?;
        self.patience.logs(id, &persist.entries, self.now)?;
        let member = self.members.get_mut(&id).expect("it exists");
        if let Some((meta, data)) = &persist.snapshot {
            member.keep_snapshot(meta, data);
        }
        if self.sabotage == Sabotage::ForgetVotes {
            persist.hard_state = None;
        }
        let running = member.up.as_mut().expect("it has effects");
        let mut early = Vec::new();
        if self.sabotage == Sabotage::AcknowledgeEarly {
            running.replica.step(Event::Persisted { batch: persist.batch });
            early = std::mem::take(&mut persist.then_send);
        }
        running.to_persist.push_back(persist);
        let begin = !running.disk_busy;
        running.disk_busy = true;
        let starts = member.starts;
        self.send(id, early)?;
        if begin {
            // A broken promise shows only while the disk has not caught up, so it is given time.
            let slow = if self.sabotage == Sabotage::AcknowledgeEarly { 500 } else { 20 };
            let stalled = !self.calm && self.draw.chance(slow);
            let delay = 1 + self.draw.below(if stalled { 200 } else { 6 });
            self.after(delay, Happening::Persist(id, starts));
        }
        Ok(())
    }

    fn persist(&mut self, id: MemberId, starts: u64) -> Result<(), String> {
        if !self.is_current(id, starts) {
            return Ok(());
        }
        let batches = self.members.get_mut(&id).expect("it exists").persist()?;
        let Some(last) = batches.last().map(|persist| persist.batch) else { return Ok(()) };
        // The news and the messages take different ways and may overtake each other.
        let messages = batches.into_iter().flat_map(|persist| persist.then_send).collect();
        self.send(id, messages)?;
        if self.sabotage == Sabotage::AcknowledgeEarly {
            return Ok(());
        }
        self.step(id, Event::Persisted { batch: last })
    }

    fn send(&mut self, from: MemberId, messages: Vec<Message>) -> Result<(), String> {
        for message in messages {
            self.patience.sends(from, &message, self.now)?;
            let to = MemberId(message.to);
            let delays = self.network.delays(from, &message, &mut self.draw);
            if message.snapshot.is_some() {
                let delivered = !delays.is_empty();
                let delay = delays.first().map_or(50, |delay| delay + 1);
                self.after(delay, Happening::SnapshotSent { from, to, delivered });
            }
            for delay in delays {
                self.after(delay, Happening::Deliver(Box::new(message.clone())));
            }
        }
        Ok(())
    }

    fn apply(&mut self, id: MemberId, starts: u64) -> Result<(), String> {
        if !self.is_current(id, starts) {
            return Ok(());
        }
        let member = self.members.get_mut(&id).expect("it exists");
        let running = member.up.as_mut().expect("it is current");
        running.apply_busy = false;
        let committed: Vec<Committed> = running.to_apply.drain(..).collect();
        for step in committed {
            self.apply_one(id, &step)?;
        }
        if self.draw.chance(100) {
            self.members.get_mut(&id).expect("it exists").commit_store()?;
        }
        self.serve_reads(id)?;
        self.settle(id)
    }

    fn apply_one(&mut self, id: MemberId, step: &Committed) -> Result<(), String> {
        self.checkers.applies(id, step)?;
        let member = self.members.get_mut(&id).expect("it exists");
        let running = member.up.as_mut().expect("it applies");
        match step {
            Committed::Request { index, term, data } => {
                let outcome = running.state.apply(*index, *term, data);
                let hash = running.hash_now(&mut self.users);
                self.checkers.hashes(id, hash)?;
                if let Some(outcome) = outcome.map_err(|error| error.to_string())? {
                    self.checkers.comes_to(id, *index, &outcome)?;
                    self.heard_of(id, &outcome)?;
                    self.answer(id, outcome)?;
                }
            }
            Committed::Membership { index, term, roster, .. } => {
                running.state.apply_membership(*index, *term, roster);
            }
            Committed::Snapshot { meta, data } => {
                self.summary.installed_snapshots += 1;
                member.install(meta, data);
                return Ok(());
            }
        }
        let running = self.members.get_mut(&id).and_then(|member| member.up.as_mut());
        let running = running.expect("nothing above stops it");
        running.replica.step(Event::Applied { index: step.index() });
        Ok(())
    }

    /// A client that waits at this member for what was applied gets its answer.
    fn answer(&mut self, id: MemberId, outcome: Outcome) -> Result<(), String> {
        let stamp = self.stamp();
        let running = self.members.get_mut(&id).and_then(|member| member.up.as_mut());
        let Some(running) = running else { return Ok(()) };
        let Some(at) = running.writes.iter().position(|held| *held == outcome.id) else {
            return Ok(());
        };
        running.writes.swap_remove(at);
        match outcome.response {
            Ok(response) => self.history.written(outcome.id, stamp, &response),
            Err(Error::Auth(_)) => {
                self.summary.denied += 1;
                self.history.refused(outcome.id);
            }
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }

    pub(super) fn serve_reads(&mut self, id: MemberId) -> Result<(), String> {
        let stamp = self.stamp();
        let running = self.members.get_mut(&id).and_then(|member| member.up.as_mut());
        let Some(running) = running else { return Ok(()) };
        let applied = running.state.applied().0;
        let (ready, waiting) = running.reads.iter().partition(|(index, _)| *index <= applied);
        running.reads = waiting;
        let ready: Vec<_> = ready;
        for (_, number) in ready {
            if Self::is_about_leases(number) {
                self.confirmed(id, number);
                continue;
            }
            let Some(running) = self.members.get_mut(&id).and_then(|member| member.up.as_mut())
            else {
                return Ok(());
            };
            let range = self.history.range(number);
            let response = running.state.range(&range).map_err(|error| error.to_string())?;
            self.history.read(number, stamp, &response);
        }
        Ok(())
    }

    fn make_snapshot(&mut self, id: MemberId, starts: u64) -> Result<(), String> {
        if !self.is_current(id, starts) {
            return Ok(());
        }
        let running = self.members[&id].up.as_ref().expect("it is current");
        let (meta, data) = running.snapshot();
        self.step(id, Event::SnapshotReady { meta, data })
    }

    pub(super) fn tell(&mut self, what: impl Into<String>) {
        self.story.push(format!("{:>5} {}", self.now, what.into()));
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm
    }
}
