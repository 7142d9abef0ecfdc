use super::member::Member;
use super::world::{Happening, World, entry};
use crate::membership::MemberId;
use crate::proto::quorate::replica::MembershipChange;
use crate::proto::quorate::replica::membership_change::Kind;
use crate::replica::Event;

/// A cluster is not made larger than this.
const MAX_MEMBERS: usize = 7;

impl World {
    /// Something goes wrong, or gets better.
    pub(super) fn fault(&mut self) -> Result<(), String> {
        if self.is_calm() {
            return Ok(());
        }
        let pause = 20 + self.draw.below(150);
        self.after(pause, Happening::Fault);
        match self.draw.below(13) {
            0..=3 => self.crash(),
            4..=5 => {
                let ids: Vec<MemberId> = self.members.keys().copied().collect();
                self.network.split(&ids, &mut self.draw);
                self.tell(format!("{:?}", self.network));
            }
            6..=7 => {
                self.network.heal();
                self.tell("the network heals");
            }
            8 => {
                self.network.loss_per_mille = self.draw.below(300);
                self.network.repeat_per_mille = self.draw.below(200);
                self.network.slow_per_mille = self.draw.below(300);
                self.tell(format!("{:?}", self.network));
            }
            9 => return self.transfer(),
            10 => return self.grow(),
            11 => return self.shrink(),
            _ => return self.promote(),
        }
        Ok(())
    }

    fn crash(&mut self) {
        // Sometimes the power of all fails at once.
        let blackout = self.draw.chance(100);
        let ids: Vec<MemberId> = match self.any_member(|member| member.up.is_some()) {
            Some(_) if blackout => self.members.keys().copied().collect(),
            Some(id) => vec![id],
            None => return,
        };
        for id in ids {
            self.tell(format!("{id} crashes"));
            self.summary.crashes += 1;
            let member = self.members.get_mut(&id).expect("it exists");
            member.crash(&mut self.draw);
            let pause = 1 + self.draw.below(300);
            self.after(pause, Happening::Restart(id));
        }
    }

    fn transfer(&mut self) -> Result<(), String> {
        let (Some(from), Some(to)) =
            (self.any_member(|member| member.up.is_some()), self.any_member(|_| true))
        else {
            return Ok(());
        };
        self.tell(format!("{from} is asked to make {to} lead"));
        self.step(from, Event::TransferLeadership(to))
    }

    fn grow(&mut self) -> Result<(), String> {
        let Some(through) = self.any_member(|member| member.up.is_some()) else { return Ok(()) };
        if self.members.len() >= MAX_MEMBERS {
            return Ok(());
        }
        let number = self.members.len() as u64 + 1;
        let id = MemberId(number);
        let running = self.members[&through].up.as_ref().expect("it is up");
        let mut roster = running.replica.roster().clone();
        roster.members.insert(id, entry(number));
        self.members.insert(id, Member::create(id, &roster, true));
        let kind = if self.draw.chance(400) { Kind::AddLearner } else { Kind::Add };
        self.change(through, kind, number)?;
        self.start(id)
    }

    fn shrink(&mut self) -> Result<(), String> {
        let enough = |member: &Member| {
            member.up.as_ref().is_some_and(|up| up.replica.roster().voters().count() > 3)
        };
        let Some(through) = self.any_member(enough) else { return Ok(()) };
        let Some(gone) = self.any_member(|_| true) else { return Ok(()) };
        self.change(through, Kind::Remove, gone.0)
    }

    fn promote(&mut self) -> Result<(), String> {
        let Some(through) = self.any_member(|member| member.up.is_some()) else { return Ok(()) };
        let running = self.members[&through].up.as_ref().expect("it is up");
        let learner = running.replica.roster().learners().next();
        learner.map_or(Ok(()), |learner| self.change(through, Kind::Promote, learner.0))
    }

    fn change(&mut self, through: MemberId, kind: Kind, member_id: u64) -> Result<(), String> {
        let urls = |url: &crate::membership::PeerUrl| url.to_string();
        let change = MembershipChange {
            id: self.next_number(),
            kind: kind.into(),
            member_id,
            peer_urls: entry(member_id).peer_urls.iter().map(urls).collect(),
            max_learners: Some(1),
        };
        self.tell(format!("{through} is asked for {kind:?} of {member_id}"));
        self.step(through, Event::ProposeMembership(change))
    }
}
