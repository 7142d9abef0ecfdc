//! Members of one cluster against each other.

use std::collections::BTreeSet;

use super::finding::Finding;
use super::member::Member;
use super::rules::List;
use super::start::Host;
use crate::membership::PeerUrl;

/// How a member finds the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Static,
    Discovery,
    DiscoveryV3,
    Srv,
}

/// Settings that name a way, the flag first that says which cluster it is.
const WAYS: [(&str, Way); 5] = [
    ("initial-cluster", Way::Static),
    ("discovery", Way::Discovery),
    ("discovery-token", Way::DiscoveryV3),
    ("discovery-endpoints", Way::DiscoveryV3),
    ("discovery-srv", Way::Srv),
];

/// Finds the clusters among these members and checks each.
pub(super) fn check(members: &[Member], findings: &mut Vec<Finding>) {
    for cluster in clusters(members) {
        if let [first, others @ ..] = cluster.as_slice() {
            for other in others {
                against(first, other, findings);
            }
            unique(&cluster, findings);
            missing(&cluster, members, findings);
        }
    }
}

fn way(member: &Member) -> Option<(&'static str, Way)> {
    WAYS.into_iter().find(|(name, _)| member.setting(name).is_some())
}

/// Members that belong together, each group in the order of the files.
fn clusters(members: &[Member]) -> Vec<Vec<&Member>> {
    let mut groups: Vec<Vec<&Member>> = Vec::new();
    for member in members {
        // A file that is given, and named by another one as well, has one member.
        let is_known = |other: &&Member| {
            other.place_of("name") == member.place_of("name")
                && other.place == member.place
                && other.name() == member.name()
        };
        if groups.iter().flatten().any(is_known) {
            continue;
        }
        let (mut joined, apart): (Vec<_>, Vec<_>) = groups
            .into_iter()
            .partition(|group| group.iter().any(|other| belong_together(other, member)));
        let mut group: Vec<&Member> = joined.drain(..).flatten().collect();
        group.push(member);
        groups = apart;
        groups.push(group);
    }
    groups
}

/// Whether two members are meant to be in one cluster.
fn belong_together(a: &Member, b: &Member) -> bool {
    let same = |name: &str| a.text(name).is_some() && a.text(name) == b.text(name);
    if ["discovery", "discovery-token", "discovery-srv", "initial-cluster-token"]
        .iter()
        .any(|it| same(it))
    {
        return true;
    }
    let (listed, told) = (listed(a), listed(b));
    if listed.iter().any(|url| told.contains(url)) {
        return true;
    }
    // Two lists without anything in common are two clusters; else a file is about one.
    let is_static = |member| matches!(way(member), Some((_, Way::Static)));
    let both_static = is_static(a) && is_static(b);
    a.place.file == b.place.file && !both_static && way(a).is_some() && way(b).is_some()
}

/// All peer URLs that a member knows of.
fn listed(member: &Member) -> BTreeSet<String> {
    let list = member.setting("initial-cluster").map(|it| List::read(&it.word)).unwrap_or_default();
    let names: Vec<&str> = list.names();
    let listed = names.into_iter().flat_map(|name| list.urls(name).0);
    let told = member.urls("initial-advertise-peer-urls").0;
    // Many machines call themselves that.
    let is_telling = |url: &PeerUrl| url.host() != "localhost";
    listed.chain(told).filter(is_telling).map(|url| url.to_string()).collect()
}

/// What must be the same for both.
fn against(first: &Member, other: &Member, findings: &mut Vec<Finding>) {
    let (Some((flag, way_of_first)), Some((other_flag, way_of_other))) = (way(first), way(other))
    else {
        return;
    };
    let (name, at) = (first.title(), &first.place);
    if way_of_first != way_of_other {
        let text = format!(
            "{} is started with --{other_flag}, and {name} ({at}) with --{flag}",
            other.title()
        );
        let advice = "start all members of a cluster in the same way";
        findings.push(Finding::error("ways-differ", other.place_of(other_flag), text, advice));
        return;
    }
    let mut equal = |flag: &'static str, code, advice: &str| {
        let pair = (first.effective(flag), other.effective(flag));
        if let (Some(a), Some(b)) = pair
            && a != b
        {
            let text = format!("{} is `{b}`, and `{a}` for {name} ({at})", other.called(flag));
            findings.push(Finding::error(code, other.place_of(flag), text, advice));
        }
    };
    let to_the_letter = "write it alike for all members, to the letter: their ids follow from it";
    match way_of_first {
        Way::Discovery => equal("discovery", "discovery-differs", to_the_letter),
        Way::DiscoveryV3 => equal("discovery-token", "discovery-differs", to_the_letter),
        Way::Srv => {
            equal("discovery-srv", "discovery-differs", "write the same domain for all members");
            equal("discovery-srv-name", "discovery-differs", "write the same name for all members");
            equal("initial-cluster-token", "token-differs", to_the_letter);
        }
        Way::Static => {
            equal("initial-cluster-token", "token-differs", to_the_letter);
            lists(first, other, findings);
        }
    }
    states(first, other, findings);
}

/// Whether it is, or may be, added to a cluster that runs; what is not said is `new`.
fn joins(member: &Member) -> bool {
    let state = member.setting("initial-cluster-state");
    state.is_some_and(|state| state.word.text().as_deref() != Some("new"))
}

/// Founders have one list; whoever joined later has a longer one.
fn lists(first: &Member, other: &Member, findings: &mut Vec<Finding>) {
    if joins(first) || joins(other) {
        return;
    }
    let pairs = |member: &Member| {
        let list = List::read(&member.setting("initial-cluster")?.word);
        let known = |(name, url): &(String, super::word::Word)| Some((name.clone(), url.text()?));
        let pairs: Option<BTreeSet<(String, String)>> = list.pairs.iter().map(known).collect();
        pairs.filter(|_| list.whole)
    };
    let (Some(ours), Some(theirs)) = (pairs(first), pairs(other)) else { return };
    let show = |pairs: Vec<&(String, String)>| {
        pairs.iter().map(|(name, url)| format!("{name}={url}")).collect::<Vec<_>>().join(",")
    };
    let missing = show(ours.difference(&theirs).collect());
    let more = show(theirs.difference(&ours).collect());
    let what = match (missing.is_empty(), more.is_empty()) {
        (true, true) => return,
        (false, true) => format!("lacks {missing}"),
        (true, false) => format!("also has {more}"),
        (false, false) => format!("has {more} instead of {missing}"),
    };
    let text = format!(
        "{} {what}, compared with {} ({})",
        other.called("initial-cluster"),
        first.title(),
        first.place_of("initial-cluster")
    );
    let advice = "write the same list for all founders, or they found several clusters";
    findings.push(Finding::error("list-differs", other.place_of("initial-cluster"), text, advice));
}

fn states(first: &Member, other: &Member, findings: &mut Vec<Finding>) {
    let flag = "initial-cluster-state";
    let (Some(a), Some(b)) = (first.effective(flag), other.effective(flag)) else { return };
    if a != b && !follows(first, other) && !follows(other, first) {
        let text = format!(
            "{} is `{b}`, and `{a}` for {} ({})",
            other.called(flag),
            first.title(),
            first.place
        );
        let advice =
            "founders say `new`; `existing` is for one that was added to a running cluster";
        findings.push(Finding::warning("state-differs", other.place_of(flag), text, advice));
    }
}

/// Whether the first was added to the cluster that the other founded: its list has more members.
fn follows(later: &Member, founder: &Member) -> bool {
    let names = |member: &Member| -> BTreeSet<String> {
        let list = member.setting("initial-cluster").map(|it| List::read(&it.word));
        list.unwrap_or_default().names().into_iter().map(str::to_owned).collect()
    };
    let (its, founders) = (names(later), names(founder));
    joins(later) && its != founders && its.is_superset(&founders)
}

/// What no two members may share.
fn unique(cluster: &[&Member], findings: &mut Vec<Finding>) {
    for (at, member) in cluster.iter().enumerate() {
        let others = &cluster[..at];
        // A setting that both read from the same line is that of a template.
        let is_other_line = |other: &&&Member, flag: &str| {
            other.place != member.place || other.place_of(flag) != member.place_of(flag)
        };
        let name = member.name();
        let namesake = others
            .iter()
            .filter(|other| is_other_line(other, "name"))
            .find(|other| name.is_some() && other.name() == name);
        if let (Some(other), Some(name)) = (namesake, &name) {
            let text = format!("two members are called {name}, the other one at {}", other.place);
            let advice = "give each a name of its own, --name";
            findings.push(Finding::error("name-twice", member.place_of("name"), text, advice));
        }
        for other in others {
            urls_twice(other, member, findings);
            same_machine(other, member, findings);
        }
    }
}

fn urls_twice(other: &Member, member: &Member, findings: &mut Vec<Finding>) {
    for flag in ["initial-advertise-peer-urls", "advertise-client-urls"] {
        let (ours, theirs) = (member.urls(flag).0, other.urls(flag).0);
        let Some(url) = ours.iter().find(|url| theirs.contains(url) && url.host() != "localhost")
        else {
            continue;
        };
        let text = format!(
            "{} and {} ({}) both tell others {url}",
            member.title(),
            other.title(),
            other.place_of(flag)
        );
        let advice = "give each member a URL of its own";
        findings.push(Finding::error("url-twice", member.place_of(flag), text, advice));
    }
}

/// Members on one machine need ports and directories of their own.
fn same_machine(other: &Member, member: &Member, findings: &mut Vec<Finding>) {
    if other.place.file != member.place.file || member.host != Host::Shared {
        return;
    }
    for flag in ["listen-peer-urls", "listen-client-urls"] {
        let all = |member: &Member| {
            let peers = member.urls("listen-peer-urls").0;
            peers.into_iter().chain(member.urls("listen-client-urls").0).collect::<Vec<_>>()
        };
        let theirs = all(other);
        let clash = |url: &PeerUrl| {
            theirs.iter().any(|it| {
                it.port() == url.port() && it.host() == url.host() && it.socket() == url.socket()
            })
        };
        if let Some(url) = member.urls(flag).0.iter().find(|url| clash(url)) {
            let text = format!("{} listens on {url} as well ({})", other.title(), other.place);
            let advice = "give each member on a machine ports of its own";
            findings.push(Finding::error("port-twice", member.place_of(flag), text, advice));
        }
    }
    let (ours, theirs) = (member.text("data-dir"), other.text("data-dir"));
    if ours.is_some() && ours == theirs {
        let text = format!(
            "{} keeps its data in the same directory ({})",
            other.title(),
            other.place_of("data-dir")
        );
        let advice = "give each member a directory of its own";
        findings.push(Finding::error("data-dir-twice", member.place_of("data-dir"), text, advice));
    }
}

/// A file that starts several members and forgets one of their list.
fn missing(cluster: &[&Member], members: &[Member], findings: &mut Vec<Finding>) {
    let [first, rest @ ..] = cluster else { return };
    let one_file = rest.iter().all(|member| member.place.file == first.place.file);
    let Some(setting) = first.setting("initial-cluster").filter(|_| one_file && !rest.is_empty())
    else {
        return;
    };
    let here = members.iter().filter(|member| member.place.file == first.place.file);
    let Some(names) = here.map(Member::name).collect::<Option<BTreeSet<String>>>() else { return };
    let list = List::read(&setting.word);
    for absent in list.names().into_iter().filter(|name| !names.contains(*name)) {
        let text = format!("the list names {absent}, and {} does not start it", first.place.file);
        let advice = "start it here too, or see that it is started elsewhere";
        findings.push(Finding::warning("member-missing", &setting.place, text, advice));
    }
}
