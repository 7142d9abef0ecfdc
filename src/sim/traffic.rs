//! What clients do.

use bytes::Bytes;
use prost::Message as _;

use super::client::Wish;
use super::member::Member;
use super::users;
use super::world::{Happening, Sabotage, World};
use crate::auth::Caller;
use crate::membership::MemberId;
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::{Request, request::Op};
use crate::raft::Term;
use crate::replica::Event;

/// Few enough that a run stays short.
const MAX_OPERATIONS: usize = 60;
/// A client that has waited for so long turns to something else.
pub(super) const CLIENT_PATIENCE: u64 = 200;

/// A request by the cluster itself.
pub(super) fn request(id: u64, op: Op, term: Term) -> Bytes {
    let caller = Caller::Cluster.into();
    Request { id, op: Some(op), caller, term: term.0 }.encode_to_vec().into()
}

impl World {
    pub(super) fn act(&mut self, client: usize) -> Result<(), String> {
        if self.calm {
            return Ok(());
        }
        let pause = 5 + self.draw.below(60);
        self.after(pause, Happening::Act(client));
        if let Some((number, since)) = self.clients[client]
            && !self.history.is_answered(number)
        {
            if since + CLIENT_PATIENCE > self.now {
                return Ok(());
            }
            self.clients[client] = None;
            self.give_up(number);
        }
        if self.history.len() >= MAX_OPERATIONS {
            return Ok(());
        }
        let Some(id) = self.any_member(|member| member.up.is_some()) else { return Ok(()) };
        let stamp = self.stamp();
        let number = self.history.begin(stamp, &mut self.draw);
        self.clients[client] = Some((number, self.now));
        if self.sabotage.leaves_others_alone() {
            self.disturb(id)?;
        }
        self.ask(id, number)
    }

    /// What others want meanwhile.
    fn disturb(&mut self, id: MemberId) -> Result<(), String> {
        if self.users.chance(300) {
            let number = self.next_number();
            let change = users::change(&mut self.users, number);
            self.step(id, Event::Propose(change))?;
        }
        if self.users.chance(150) {
            let Some(running) = self.members.get(&id).and_then(|it| it.up.as_ref()) else {
                return Ok(());
            };
            // Compacted already, or in the future, now and then.
            let revision =
                running.state.revision() + 1 - i64::try_from(self.users.below(12)).unwrap_or(0);
            let op = Op::Compaction(pb::CompactionRequest { revision, physical: false });
            let number = self.next_number();
            self.step(id, Event::Propose(request(number, op, Term::default())))?;
        }
        self.lease_holders_act(id)?;
        self.watchers_look()
    }

    /// A client waits no longer. Nobody tells the replica, which may propose the request until that is too old.
    fn give_up(&mut self, number: u64) {
        self.summary.given_up += 1;
        self.history.give_up(number);
        for running in self.members.values_mut().filter_map(|member| member.up.as_mut()) {
            running.writes.retain(|held| *held != number);
        }
    }

    pub(super) fn ask(&mut self, id: MemberId, number: u64) -> Result<(), String> {
        let running = self.members.get_mut(&id).and_then(|member| member.up.as_mut());
        let Some(running) = running else { return Ok(()) };
        match self.history.wish(number) {
            Wish::Get if self.sabotage == Sabotage::ReadLocally => {
                running.reads.push((running.state.applied().0, number));
                return self.serve_reads(id);
            }
            Wish::Get => return self.ask_read_index(id, number),
            Wish::Put(_) | Wish::Swap { .. } => {
                running.writes.push(number);
                let caller = match self.sabotage {
                    Sabotage::None if !self.calm => users::caller(&mut self.users, &running.state),
                    _ => Caller::Cluster,
                };
                let event = Event::Propose(self.history.request(number, caller));
                self.patience.hears(&event, self.now);
                running.replica.step(event);
            }
        }
        self.settle(id)
    }

    pub(super) fn any_member(&mut self, fits: impl Fn(&Member) -> bool) -> Option<MemberId> {
        let fitting: Vec<MemberId> =
            self.members.values().filter(|member| fits(member)).map(|member| member.id).collect();
        if fitting.is_empty() {
            return None;
        }
        let at = usize::try_from(self.draw.below(fitting.len() as u64)).expect("members are few");
        Some(fitting[at])
    }
}
