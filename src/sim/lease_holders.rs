use std::collections::BTreeMap;
use std::time::Duration;

use super::traffic::request;
use super::world::{Sabotage, World};
use crate::apply::{LeaseChange, Outcome, Response};
use crate::lease::{Checkpoint, Deadlines, LeaseId, until_known};
use crate::membership::MemberId;
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::request::Op;
use crate::raft::{Role, Term};
use crate::replica::{Event, Status};

/// Milliseconds that one unit of the simulation stands for, in the eyes of leases.
const UNIT_MS: u64 = 10;
/// What a new leader adds: an election timeout.
const EXTEND: Duration = Duration::from_secs(1);
/// Numbers of requests and reads that are no operations of the history, which has far fewer.
const FIRST: u64 = 1 << 40;
const HOLDERS: u64 = 3;
/// A holder that has waited for so long asks again.
const PATIENCE: u64 = 200;

/// Those who hold leases, and what they were promised.
#[derive(Debug, Default)]
pub(super) struct LeaseHolders {
    leases: BTreeMap<u64, Held>,
    last_number: u64,
    /// Leases that were granted so far.
    granted: i64,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    id: i64,
    ttl_seconds: i64,
    /// When the grant or renewal that waits for an answer was asked for.
    asked: Option<u64>,
    /// It lives until then at least.
    safe: u64,
    ended: Option<u64>,
}

/// The leader's side, as `node::lease_clock` has it around threads and waiting clients.
#[derive(Debug, Default)]
pub(super) struct LeaseClock {
    deadlines: Deadlines,
    leads: Option<Term>,
    /// When this leader asked whether it leads and has applied all that came before, and was told so.
    confirmed: Option<u64>,
    /// The read that asks, and since when.
    asking: Option<(u64, u64)>,
    /// A checkpoint that is on its way: no refill may overtake it.
    telling: Option<u64>,
    /// Refills on their way, by request, and the renewal that waits for each.
    refills: BTreeMap<u64, (LeaseId, u64)>,
    /// Renewals that nothing has come of yet, and when they were asked for.
    renewals: Vec<(LeaseId, u64)>,
}

fn clock(units: u64) -> Duration {
    Duration::from_millis(units * UNIT_MS)
}

impl Held {
    fn lives_until(&self, begun: u64) -> u64 {
        begun + u64::try_from(self.ttl_seconds).unwrap_or(0) * 1000 / UNIT_MS
    }
}

impl World {
    fn lease_clock(&mut self, id: MemberId) -> Option<&mut LeaseClock> {
        let running = self.members.get_mut(&id)?.up.as_mut()?;
        Some(&mut running.clock)
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.lease_holders.last_number += 1;
        FIRST + self.lease_holders.last_number
    }

    pub(super) fn is_about_leases(number: u64) -> bool {
        number > FIRST
    }

    /// A member begins or ceases to lead.
    pub(super) fn follow_leader(&mut self, id: MemberId, status: Status) {
        let now = clock(self.now);
        let running = self.members.get_mut(&id).and_then(|member| member.up.as_mut());
        let Some(running) = running else { return };
        let leads = (status.role == Role::Leader).then_some(status.term);
        if running.clock.leads == leads {
            return;
        }
        running.clock = LeaseClock { leads, ..LeaseClock::default() };
        if leads.is_some() {
            running.clock.deadlines.promote(running.state.leases().iter(), now, EXTEND);
        }
    }

    /// A member applied something.
    pub(super) fn heard_of(&mut self, id: MemberId, outcome: &Outcome) -> Result<(), String> {
        self.watchers.heard_of(id, outcome)?;
        let now = self.now;
        if matches!(outcome.response, Ok(Response::Compaction(_))) {
            self.summary.compacted += 1;
        }
        let Some(lease_clock) = self.lease_clock(id) else { return Ok(()) };
        let deadlines = &mut lease_clock.deadlines;
        match &outcome.lease {
            Some(LeaseChange::Granted { id, ttl_seconds }) => {
                deadlines.grant(*id, *ttl_seconds, clock(now));
            }
            Some(LeaseChange::Revoked(lease)) => deadlines.revoke(*lease),
            Some(LeaseChange::Checkpointed(left)) => {
                for (lease, seconds) in left {
                    match seconds {
                        0 => deadlines.refilled(*lease, clock(now)),
                        _ => deadlines.told(*lease),
                    }
                }
            }
            None => {}
        }
        if lease_clock.telling == Some(outcome.id) {
            lease_clock.telling = None;
        }
        let refilled = lease_clock.refills.remove(&outcome.id);
        if let Some((lease, begun)) = refilled
            && outcome.response.is_ok()
        {
            self.renewed(lease, begun)?;
        }
        match &outcome.lease {
            Some(LeaseChange::Granted { id, .. }) => self.granted(*id),
            Some(LeaseChange::Revoked(lease)) => self.revoked(*lease),
            Some(LeaseChange::Checkpointed(_)) => {
                self.summary.checkpointed += 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn held(&mut self, lease: LeaseId) -> Option<&mut Held> {
        self.lease_holders.leases.values_mut().find(|held| held.id == lease.0)
    }

    fn granted(&mut self, lease: LeaseId) -> Result<(), String> {
        // Whoever applies it first may answer.
        if let Some(held) = self.held(lease)
            && let Some(begun) = held.asked.take()
        {
            held.safe = held.lives_until(begun);
        }
        Ok(())
    }

    /// A renewal is acknowledged.
    fn renewed(&mut self, lease: LeaseId, begun: u64) -> Result<(), String> {
        self.summary.renewed += 1;
        let Some(held) = self.held(lease) else { return Ok(()) };
        held.safe = held.safe.max(held.lives_until(begun));
        held.asked = None;
        match held.ended {
            Some(ended) if ended < held.safe => Err(format!(
                "leases: {held:?} was renewed at {begun} although it had ended at {ended}"
            )),
            _ => Ok(()),
        }
    }

    fn revoked(&mut self, lease: LeaseId) -> Result<(), String> {
        let now = self.now;
        let Some(held) = self.held(lease) else { return Ok(()) };
        if held.ended.is_some() {
            return Ok(());
        }
        held.ended = Some(now);
        if now < held.safe {
            return Err(format!("leases: {held:?} ended before its time"));
        }
        self.summary.expired += 1;
        Ok(())
    }

    /// Holders take leases, renew them, and sometimes leave them alone.
    pub(super) fn lease_holders_act(&mut self, id: MemberId) -> Result<(), String> {
        let holder = self.users.below(HOLDERS);
        let now = self.now;
        let Some(held) = self.lease_holders.leases.get(&holder).copied() else {
            return self.ask_for_lease(id, holder);
        };
        if held.ended.is_some() {
            self.lease_holders.leases.remove(&holder);
            return Ok(());
        }
        if held.safe == 0 {
            // Nobody knows whether it was granted.
            if held.asked.is_none_or(|asked| asked + PATIENCE < now) {
                self.lease_holders.leases.remove(&holder);
            }
            return Ok(());
        }
        // Through whoever believes to lead.
        let leads = |id: &&MemberId| {
            let up = self.members[id].up.as_ref();
            up.is_some_and(|up| up.replica.status().role == Role::Leader)
        };
        let leaders: Vec<MemberId> = self.members.keys().filter(leads).copied().collect();
        let at = usize::try_from(self.users.below(leaders.len().max(1) as u64)).unwrap_or(0);
        let Some(leader) = leaders.get(at) else { return Ok(()) };
        if let Some(lease_clock) = self.lease_clock(*leader) {
            lease_clock.renewals.push((LeaseId(held.id), now));
        }
        self.mind_leases(*leader)
    }

    fn ask_for_lease(&mut self, id: MemberId, holder: u64) -> Result<(), String> {
        self.lease_holders.granted += 1;
        let lease = self.lease_holders.granted;
        let ttl = 2 + i64::try_from(self.users.below(5)).unwrap_or(0);
        let held =
            Held { id: lease, ttl_seconds: ttl, asked: Some(self.now), safe: 0, ended: None };
        self.lease_holders.leases.insert(holder, held);
        let grant = Op::LeaseGrant(pb::LeaseGrantRequest { ttl, id: lease });
        let number = self.next_number();
        self.step(id, Event::Propose(request(number, grant, Term::default())))?;
        let put = pb::PutRequest {
            key: format!("leased-{holder}").into(),
            lease,
            ..pb::PutRequest::default()
        };
        let number = self.next_number();
        self.step(id, Event::Propose(request(number, Op::Put(put), Term::default())))
    }

    /// What a leader does about leases now and then.
    pub(super) fn mind_leases(&mut self, id: MemberId) -> Result<(), String> {
        let (now, trusting) = (self.now, self.sabotage == Sabotage::TrustClocks);
        let Some(lease_clock) = self.lease_clock(id) else { return Ok(()) };
        let Some(mut term) = lease_clock.leads else { return Ok(()) };
        if lease_clock.renewals.is_empty()
            && !until_known(|| lease_clock.deadlines.is_due(clock(now)))
        {
            return Ok(());
        }
        if trusting {
            term = Term::default();
        } else if lease_clock.confirmed.is_none_or(|at| clock(now) >= clock(at) + EXTEND) {
            if lease_clock.asking.is_some_and(|(_, since)| since + PATIENCE > now) {
                return Ok(());
            }
            let context = self.next_number();
            if let Some(lease_clock) = self.lease_clock(id) {
                lease_clock.asking = Some((context, now));
            }
            return self.step(id, Event::Read { context });
        }
        let expired = until_known(|| lease_clock.deadlines.expired(clock(now), 10));
        for lease in expired {
            let revoke = Op::LeaseRevoke(pb::LeaseRevokeRequest { id: lease.0 });
            let number = self.next_number();
            self.step(id, Event::Propose(request(number, revoke, term)))?;
        }
        self.checkpoint(id, term)?;
        self.renew(id)
    }

    fn checkpoint(&mut self, id: MemberId, term: Term) -> Result<(), String> {
        let (now, number) = (self.now, self.next_number());
        let Some(lease_clock) = self.lease_clock(id) else { return Ok(()) };
        if lease_clock.telling.is_some() || !lease_clock.refills.is_empty() {
            return Ok(());
        }
        let due = until_known(|| lease_clock.deadlines.take_checkpoints(clock(now), 10));
        if due.is_empty() {
            return Ok(());
        }
        lease_clock.telling = Some(number);
        self.step(id, Event::Propose(request(number, told(&due), term)))
    }

    fn renew(&mut self, id: MemberId) -> Result<(), String> {
        let (now, trusting) = (self.now, self.sabotage == Sabotage::TrustClocks);
        let Some(lease_clock) = self.lease_clock(id) else { return Ok(()) };
        for (lease, begun) in std::mem::take(&mut lease_clock.renewals) {
            let number = self.next_number();
            let Some(lease_clock) = self.lease_clock(id) else { return Ok(()) };
            if !trusting && lease_clock.deadlines.is_ending(lease) {
                // What comes of that decides.
                lease_clock.renewals.push((lease, begun));
                continue;
            }
            let Some(renewal) = lease_clock.deadlines.renew(lease, clock(now)) else { continue };
            if !renewal.refill {
                self.renewed(lease, begun)?;
            } else if lease_clock.telling.is_some() {
                lease_clock.renewals.push((lease, begun));
            } else {
                lease_clock.refills.insert(number, (lease, begun));
                let full = [Checkpoint { id: lease, remaining_seconds: 0 }];
                self.step(id, Event::Propose(request(number, told(&full), Term::default())))?;
            }
        }
        Ok(())
    }

    /// A checkpoint or refill certainly has no effect.
    pub(super) fn refused_of_leases(&mut self, id: MemberId, number: u64) {
        let Some(lease_clock) = self.lease_clock(id) else { return };
        lease_clock.refills.remove(&number);
        lease_clock.telling.take_if(|telling| *telling == number);
    }

    /// A leader was told that it leads and has applied all that came before it asked.
    pub(super) fn confirmed(&mut self, id: MemberId, number: u64) {
        let Some(lease_clock) = self.lease_clock(id) else { return };
        if let Some((_, asked)) = lease_clock.asking.take_if(|(context, _)| *context == number) {
            lease_clock.confirmed = Some(asked);
        }
    }
}

fn told(checkpoints: &[Checkpoint]) -> Op {
    let told = |checkpoint: &Checkpoint| pb::LeaseCheckpoint {
        id: checkpoint.id.0,
        remaining_ttl: checkpoint.remaining_seconds,
    };
    Op::LeaseCheckpoint(pb::LeaseCheckpointRequest {
        checkpoints: checkpoints.iter().map(told).collect(),
    })
}
