//! `quorate verify`: a running cluster against its prediction.

use std::process::{Command, Output};

use crate::doctor::Checked;
use crate::harness::{Flavor, Node, free_port, initial_cluster, scratch, static_cluster, wait};

fn verify(endpoints: &str, list: &str, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["verify", "-o=json", "--initial-cluster", list, "--endpoints", endpoints])
        .args(more)
        .output()
        .unwrap()
}

fn check(flavor: Flavor) {
    let dir = scratch();
    let Some(nodes) = static_cluster(&[flavor; 2], dir.path()) else { return };
    let list = initial_cluster(&nodes);
    let endpoints: Vec<String> = nodes.iter().map(Node::client_url).collect();
    let endpoints = endpoints.join(",");
    let asked = |list: &str, more: &[&str]| Checked::of(&verify(&endpoints, list, more));
    let right = asked(&list, &[]);
    right.passes("ok", &["cluster id: "]);
    right.passes("ok", &["member n2: ", &nodes[1].peer_url()]);
    right.passes("ok", &[&nodes[1].client_url(), "says the same"]);
    let other = asked(&list, &["--token=other"]);
    other.fails(&["cluster id: ", "was predicted", "--token `other`"]);
    other.fails(&["member n1: ", "has its name", "ids follow from peer URLs"]);
    let renamed = list.replace("n2=", "n9=");
    asked(&renamed, &[]).fails(&["member n9: ", "is named `n2`"]);
    let fewer = list.split(',').next().unwrap();
    let fewer = asked(fewer, &[]);
    fewer.fails(&["other member: ", "was not predicted"]);
    let nobody = format!("127.0.0.1:{}", free_port());
    let silent = Checked::of(&verify(&format!("{nobody},{endpoints}"), &list, &[]));
    silent.fails(&[&nobody, "Connection refused", "is the member running"]);
    let silent = Checked::of(&verify(&nobody, &list, &[]));
    assert_eq!(silent.code, Some(6));
    assert_eq!(verify(&endpoints, "n1=ftp://h:1", &[]).status.code(), Some(2));
    let added = format!("http://127.0.0.1:{}", free_port());
    // etcd takes nobody in before its members have been connected for a while.
    wait("the member to be added", || nodes[0].client().add_member(added.clone()).ok());
    asked(&list, &[]).fails(&["other member: ", "(without a name)"]);
}

#[test]
fn a_cluster_is_held_against_its_prediction() {
    check(Flavor::Ours);
}

#[test]
fn a_cluster_of_etcd_is_held_against_its_prediction() {
    check(Flavor::Etcd35);
}

#[test]
fn two_clusters_are_told_apart() {
    let dir = scratch();
    let mut nodes = Vec::new();
    for name in ["a", "b"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        nodes.extend(static_cluster(&[Flavor::Ours], &dir.path().join(name)).unwrap());
    }
    let endpoints = format!("{},{}", nodes[0].client_url(), nodes[1].client_url());
    let list = initial_cluster(&nodes[..1]);
    let both = Checked::of(&verify(&endpoints, &list, &[]));
    both.fails(&[&nodes[1].client_url(), "members of different clusters"]);
}
