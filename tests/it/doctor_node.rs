//! `quorate doctor node`: clusters that run, and directories of members that do not.

use std::process::Command;

use crate::doctor::Checked;
use crate::harness::{
    Flavor, Node, cluster_id, initial_cluster, scratch, static_cluster, static_cluster_with, tools,
    wait,
};

fn doctor(arguments: &[&str]) -> Checked {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    Checked::of(&command.args(["doctor", "node", "-o=json"]).args(arguments).output().unwrap())
}

fn ask(node: &Node) -> Checked {
    doctor(&["--endpoints", &node.client_url()])
}

fn of_two(flavor: Flavor, program: &str) {
    let dir = scratch();
    let Some(mut nodes) = static_cluster(&[flavor; 2], dir.path()) else { return };
    let cluster = format!("{:x}", cluster_id(&nodes, "etcd-cluster"));
    let well = wait("both to be well", || Some(ask(&nodes[0])).filter(|it| it.code == Some(0)));
    well.passes("ok", &["cluster: all that answer are of cluster ", &cluster]);
    well.passes("ok", &["leader: n"]);
    well.passes("ok", &["members: 2 members, all started"]);
    well.passes("ok", &["member n2: ", &nodes[1].client_url(), "version 3."]);
    well.passes("ok", &["health of n2: "]);
    well.passes("ok", &["clock of n1: 0 s from"]);
    well.passes("ok", &["alarms: none"]);
    let dirs = [nodes[0].data_dir(), nodes[1].data_dir()].map(|dir| dir.display().to_string());
    doctor(&["--data-dir", &dirs[1]]).fails(&["data directory: ", "in use: the node runs"]);

    nodes[1].kill();
    let lost = wait("the loss to be noticed", || {
        let seen = ask(&nodes[0]);
        seen.steps("failed").iter().any(|step| step.starts_with("leader: ")).then_some(seen)
    });
    lost.fails(&["leader: n1 know of no leader", "2 of 2 members must", "start n2"]);
    lost.fails(&["member n2: ", "nor can its peer port be reached", &nodes[1].peer_url()]);
    lost.fails(&["health of n1: "]);
    let stopped = doctor(&["--data-dir", &dirs[1]]);
    stopped.passes("ok", &["data directory: ", program]);
    stopped.passes("ok", &["ids: member ", &cluster]);
    stopped.passes("ok", &["start: ", "are ignored"]);
    let list: quorate::membership::InitialCluster = initial_cluster(&nodes).parse().unwrap();
    let id = list.member_id("n2", "etcd-cluster").unwrap().to_string();
    stopped.passes("ok", &["ids: member ", &id]);
}

#[test]
fn a_cluster_of_two_is_well_and_then_has_no_leader() {
    of_two(Flavor::Ours, "that of a quorate-node, which founded");
}

#[test]
fn a_cluster_of_etcd_is_well_and_then_has_no_leader() {
    of_two(Flavor::Etcd34, "that of an etcd");
    of_two(Flavor::Etcd35, "that of an etcd");
}

/// The commands of the way out are those that mend it.
#[test]
fn a_full_store_is_mended_by_the_commands_that_are_printed() {
    let dir = scratch();
    let flags = ["--quota-backend-bytes=20000000"];
    let mut nodes = static_cluster_with(&[Flavor::Ours], dir.path(), &flags).unwrap();
    let value = "x".repeat(500_000);
    let node = &mut nodes[0];
    wait("the quota to be reached", || node.client().put("k", &value).err());
    let full = ask(node);
    full.fails(&["alarms: NOSPACE: the store of n1", "alarm disarm"]);
    full.fails(&["health of n1: it says that it is not well"]);
    let Some(etcdctl) = tools::etcdctl() else { return };
    let step = full.steps("failed").into_iter().find(|step| step.starts_with("alarms")).unwrap();
    let commands = step.split('`').skip(1).step_by(2);
    let commands: Vec<&str> = commands.filter(|it| it.starts_with("etcdctl ")).collect();
    assert_eq!(commands.len(), 3, "{step}");
    for command in commands {
        let mut words = command.split(' ').skip(1);
        let ran = Command::new(&etcdctl).args(&mut words).env("ETCDCTL_API", "3").output().unwrap();
        assert!(ran.status.success(), "{command}: {ran:?}");
    }
    ask(node).passes("ok", &["alarms: none"]);
    node.client().put("k", "small").unwrap();
}

#[test]
fn members_that_never_started_and_no_directories_are_named() {
    let dir = scratch();
    let nodes = static_cluster(&[Flavor::Ours], dir.path()).unwrap();
    let id = nodes[0].client().add_learner("http://127.0.0.1:9".to_owned()).unwrap();
    let remove = format!("etcdctl member remove {id:x}");
    ask(&nodes[0]).passes("warning", &["members: ", "has not started", &remove]);
    let empty = dir.path().display().to_string();
    doctor(&["--data-dir", &empty]).fails(&["neither etcd's nor a quorate-node's"]);
    doctor(&["--data-dir", "/nonexistent/x"]).fails(&["is no directory"]);
    doctor(&["--endpoints", "127.0.0.1:9"]).fails(&["127.0.0.1:9: ", "is the member running"]);
}

/// A log is read and not written, and damage in it is found.
#[test]
fn a_damaged_log_is_named_and_left_as_it_is() {
    let dir = scratch();
    let mut nodes = static_cluster(&[Flavor::Ours], dir.path()).unwrap();
    nodes[0].client().put("k", "v").unwrap();
    nodes[0].kill();
    let log = nodes[0].data_dir().join("member/wal");
    let segment = std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path());
    let segment =
        segment.into_iter().find(|it| it.extension().is_some_and(|it| it == "wal")).unwrap();
    let data_dir = nodes[0].data_dir().display().to_string();
    let before = std::fs::read(&segment).unwrap();
    doctor(&["--data-dir", &data_dir]).passes("ok", &["log: whole, up to index "]);
    assert_eq!(std::fs::read(&segment).unwrap(), before, "nothing is written");
    let mut damaged = before.clone();
    // In the middle of the first frame, which others follow.
    damaged[80] ^= 1;
    std::fs::write(&segment, &damaged).unwrap();
    doctor(&["--data-dir", &data_dir]).fails(&["log: ", "member remove"]);
    assert_eq!(std::fs::read(&segment).unwrap(), damaged);
}
