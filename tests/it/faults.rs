//! What networks, disks, clocks and kernels do to members, each in a network of its own, under load that is judged
//! afterwards: the calls have an explanation in one order, nothing acknowledged is lost, no lease ended early, and
//! all members hold the same.

use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

use quorate::proto::etcdserverpb::StatusResponse;
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{
    Client, Flavor, Lan, Load, Node, Tenant, assert_all_agree, in_a_network_of_its_own,
    initial_cluster, leader, scratch, tools, wait,
};

const FAST: [&str; 4] = [
    "--heartbeat-interval=50",
    "--election-timeout=500",
    "--snapshot-count=500",
    "--snapshot-catchup-entries=100",
];

/// A cluster on a network, and its clients.
struct Trial {
    lan: Lan,
    nodes: Vec<Node>,
    load: Load,
    tenant: Tenant,
    /// Goes with the trial.
    _dir: tempfile::TempDir,
}

impl Trial {
    /// `prepare` may change what starts the nodes.
    fn begin(prepare: impl FnOnce(&mut [Node])) -> Self {
        let lan = Lan::new(3);
        let dir = scratch();
        let node = |n: usize| {
            let mut node = Node::new(Flavor::Ours, &format!("m{n}"), dir.path()).unwrap();
            lan.place(&mut node, n);
            node
        };
        let mut nodes: Vec<Node> = (1..=3).map(node).collect();
        prepare(&mut nodes);
        let list = initial_cluster(&nodes);
        for node in &mut nodes {
            node.bootstrap = vec![format!("--initial-cluster={list}")];
            node.bootstrap.extend(FAST.map(str::to_owned));
            node.start();
        }
        nodes.iter_mut().for_each(Node::wait_until_healthy);
        let (load, tenant) = (Load::start(&nodes), Tenant::start(&nodes));
        load.wait_for_writes(50);
        Self { lan, nodes, load, tenant, _dir: dir }
    }

    /// The machine that leads.
    fn leader(&self) -> usize {
        leader(&self.nodes) + 1
    }

    fn status(&self, machine: usize) -> StatusResponse {
        let client = self.nodes[machine - 1].client();
        wait("a status", || client.status().ok())
    }

    fn node(&mut self, machine: usize) -> &mut Node {
        &mut self.nodes[machine - 1]
    }

    /// Some work gets done, though something is wrong.
    #[track_caller]
    fn goes_on(&self) {
        self.load.wait_for_writes(100);
    }

    /// Waits until another machine leads.
    #[track_caller]
    fn another_leads(&self, machine: usize) {
        wait("another leader", || {
            let others = self.lan.others(machine);
            others.into_iter().find(|other| self.nodes[other - 1].leads())
        });
    }

    /// Everything is in order again.
    fn end(mut self) {
        self.nodes.iter_mut().for_each(Node::wait_until_healthy);
        self.goes_on();
        let written = self.load.judge(&self.nodes[0].client());
        self.tenant.judge();
        assert!(written > 200, "{written} writes were acknowledged");
        assert_all_agree(&self.nodes);
    }
}

#[test]
fn a_leader_is_cut_off() {
    in_a_network_of_its_own("faults::a_leader_is_cut_off", || {
        let trial = Trial::begin(|_| ());
        let leader = trial.leader();
        trial.lan.cut_off(leader);
        trial.another_leads(leader);
        trial.goes_on();
        trial.lan.heal();
        trial.end();
    });
}

#[test]
fn a_follower_is_cut_off() {
    in_a_network_of_its_own("faults::a_follower_is_cut_off", || {
        let trial = Trial::begin(|_| ());
        let leader = trial.leader();
        let follower = trial.lan.others(leader).next().unwrap();
        trial.lan.cut_off(follower);
        wait("the follower to miss its leader", || {
            (trial.status(follower).leader == 0).then_some(())
        });
        trial.goes_on();
        // Pre-vote keeps it from disturbing the others: whatever it asked in vain, it knows of no later term than theirs.
        let its_term = trial.status(follower).raft_term;
        let leader = trial.leader();
        assert!(its_term <= trial.status(leader).raft_term, "term {its_term}");
        trial.lan.heal();
        trial.end();
    });
}

/// The leader hears the others, who do not hear it.
#[test]
fn a_leader_is_not_heard() {
    in_a_network_of_its_own("faults::a_leader_is_not_heard", || {
        let trial = Trial::begin(|_| ());
        let leader = trial.leader();
        trial.lan.others(leader).for_each(|other| trial.lan.cut(leader, other));
        trial.another_leads(leader);
        trial.goes_on();
        trial.lan.heal();
        trial.end();
    });
}

/// The others hear the leader, which does not hear them.
#[test]
fn a_leader_hears_nobody() {
    in_a_network_of_its_own("faults::a_leader_hears_nobody", || {
        let trial = Trial::begin(|_| ());
        let leader = trial.leader();
        trial.lan.others(leader).for_each(|other| trial.lan.cut(other, leader));
        trial.another_leads(leader);
        trial.goes_on();
        trial.lan.heal();
        trial.end();
    });
}

#[test]
fn a_leader_is_killed() {
    in_a_network_of_its_own("faults::a_leader_is_killed", || {
        let mut trial = Trial::begin(|_| ());
        let leader = trial.leader();
        trial.node(leader).kill();
        trial.goes_on();
        trial.node(leader).start();
        trial.end();
    });
}

/// A process that is stopped believes that no time has passed.
#[test]
fn a_leader_is_stopped_and_goes_on() {
    in_a_network_of_its_own("faults::a_leader_is_stopped_and_goes_on", || {
        let mut trial = Trial::begin(|_| ());
        let leader = trial.leader();
        trial.node(leader).process().signal(Signal::STOP);
        trial.another_leads(leader);
        trial.goes_on();
        trial.node(leader).process().signal(Signal::CONT);
        trial.end();
    });
}

/// Changes how much fits on the disk of a node.
fn resize(node: &Node, verb: &str, bytes: u64) {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("{verb}size={bytes},mode=700"), "none"]);
    assert!(mount.arg(node.data_dir()).status().unwrap().success());
}

/// Nothing more can be written to the disk of one member. It ends and says why; the others go on.
#[test]
fn the_disk_of_a_leader_is_full() {
    in_a_network_of_its_own("faults::the_disk_of_a_leader_is_full", || {
        const ROOM: u64 = 1 << 30;
        let mut trial = Trial::begin(|nodes| {
            for node in nodes {
                fs::create_dir(node.data_dir()).unwrap();
                resize(node, "", ROOM);
            }
        });
        let leader = trial.leader();
        let disk = rustix::fs::statvfs(trial.node(leader).data_dir()).unwrap();
        let used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize;
        resize(trial.node(leader), "remount,", used + (1 << 20));
        let other = trial.lan.others(leader).next().unwrap();
        let client = Client::connect_for(&trial.node(other).client_url(), Duration::from_secs(2));
        wait("the end of the member whose disk is full", || {
            // Refused while nobody leads; that is not what this waits for.
            let _ = client.put("block", &"b".repeat(1 << 20));
            (!trial.node(leader).process().is_running()).then_some(())
        });
        let log = trial.node(leader).log();
        assert!(log.contains("no space left on the device"), "{log}");
        trial.goes_on();
        resize(trial.node(leader), "remount,", ROOM);
        trial.node(leader).start();
        trial.end();
    });
}

/// Every sync of the leader takes much longer than a heartbeat.
#[test]
fn the_disk_of_a_leader_is_slow() {
    in_a_network_of_its_own("faults::the_disk_of_a_leader_is_slow", || {
        let Some(strace) = tools::strace() else { return };
        let mut trial = Trial::begin(|_| ());
        let leader = trial.leader();
        let calls = "fsync,fdatasync,sync_file_range";
        let mut slow: Child = Command::new(strace)
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:delay_enter=200000")])
            .args(["-p", &trial.node(leader).process().id().to_string()])
            .spawn()
            .unwrap();
        trial.goes_on();
        // It lets go of the process, which runs on.
        let id = Pid::from_raw(i32::try_from(slow.id()).unwrap()).unwrap();
        kill_process(id, Signal::TERM).unwrap();
        slow.wait().unwrap();
        trial.end();
    });
}

/// The wall clock of the leader jumps by an hour to either side.
#[test]
fn the_clock_of_a_leader_jumps() {
    in_a_network_of_its_own("faults::the_clock_of_a_leader_jumps", || {
        let Some(library) = tools::faketime() else { return };
        let offset = |node: &Node, text: &str| {
            let file = node.data_dir().with_extension("clock");
            fs::write(file.with_extension("new"), text).unwrap();
            fs::rename(file.with_extension("new"), file).unwrap();
        };
        let mut trial = Trial::begin(|nodes| {
            for node in nodes {
                offset(node, "+0");
                let clock = node.data_dir().with_extension("clock");
                let variables = [
                    format!("LD_PRELOAD={}", library.display()),
                    format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
                    "FAKETIME_NO_CACHE=1".to_owned(),
                    // Nothing sets the clock that counts from boot.
                    "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
                ];
                node.within.push("env".into());
                node.within.extend(variables.map(Into::into));
            }
        });
        // A busy machine may lose its leader without a jump, but not time and again.
        let calm = (0..5).any(|_| {
            let leader = trial.leader();
            for jump in ["+3600", "-3600", "+86400"] {
                offset(trial.node(leader), jump);
                trial.goes_on();
            }
            trial.leader() == leader
        });
        assert!(calm, "a jump of the wall clock is nothing to a leader");
        trial.end();
    });
}
