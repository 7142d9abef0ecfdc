use std::collections::BTreeSet;

use clap::Args;

use super::node_flags::{ALL_COUNT, NodeFlags};
use super::{data_dir, listening, others};
use crate::cli::Failure;
use crate::cli::node::join;
use crate::cli::output::{Format, counted};
use crate::cli::steps::{Steps, Stop, sick};
use crate::config::node::Settings;
use crate::discovery::{Request, Way, rehearsal};
use crate::membership::{InitialCluster, PeerUrl};

/// The flags of the member that does not start.
#[derive(Debug, Args)]
#[command(after_help = ALL_COUNT)]
pub(in crate::cli) struct StaticStart {
    #[command(flatten)]
    node: NodeFlags,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

impl StaticStart {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let mut steps = Steps::new(self.output);
        let outcome = self.replay(&mut steps).await;
        steps.end(outcome)
    }

    async fn replay(&self, steps: &mut Steps) -> Result<(), Stop> {
        let Some(settings) = self.node.settle(steps) else { return Ok(()) };
        let list = static_list(&settings)?;
        let request = &settings.bootstrap;
        // A member that restarts bootstraps nothing: its ports may be its own, and the others know it.
        if !data_dir::look(steps, &settings) {
            return Ok(());
        }
        own_name(request, list)?;
        steps.ok("name", format!("`{}` stands in the list", request.name));
        members(steps, list);
        own_urls(steps, request, list).await;
        ids(steps, request, list);
        listening::addresses(steps, request, list).await;
        listening::ports(steps, &settings, list.len()).await;
        let tls = others::certificates(steps, &settings);
        others::ask(steps, request, list, tls.as_ref()).await;
        Ok(())
    }
}

/// The list, unless the members are to be found in another way.
fn static_list(settings: &Settings) -> Result<&InitialCluster, Stop> {
    let (flag, doctor) = match &settings.bootstrap.way {
        Way::Static(list) => return Ok(list),
        Way::Token(_) => ("--discovery", "quorate doctor token URL"),
        Way::TokenV3(_) => ("--discovery-token", "quorate doctor token"),
        Way::Srv(_) => ("--discovery-srv", "quorate doctor srv DOMAIN"),
    };
    let what = format!("the members are found by {flag}, not by --initial-cluster");
    Err(sick("way", what, format!("`{doctor}` replays that")))
}

fn own_name(request: &Request, list: &InitialCluster) -> Result<(), Stop> {
    let Err(error) = rehearsal::own_name(request, list) else { return Ok(()) };
    let names: Vec<String> = list.members().map(|(name, _)| format!("`{name}`")).collect();
    let cure = match names.as_slice() {
        [] => "--initial-cluster names nobody: give it as name=url,name=url".to_owned(),
        names => format!(
            "--name has to be one of {}, to the letter: capitals and blanks count",
            names.join(", ")
        ),
    };
    Err(sick("name", error.to_string(), cure))
}

/// Names, counts and schemes of the list.
fn members(steps: &mut Steps, list: &InitialCluster) {
    const STEP: &str = "list";
    if let Err(error) = list.check_unique_urls() {
        let cure =
            format!("each URL belongs to one member: change or take out one `{}`", error.url);
        steps.fail(STEP, error.to_string(), cure);
    } else {
        let members = counted(list.len(), "member");
        let spare = match list.len().saturating_sub(1) / 2 {
            0 => "none".to_owned(),
            spare => spare.to_string(),
        };
        steps.ok(STEP, format!("the cluster has {members} and can lose {spare}"));
    }
    for (name, urls) in list.members() {
        if name != name.trim() {
            let what = format!("the name `{name}` has a blank, which is a part of it");
            steps.warn(STEP, what, "take out blanks around names and commas");
        }
        let hosts: BTreeSet<&str> = urls.iter().map(PeerUrl::host).collect();
        if hosts.len() > 1 {
            let what = format!("`{name}` is one member with the URLs {}", join(urls));
            let cure = "right for one machine with several addresses; members need a name each";
            steps.warn(STEP, what, cure);
        }
    }
    let schemes: BTreeSet<bool> =
        list.members().flat_map(|(_, urls)| urls.iter().map(PeerUrl::is_https)).collect();
    if schemes.len() > 1 {
        let cure = "in the time of a change that may be; else write the scheme of all alike";
        steps.warn(STEP, "some members have http:// and some https:// URLs", cure);
    }
}

async fn own_urls(steps: &mut Steps, request: &Request, list: &InitialCluster) {
    const STEP: &str = "own URLs";
    if request.existing {
        // A joining member is found by what the cluster knows of it, which comes last.
        return;
    }
    let same = list.urls(&request.name) == Some(request.peer_urls.as_slice());
    match rehearsal::own_urls(request, list).await {
        Ok(()) if same => {
            let urls = join(&request.peer_urls);
            steps.ok(STEP, format!("the list and --initial-advertise-peer-urls agree: {urls}"));
        }
        Ok(()) => steps.ok(
            STEP,
            "the list and --initial-advertise-peer-urls lead to the same place; the ids follow from the \
             spelling in the list",
        ),
        Err(error) => {
            let cure = format!(
                "make --initial-advertise-peer-urls and the URLs of `{}` in --initial-cluster the same",
                request.name
            );
            steps.fail(STEP, error.to_string(), cure);
        }
    }
}

/// What follows from the list.
fn ids(steps: &mut Steps, request: &Request, list: &InitialCluster) {
    const STEP: &str = "ids";
    let token = &request.cluster_token;
    match list.member_id(&request.name, token) {
        Some(member) if !request.existing => {
            let cluster = list.cluster_id(token);
            steps.ok(STEP, format!("this is member {member} of cluster {cluster}"));
        }
        _ => steps.open(STEP, "a joining member has the ids that the cluster gave it"),
    }
}
