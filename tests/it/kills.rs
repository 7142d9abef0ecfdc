//! Members of a cluster are killed at random moments under load.

use std::time::Duration;

use rand::RngExt as _;
use rand::seq::SliceRandom as _;

use crate::harness::{Flavor, Load, Node, assert_all_agree, scratch, static_cluster_with};

/// How many members are killed; `QUORATE_KILLS` for longer runs by hand.
const KILLS: usize = 200;
/// Elections within a fraction of a second, and logs that are cut all the time.
const FAST: [&str; 4] = [
    "--heartbeat-interval=20",
    "--election-timeout=200",
    "--snapshot-count=200",
    "--snapshot-catchup-entries=50",
];

/// One of three members, sometimes two and sometimes all, die by SIGKILL again and again, often while they are still
/// recovering from the time before. After each time the cluster goes on, and in the end nothing acknowledged is lost.
#[test]
fn two_hundred_kills_under_load_lose_nothing_acknowledged() {
    let kills = std::env::var("QUORATE_KILLS").ok().and_then(|text| text.parse().ok());
    let kills = kills.unwrap_or(KILLS);
    let dir = scratch();
    let mut nodes = static_cluster_with(&[Flavor::Ours; 3], dir.path(), &FAST).unwrap();
    let load = Load::start(&nodes);
    let mut random = rand::rng();
    let (mut killed, mut rounds) = (0, 0);
    while killed < kills {
        // The moment of the kill is what is drawn; nothing is waited for.
        std::thread::sleep(Duration::from_micros(random.random_range(0..50_000)));
        let mut order = [0, 1, 2];
        order.shuffle(&mut random);
        let count = [1, 1, 1, 1, 1, 1, 1, 2, 2, 3][random.random_range(0..10)];
        for victim in &order[..count] {
            assert!(nodes[*victim].process().is_running(), "{victim} ended by itself");
            nodes[*victim].kill();
            killed += 1;
        }
        if count == 1 && random.random_range(0..2) == 0 {
            load.wait_for_writes(5);
        }
        for victim in &order[..count] {
            nodes[*victim].start();
        }
        load.wait_for_writes(5);
        rounds += 1;
    }
    nodes.iter_mut().for_each(Node::wait_until_healthy);
    load.wait_for_writes(50);
    let written = load.judge(&nodes[0].client());
    assert!(written >= rounds * 5 + 50, "{written} writes were acknowledged in {rounds} rounds");
    assert_all_agree(&nodes);
}
