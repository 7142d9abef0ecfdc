//! A cluster of one out of a member of several whose others are lost.

use quorate::proto::etcdserverpb::RangeRequest;

use crate::harness::{Flavor, Node, initial_cluster, scratch, static_cluster, wait};

fn count(node: &Node) -> i64 {
    let all = RangeRequest {
        key: "k".into(),
        range_end: "l".into(),
        count_only: true,
        ..RangeRequest::default()
    };
    node.client().range(all).unwrap().count
}

#[test]
fn one_of_three_goes_on_alone_and_keeps_everything() {
    let dir = scratch();
    let mut nodes = static_cluster(&[Flavor::Ours; 3], dir.path()).unwrap();
    let client = nodes[0].client();
    for n in 0..50 {
        wait("a write", || client.put(&format!("k{n}"), "v").ok());
    }
    let (cluster, _) = client.members().unwrap();
    assert_eq!(count(&nodes[2]), 50, "a linearizable read: the member has all of it");
    nodes.iter_mut().for_each(Node::kill);

    let plain = nodes[2].bootstrap.clone();
    nodes[2].bootstrap.push("--force-new-cluster".to_owned());
    nodes[2].start();
    nodes[2].wait_until_healthy();
    assert_eq!(count(&nodes[2]), 50);
    let client = nodes[2].client();
    let (same, members) = client.members().unwrap();
    assert_eq!(same, cluster);
    assert_eq!(members.len(), 1, "{members:?}");
    assert_eq!(members[0].name, nodes[2].name);
    client.put("k-after", "v").unwrap();
    assert!(nodes[2].log().contains("forcing a new cluster"));

    // Without the flag it stays what it is.
    nodes[2].kill();
    nodes[2].bootstrap = plain;
    nodes[2].start();
    nodes[2].wait_until_healthy();
    assert_eq!(count(&nodes[2]), 51);
    assert_eq!(nodes[2].client().members().unwrap().1.len(), 1);

    // Who was taken out learns it when it comes back, and a new member joins as into any cluster.
    nodes[0].start();
    nodes[0].process().wait_for_end();
    assert!(nodes[0].log().contains("the member has been permanently removed from the cluster"));
    assert!(nodes[0].log().contains("data-dir used by this member must be removed"));
    let mut fourth = Node::new(Flavor::Ours, "n4", dir.path()).unwrap();
    let client = nodes[2].client();
    wait("the addition", || client.add_member(fourth.peer_url()).ok());
    let members = [nodes.remove(2), fourth];
    let list = initial_cluster(&members);
    let [kept, new] = members;
    fourth = new;
    fourth.bootstrap =
        vec![format!("--initial-cluster={list}"), "--initial-cluster-state=existing".to_owned()];
    fourth.start();
    fourth.wait_until_healthy();
    assert_eq!(count(&fourth), 51);
    assert_eq!(kept.client().members().unwrap().1.len(), 2);
}
