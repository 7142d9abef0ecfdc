use std::collections::{BTreeMap, BTreeSet};

use clap::Args;

use super::members::Endpoints;
use super::output::{Format, counted};
use super::predict::Expected;
use super::service::UNREACHABLE;
use super::steps::Steps;
use super::{Failure, doctor};
use crate::membership::{ClusterId, InitialCluster, MemberId, PeerUrl};
use crate::proto::etcdserverpb::{Member, MemberListResponse};

/// Compares a running cluster with what was predicted of it. Exit codes: 0 all is as predicted, 1 something is
/// not, 2 wrong flags, 6 no endpoint answers.
#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    expected: Expected,
    #[command(flatten)]
    cluster: Endpoints,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// What an endpoint says the cluster is.
type Said = (ClusterId, Vec<Member>);

impl Verify {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let list = self.expected.list()?;
        let tls = self.cluster.tls()?;
        let mut steps = Steps::new(self.output);
        let mut first: Option<(&str, Said)> = None;
        for endpoint in &self.cluster.endpoints {
            let said = match self.cluster.reach(endpoint, tls.as_ref()).await {
                Ok(member) => member.members().await,
                Err(silence) => Err(silence),
            };
            match (said.map(said_by), &first) {
                (Err(silence), _) => {
                    let (what, cure) = doctor::told(&self.cluster, endpoint, &silence).await;
                    steps.fail(endpoint, what, cure);
                }
                (Ok(said), Some((told, known))) => again(&mut steps, endpoint, &said, told, known),
                (Ok(said), None) => {
                    steps
                        .ok(endpoint, format!("answers, with {}", counted(said.1.len(), "member")));
                    compare(&mut steps, &list, self.expected.token(), &said);
                    first = Some((endpoint, said));
                }
            }
        }
        let unreached = first.is_none();
        steps.close_as(|line| match unreached {
            true => Failure::Code(UNREACHABLE, line.into()),
            false => super::running(line),
        })
    }
}

fn said_by(answer: MemberListResponse) -> Said {
    let mut members = answer.members;
    members.sort_by_key(|member| member.id);
    (ClusterId(answer.header.map_or(0, |header| header.cluster_id)), members)
}

/// All endpoints have to say the same.
fn again(steps: &mut Steps, endpoint: &str, said: &Said, told: &str, known: &Said) {
    if said == known {
        return steps.ok(endpoint, format!("says the same as {told}"));
    }
    let what = format!("cluster {} with {}", said.0, counted(said.1.len(), "member"));
    let cure = match said.0 == known.0 {
        true => "one of the two is behind: `quorate doctor node` shows the lag of each",
        false => "the two are members of different clusters: compare their lists and tokens",
    };
    steps.fail(endpoint, format!("says something else than {told}: {what}"), cure);
}

/// Names every difference.
fn compare(steps: &mut Steps, list: &InitialCluster, token: &str, (cluster, members): &Said) {
    let predicted = list.cluster_id(token);
    if *cluster == predicted {
        steps.ok("cluster id", cluster.to_string());
    } else {
        let what = format!("{cluster}, and {predicted} was predicted");
        let cure = format!(
            "the members were started with another list, other spellings of URLs, or another token than \
             --token `{token}`"
        );
        steps.fail("cluster id", what, cure);
    }
    let mut there: BTreeMap<MemberId, &Member> =
        members.iter().map(|member| (MemberId(member.id), member)).collect();
    let ids: BTreeSet<MemberId> =
        list.members().filter_map(|(name, _)| list.member_id(name, token)).collect();
    for (name, urls) in list.members() {
        let step = format!("member {name}");
        let Some(id) = list.member_id(name, token) else { continue };
        match there.remove(&id) {
            Some(member) => one(steps, &step, name, urls, member),
            None => {
                let namesake =
                    members.iter().find(|it| it.name == name && !ids.contains(&MemberId(it.id)));
                absent(steps, &step, id, namesake);
            }
        }
    }
    for (id, member) in there {
        let name = if member.name.is_empty() { "without a name" } else { &member.name };
        let what = format!("{id} ({name}) at {} was not predicted", member.peer_ur_ls.join(","));
        let cure = "it was added later, or founded the cluster by another list; `etcdctl member list` shows all";
        steps.fail("other member", what, cure);
    }
}

/// Compares what the member of an id is with what it was to be.
fn one(steps: &mut Steps, step: &str, name: &str, urls: &[PeerUrl], member: &Member) {
    let id = MemberId(member.id);
    let predicted: BTreeSet<&str> = urls.iter().map(PeerUrl::as_str).collect();
    let found: BTreeSet<&str> = member.peer_ur_ls.iter().map(String::as_str).collect();
    let joined = |urls: &BTreeSet<&str>| urls.iter().copied().collect::<Vec<_>>().join(",");
    let mut right = true;
    if found != predicted {
        let what = format!(
            "{id} has peer URLs {}, and {} were predicted",
            joined(&found),
            joined(&predicted)
        );
        steps.fail(step, what, "`etcdctl member update` changed them, or changes them back");
        right = false;
    }
    if member.name.is_empty() {
        let cure = "start it: a member tells its name and client URLs once it has started";
        steps.warn(step, format!("{id} has not started"), cure);
        right = false;
    } else if member.name != name {
        let what = format!("{id} is named `{}`", member.name);
        steps.fail(
            step,
            what,
            "the ids do not depend on names: compare --name of that member with the list",
        );
        right = false;
    }
    if member.is_learner {
        let cure = "`etcdctl member promote` makes a voting member of it";
        steps.warn(step, format!("{id} is a learner"), cure);
        right = false;
    }
    if right {
        steps.ok(step, format!("{id} at {}", joined(&found)));
    }
}

fn absent(steps: &mut Steps, step: &str, id: MemberId, namesake: Option<&Member>) {
    let Some(member) = namesake else {
        let cure = "it was removed, or never in this cluster; `etcdctl member list` shows all";
        return steps.fail(step, format!("{id} is not in the cluster"), cure);
    };
    let there = MemberId(member.id);
    let what =
        format!("{there} at {} has its name, and {id} was predicted", member.peer_ur_ls.join(","));
    let cure = "ids follow from peer URLs, to the letter, and the token; a member that was added later has \
                another one in any case";
    steps.fail(step, what, cure);
}
