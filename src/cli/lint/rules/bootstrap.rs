//! How a member finds the others.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::finding::Finding;
use super::super::member::Member;
use super::super::start::Program;
use super::super::word::Word;
use crate::config::node::Source;
use crate::membership::PeerUrl;

/// More members than this make every write slower and no cluster safer.
const MANY: usize = 7;

pub(super) fn check(member: &Member, findings: &mut Vec<Finding>) {
    if let Some(setting) = member.setting("initial-cluster") {
        let list = List::read(&setting.word);
        size(member, &list, findings);
        own_entry(member, &list, findings);
        twice(member, &list, findings);
        mixed(member, &list, findings);
        alone(member, &list, findings);
    }
    public_service(member, findings);
    domain(member, findings);
    dangers(member, findings);
}

/// A list of members with parts that may not be known.
#[derive(Debug, Default)]
pub(in crate::cli::lint) struct List {
    /// URLs by name, in the order of the list.
    pub(in crate::cli::lint) pairs: Vec<(String, Word)>,
    /// Whether all names are known.
    pub(in crate::cli::lint) whole: bool,
}

impl List {
    pub(in crate::cli::lint) fn read(word: &Word) -> Self {
        let mut list = Self { pairs: Vec::new(), whole: true };
        for pair in word.split(',').into_iter().filter(|pair| !pair.is_empty()) {
            let (name, url) =
                pair.split_once('=').unwrap_or_else(|| (pair.clone(), Word::default()));
            match name.text() {
                Some(name) => list.pairs.push((name, url)),
                None => list.whole = false,
            }
        }
        list
    }

    /// The known URLs of a member, and whether these are all.
    pub(in crate::cli::lint) fn urls(&self, name: &str) -> (Vec<PeerUrl>, bool) {
        let words: Vec<&Word> =
            self.pairs.iter().filter(|(known, _)| known == name).map(|(_, url)| url).collect();
        let urls: Vec<PeerUrl> =
            words.iter().filter_map(|word| PeerUrl::parse(&word.text()?).ok()).collect();
        let all = urls.len() == words.len();
        (urls, all)
    }

    pub(in crate::cli::lint) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.pairs.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn known(&self) -> impl Iterator<Item = (&str, PeerUrl)> {
        let known = |(name, word): &'_ (String, Word)| {
            Some((name.clone(), PeerUrl::parse(&word.text()?).ok()?))
        };
        self.pairs.iter().filter_map(move |pair| {
            let (_, url) = known(pair)?;
            Some((pair.0.as_str(), url))
        })
    }
}

fn size(member: &Member, list: &List, findings: &mut Vec<Finding>) {
    let count = list.names().len();
    if !list.whole {
        return;
    }
    let place = member.place_of("initial-cluster");
    // A learner has no vote, and a cluster that is moved grows before it shrinks.
    let is_added = member.text("initial-cluster-state").as_deref() == Some("existing");
    if count > 0 && count.is_multiple_of(2) && !is_added {
        let text =
            format!("a cluster of {count} survives no more failures than one of {}", count - 1);
        let advice = format!("take {} or {} members", count - 1, count + 1);
        findings.push(Finding::warning("even-size", place, text, advice));
    } else if count > MANY {
        let text = format!("every write waits for {} of {count} members", count / 2 + 1);
        findings.push(Finding::warning("large-size", place, text, "take 3, 5 or 7 members"));
    }
}

/// The own name has to be listed with what the member tells the others.
fn own_entry(member: &Member, list: &List, findings: &mut Vec<Finding>) {
    let Some(name) = member.name() else { return };
    let place = member.place_of("initial-cluster");
    if !list.names().contains(&name.as_str()) {
        if list.whole {
            let named = match list.names().join(", ") {
                names if names.is_empty() => "names nobody".to_owned(),
                names => format!("names {names}"),
            };
            let text =
                format!("{} {named}, and this member is {name}", member.called("initial-cluster"));
            let advice = "add NAME=URL of this member, or give it one of these names with --name";
            findings.push(Finding::error("name-not-listed", place, text, advice));
        }
        return;
    }
    let (listed, true) = list.urls(&name) else { return };
    let told = "initial-advertise-peer-urls";
    let advertised = match member.urls(told) {
        (urls, true) if member.setting(told).is_some() => urls,
        // An etcd that listens everywhere tells the address of its machine.
        (_, true) if member.program != Program::Quorate && listens_everywhere(member) => return,
        (_, true) => PeerUrl::parse("http://localhost:2380").into_iter().collect(),
        _ => return,
    };
    if listed.is_empty() || same_places(&listed, &advertised) {
        return;
    }
    let join = |urls: &[PeerUrl]| urls.iter().map(PeerUrl::as_str).collect::<Vec<_>>().join(",");
    let text = format!(
        "{} has {} for {name}, and {} is {}{}",
        member.called("initial-cluster"),
        join(&listed),
        member.called(told),
        join(&advertised),
        if member.setting(told).is_some() { "" } else { " by default" }
    );
    let place = if member.setting(told).is_some() { member.place_of(told) } else { place };
    let advice = "write the same URLs in both";
    findings.push(Finding::error("entry-differs", place, text, advice));
}

fn listens_everywhere(member: &Member) -> bool {
    let urls = member.urls("listen-peer-urls").0;
    urls.first().is_some_and(|url| url.host() == "0.0.0.0")
}

/// Whether both may lead to the same places: a name may be that of any address.
fn same_places(a: &[PeerUrl], b: &[PeerUrl]) -> bool {
    let same = |a: &PeerUrl, b: &PeerUrl| {
        // Every machine calls itself that, and nothing else.
        let is_local = a.host() == "localhost" || b.host() == "localhost";
        let is_name = |url: &PeerUrl| url.host().parse::<IpAddr>().is_err();
        let hosts = a.host() == b.host() || (!is_local && is_name(a) != is_name(b));
        a.is_https() == b.is_https() && a.port() == b.port() && hosts
    };
    a.len() == b.len() && a.iter().all(|url| b.iter().any(|other| same(url, other)))
}

fn twice(member: &Member, list: &List, findings: &mut Vec<Finding>) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (name, url) in list.known() {
        let Some(other) = seen.insert(url.to_string(), name) else { continue };
        let text = format!("{url} stands twice in the list of members, for {other} and for {name}");
        let advice = "give each member a URL of its own";
        let place = member.place_of("initial-cluster");
        findings.push(Finding::error("url-twice", place, text, advice));
    }
}

fn mixed(member: &Member, list: &List, findings: &mut Vec<Finding>) {
    let known: Vec<(&str, PeerUrl)> = list.known().collect();
    let place = member.place_of("initial-cluster");
    let secure = known.iter().find(|(_, url)| url.is_https());
    let plain = known.iter().find(|(_, url)| !url.is_https());
    if let (Some((_, secure)), Some((_, plain))) = (secure, plain) {
        let text = format!("the list of members mixes TLS and none: {secure} and {plain}");
        let advice = "write https:// for all members, or http:// for all";
        findings.push(Finding::warning("mixed-schemes", place, text, advice));
    }
    let is_local = |url: &PeerUrl| {
        url.host() == "localhost" || url.host().parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
    };
    let local = known.iter().find(|(_, url)| is_local(url));
    let far = known.iter().find(|(_, url)| !is_local(url));
    if let (Some((name, local)), Some((other, _))) = (local, far) {
        let text = format!("{other} is on another machine and cannot reach {name} at {local}");
        let advice = "write an address of the network that all members are in";
        findings.push(Finding::error("loopback-in-list", place, text, advice));
    }
}

/// Whoever joins a cluster that runs has to know its members.
fn alone(member: &Member, list: &List, findings: &mut Vec<Finding>) {
    let joins = member.text("initial-cluster-state").as_deref() == Some("existing");
    if joins
        && list.whole
        && list.names().len() == 1
        && member.name().as_deref() == Some(list.names()[0])
    {
        let text = "the member joins a cluster that runs, and is told of no other member";
        let advice = "take the list that `etcdctl member add` printed";
        let place = member.place_of("initial-cluster");
        findings.push(Finding::error("joins-alone", place, text, advice));
    }
}

fn public_service(member: &Member, findings: &mut Vec<Finding>) {
    let Some(setting) = member.setting("discovery") else { return };
    if setting.word.shown().contains("//discovery.etcd.io") {
        let text = "nobody maintains the public service at discovery.etcd.io";
        let advice = "run `quorate serve`, and take a URL of it with `quorate new`";
        findings.push(Finding::warning("public-discovery", &setting.place, text, advice));
    }
}

fn domain(member: &Member, findings: &mut Vec<Finding>) {
    let Some(setting) = member.setting("discovery-srv") else { return };
    let text = setting.word.shown();
    if text.starts_with('_') || text.contains("://") || text.contains('/') {
        let what =
            format!("{} is `{text}`, and a domain is asked for", member.called("discovery-srv"));
        let advice = "write the domain alone, such as example.org; _etcd-server is put before it";
        findings.push(Finding::error("srv-domain", &setting.place, what, advice));
    }
    let told = "initial-advertise-peer-urls";
    let may_be_elsewhere = member.open || setting.source == Source::Variable;
    if member.setting(told).is_none() && !may_be_elsewhere {
        let text = "SRV records are compared with http://localhost:2380, the default of \
                    --initial-advertise-peer-urls, which is in none of them";
        let advice = "say under which URL the others reach this member";
        findings.push(Finding::error("advertise-missing", &setting.place, text, advice));
    }
    let is_34 =
        matches!(member.program, Program::Etcd(Some(release)) if release.version() == "3.4");
    let plain = member.text(told).is_some_and(|urls| urls.contains("http://"));
    if is_34 && plain {
        let text = "etcd 3.4 reads _etcd-server-ssl records only, and ends where a member does not advertise https://";
        let advice =
            "publish those and write https:// in the URLs of the peer port, or use --discovery";
        findings.push(Finding::error("srv-without-tls", member.place_of(told), text, advice));
    }
}

/// Settings for a moment that stay in a file.
fn dangers(member: &Member, findings: &mut Vec<Finding>) {
    for (name, text, advice) in [
        (
            "force-new-cluster",
            "each start with --force-new-cluster throws all other members out",
            "take it out as soon as the member has started once",
        ),
        (
            "unsafe-no-fsync",
            "with --unsafe-no-fsync a crash of the machine loses what was acknowledged",
            "take it out where data matter",
        ),
    ] {
        if member.is_on(name) {
            findings.push(Finding::warning(name, member.place_of(name), text, advice));
        }
    }
}
