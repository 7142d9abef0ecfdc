//! What is wrong with a cluster, judged by what its members say.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::output::counted;
use crate::cli::steps::Steps;
use crate::membership::{ClusterId, MemberId};
use crate::proto::etcdserverpb::{AlarmMember, AlarmType, Member, StatusResponse};

/// Entries that a member may be behind without being called slow: etcd refuses writes beyond five times as many.
const LAG: u64 = 1_000;
/// Of a quota, in percent, from which on its end is near.
const NEARLY: i64 = 80;
/// A store below this size is not worth a defragmentation.
const WORTH: i64 = 64 << 20;

/// What one member said.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The URL at which it answered.
    pub(super) endpoint: String,
    pub(super) status: StatusResponse,
    pub(super) members: Vec<Member>,
    pub(super) alarms: Vec<AlarmMember>,
}

impl Seen {
    pub(super) fn id(&self) -> u64 {
        self.status.header.as_ref().map_or(0, |header| header.member_id)
    }

    fn cluster(&self) -> ClusterId {
        ClusterId(self.status.header.as_ref().map_or(0, |header| header.cluster_id))
    }

    /// Its name, or its id if it has none.
    pub(super) fn name(&self) -> String {
        name(&self.members, self.id())
    }
}

/// An id as etcd prints it.
pub(super) fn id(id: u64) -> String {
    MemberId(id).to_string()
}

fn name(members: &[Member], of: u64) -> String {
    let member = members.iter().find(|member| member.id == of && !member.name.is_empty());
    member.map_or_else(|| id(of), |member| member.name.clone())
}

/// What a member says of itself.
pub(super) fn describe(steps: &mut Steps, seen: &Seen) {
    let status = &seen.status;
    let part = match (status.leader == seen.id(), status.is_learner) {
        (true, _) => "leader",
        (_, true) => "learner",
        _ => "follower",
    };
    let quota = match status.db_size_quota {
        quota @ 1.. => format!(" of {quota}"),
        _ => String::new(),
    };
    let what = format!(
        "{} at {} is {part}, version {}, term {}, index {}, applied {}, store {} bytes{quota}",
        id(seen.id()),
        seen.endpoint,
        status.version,
        status.raft_term,
        status.raft_index,
        status.raft_applied_index,
        status.db_size
    );
    let step = format!("member {}", seen.name());
    steps.ok(&step, what);
    let lag = status.raft_index.saturating_sub(status.raft_applied_index);
    if lag > LAG {
        let cure = "its disk or its processor is too slow, or a request is too large: see its log for `took too long`";
        steps.warn(&step, format!("{lag} committed entries are not applied yet"), cure);
    }
    room(steps, &step, seen);
}

/// How near the quota is, and whether a defragmentation would help.
fn room(steps: &mut Steps, step: &str, seen: &Seen) {
    let StatusResponse { db_size, db_size_in_use: used, db_size_quota: quota, .. } = seen.status;
    let endpoint = &seen.endpoint;
    if quota > 0 && db_size / (quota / 100).max(1) >= NEARLY {
        let cure = format!(
            "compact (--auto-compaction-retention), then `etcdctl --endpoints={endpoint} defrag`, or give more \
             with --quota-backend-bytes; at the quota writes are refused"
        );
        steps.warn(step, format!("the store has {db_size} bytes and may have {quota}"), cure);
    } else if db_size > WORTH && used > 0 && used < db_size / 2 {
        let cure = format!("`etcdctl --endpoints={endpoint} defrag` gives the rest back");
        steps.warn(step, format!("the store uses {used} of its {db_size} bytes"), cure);
    }
}

/// What is wrong with all of them together; the members of these names did not answer.
pub(super) fn judge(steps: &mut Steps, seen: &[Seen], silent: &[&str], endpoints: &str) {
    one_cluster(steps, seen);
    leader(steps, seen, silent);
    behind(steps, seen);
    versions(steps, seen);
    if let Some(first) = seen.first() {
        members(steps, &first.members);
        alarms(steps, first, endpoints);
    }
}

fn one_cluster(steps: &mut Steps, seen: &[Seen]) {
    const STEP: &str = "cluster";
    let clusters: BTreeSet<ClusterId> = seen.iter().map(Seen::cluster).collect();
    let mut ids: Vec<String> = clusters.iter().map(ToString::to_string).collect();
    match ids.len() {
        1 => steps.ok(STEP, format!("all that answer are of cluster {}", ids.remove(0))),
        _ => {
            let what = format!("those who answer are of different clusters: {}", ids.join(", "));
            let cure =
                "they were started with different lists, tokens or spellings: see `quorate verify`";
            steps.fail(STEP, what, cure);
        }
    }
}

fn leader(steps: &mut Steps, seen: &[Seen], silent: &[&str]) {
    const STEP: &str = "leader";
    let leaders: BTreeSet<u64> = seen.iter().map(|seen| seen.status.leader).collect();
    let members = seen.first().map(|first| first.members.as_slice()).unwrap_or_default();
    let voters = members.iter().filter(|member| !member.is_learner).count();
    if leaders.contains(&0) {
        let who: Vec<String> =
            seen.iter().filter(|seen| seen.status.leader == 0).map(Seen::name).collect();
        let what = format!("{} know of no leader", who.join(", "));
        let need = voters / 2 + 1;
        let missing = match silent {
            [] => "all members answer here: look at the ways between their peer ports, and at their clocks".to_owned(),
            silent => format!("start {}, or mend the way to them", silent.join(", ")),
        };
        let cure =
            format!("{need} of {} must reach each other: {missing}", counted(voters, "member"));
        return steps.fail(STEP, what, cure);
    }
    let names: Vec<String> = leaders.iter().map(|leader| name(members, *leader)).collect();
    match names.as_slice() {
        [one] => steps.ok(STEP, one.clone()),
        several => {
            let what = format!("they name different ones: {}", several.join(", "));
            steps.warn(STEP, what, "an election may be under way: ask again");
        }
    }
}

/// Whether somebody does not follow.
fn behind(steps: &mut Steps, seen: &[Seen]) {
    let most = seen.iter().map(|seen| seen.status.raft_index).max().unwrap_or_default();
    for seen in seen {
        let behind = most.saturating_sub(seen.status.raft_index);
        if behind > LAG {
            let what = format!("{behind} entries behind the first");
            let cure = "it catches up by itself if disk and network allow; its log and the leader's say what slows it";
            steps.warn(&format!("member {}", seen.name()), what, cure);
        }
    }
}

fn versions(steps: &mut Steps, seen: &[Seen]) {
    let versions: BTreeSet<&str> = seen.iter().map(|seen| seen.status.version.as_str()).collect();
    if versions.len() > 1 {
        let versions: Vec<&str> = versions.into_iter().collect();
        let what = format!("members run {}", versions.join(" and "));
        steps.warn("versions", what, "right in the middle of an upgrade; go on with the others");
    }
}

/// What is odd about the list of members.
fn members(steps: &mut Steps, members: &[Member]) {
    const STEP: &str = "members";
    let mut fine = true;
    for member in members.iter().filter(|member| member.name.is_empty()) {
        let what = format!("{} at {} has not started", id(member.id), member.peer_ur_ls.join(","));
        let cure = format!(
            "start it with --initial-cluster-state existing, or take its place back: `etcdctl member remove {}`",
            id(member.id)
        );
        steps.warn(STEP, what, cure);
        fine = false;
    }
    let peer = members.iter().flat_map(|it| it.peer_ur_ls.iter().map(move |url| (url, it)));
    let client = members.iter().flat_map(|it| it.client_ur_ls.iter().map(move |url| (url, it)));
    for (kind, urls) in [("peer", twice(peer)), ("client", twice(client))] {
        for (url, owners) in urls {
            let what = format!("{} have the same {kind} URL {url}", owners.join(" and "));
            let cure = match kind {
                "peer" => "give each its own: `etcdctl member update ID --peer-urls=URL`",
                _ => "give each its own --advertise-client-urls and restart it",
            };
            steps.fail(STEP, what, cure);
            fine = false;
        }
    }
    let names = twice(members.iter().filter(|it| !it.name.is_empty()).map(|it| (&it.name, it)));
    for name in names.keys() {
        let what = format!("several are named `{name}`");
        steps.warn(STEP, what, "ids tell them apart; people do not: give each its own --name");
        fine = false;
    }
    if fine {
        steps.ok(STEP, format!("{}, all started", counted(members.len(), "member")));
    }
}

/// What belongs to more than one member, and the ids of those.
fn twice<'a>(
    of: impl Iterator<Item = (&'a String, &'a Member)>,
) -> BTreeMap<&'a String, Vec<String>> {
    let mut owners: BTreeMap<&String, Vec<String>> = BTreeMap::new();
    for (what, member) in of {
        owners.entry(what).or_default().push(id(member.id));
    }
    owners.retain(|_, owners| owners.len() > 1);
    owners
}

fn alarms(steps: &mut Steps, first: &Seen, endpoints: &str) {
    const STEP: &str = "alarms";
    if first.alarms.is_empty() {
        return steps.ok(STEP, "none");
    }
    let revision = first.status.header.as_ref().map_or(0, |header| header.revision);
    for alarm in &first.alarms {
        let member = name(&first.members, alarm.member_id);
        let etcdctl = format!("etcdctl --endpoints={endpoints}");
        let (what, cure) = match alarm.alarm() {
            AlarmType::Nospace => (
                format!("NOSPACE: the store of {member} is at its quota, and writes are refused"),
                format!(
                    "`{etcdctl} compaction --physical {revision}`, `{etcdctl} defrag --cluster`, `{etcdctl} alarm disarm`; then \
                     --auto-compaction-retention or a larger --quota-backend-bytes"
                ),
            ),
            AlarmType::Corrupt => (
                format!("CORRUPT: {member} holds something else than the others"),
                format!(
                    "stop it, `{etcdctl} member remove {}`, `member add` it with an empty data directory, then \
                     `{etcdctl} alarm disarm`",
                    id(alarm.member_id)
                ),
            ),
            AlarmType::None => continue,
        };
        steps.fail(STEP, what, cure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;
    use crate::proto::etcdserverpb::ResponseHeader;

    fn member(id: u64, name: &str) -> Member {
        Member {
            id,
            name: name.to_owned(),
            peer_ur_ls: vec![format!("http://{name}:2380")],
            client_ur_ls: vec![format!("http://{name}:2379")],
            is_learner: false,
        }
    }

    fn seen(id: u64, leader: u64) -> Seen {
        let header = ResponseHeader {
            cluster_id: 7,
            member_id: id,
            revision: 41,
            ..ResponseHeader::default()
        };
        Seen {
            endpoint: format!("http://n{id}:2379"),
            status: StatusResponse {
                header: Some(header),
                version: "3.6.1".to_owned(),
                leader,
                raft_index: 10_000,
                raft_applied_index: 10_000,
                ..StatusResponse::default()
            },
            members: vec![member(1, "n1"), member(2, "n2"), member(3, "n3")],
            alarms: Vec::new(),
        }
    }

    /// A change of what a member says, and what is said of that.
    type Case = (fn(&mut Seen), &'static str);

    /// What is said of these members, without what is well.
    fn complaints(all: &[Seen], silent: &[&str]) -> String {
        let mut steps = Steps::new(Format::Json);
        all.iter().for_each(|seen| describe(&mut steps, seen));
        judge(&mut steps, all, silent, "e:1");
        let record = steps.into_record();
        let lines = record.steps.iter().map(|step| step.text());
        lines.filter(|line| !line.starts_with("ok")).collect()
    }

    #[test]
    fn a_cluster_that_is_well_has_no_complaints() {
        assert_eq!(complaints(&[seen(1, 1), seen(2, 1), seen(3, 1)], &[]), "");
    }

    #[test]
    fn each_trouble_is_named_with_its_way_out() {
        let alarm = |member_id, alarm: AlarmType| AlarmMember { member_id, alarm: alarm.into() };
        let changed = |change: fn(&mut Seen)| {
            let mut first = seen(1, 1);
            change(&mut first);
            first
        };
        let mut alarmed = seen(1, 1);
        alarmed.alarms = vec![alarm(2, AlarmType::Nospace), alarm(3, AlarmType::Corrupt)];
        let text = complaints(&[alarmed], &[]);
        for part in [
            "NOSPACE: the store of n2",
            "`etcdctl --endpoints=e:1 compaction --physical 41`",
            "`etcdctl --endpoints=e:1 defrag --cluster`",
            "CORRUPT: n3 holds",
            "`etcdctl --endpoints=e:1 member remove 3`",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let cases: [Case; 8] = [
            (|it| it.status.leader = 0, "FAIL  leader: n1 know of no leader"),
            (|it| it.status.leader = 2, "warn  leader: they name different ones: n1, n2"),
            (|it| it.status.raft_applied_index = 5_000, "5000 committed entries are not applied"),
            (|it| it.status.raft_index = 12_000, "member n2: 2000 entries behind"),
            (|it| it.status.version = "3.5.1".to_owned(), "members run 3.5.1 and 3.6.1"),
            (
                |it| (it.status.db_size, it.status.db_size_quota) = (900, 1000),
                "has 900 bytes and may have 1000",
            ),
            (
                |it| (it.status.db_size, it.status.db_size_in_use) = (100 << 20, 1 << 20),
                "uses 1048576 of its 104857600 bytes",
            ),
            (
                |it| it.members[1].peer_ur_ls = it.members[0].peer_ur_ls.clone(),
                "FAIL  members: 1 and 2 have the same peer URL http://n1:2380",
            ),
        ];
        for (change, part) in cases {
            let text = complaints(&[changed(change), seen(2, 1)], &[]);
            assert!(text.contains(part), "{part}: {text}");
        }
        let lost = complaints(&[seen(1, 0)], &["n2", "n3"]);
        assert!(lost.contains("2 of 3 members must reach each other: start n2, n3"), "{lost}");
        let mut stranger = seen(2, 1);
        stranger.status.header.as_mut().unwrap().cluster_id = 8;
        let two = complaints(&[seen(1, 1), stranger], &[]);
        assert!(two.contains("FAIL  cluster: those who answer are of different clusters: 7, 8"));
    }
}
