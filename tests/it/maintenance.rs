//! Maintenance as operators do it, with the stock tools: quota and alarms, snapshots both ways between
//! etcd and us, defragmentation, compaction by itself, members that hold something else.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Flavor, Node, etcdctl, http, scratch, static_cluster_with, tools, wait};

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// One node of a cluster of its own, started and healthy; `None` when its program is missing.
fn lone(flavor: Flavor, name: &str, dir: &Path, flags: &[&str]) -> Option<Node> {
    let mut node = Node::new(flavor, name, dir)?;
    node.bootstrap = vec![format!("--initial-cluster={name}={}", node.peer_url())];
    node.bootstrap.extend(flags.iter().map(|flag| (*flag).to_owned()));
    node.start();
    node.wait_until_healthy();
    Some(node)
}

#[test]
fn a_full_store_refuses_until_it_is_told_that_there_is_room() {
    let dir = scratch();
    let quota = "--quota-backend-bytes=8388608";
    let mut node = lone(Flavor::Ours, "n1", dir.path(), &[quota]).unwrap();
    assert!(node.log().contains("enabled backend quota"), "{}", node.log());
    let client = node.client();
    let value = "v".repeat(500_000);
    let refused = wait("the store to be full", || client.put("k", &value).err());
    assert_eq!(refused.message(), "etcdserver: mvcc: database space exceeded");
    let url = node.client_url();
    let Some(listed) = etcdctl(&url, &["alarm", "list"]) else { return };
    let id = client.status().unwrap().leader;
    assert_eq!(text(&listed), format!("memberID:{id} alarm:NOSPACE \n"));
    assert_eq!(client.status().unwrap().errors, [format!("memberID:{id} alarm:NOSPACE ")]);
    assert_eq!(client.status().unwrap().db_size_quota, 8_388_608);
    let health = http("GET", &format!("{url}/health"), None).unwrap();
    assert_eq!(health.status, 503);
    assert_eq!(health.body, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n");
    let health = http("GET", &format!("{url}/health?exclude=NOSPACE"), None).unwrap();
    assert_eq!(health.body, r#"{"health":"true","reason":""}"#);
    // Small puts and leases are refused as well, deletions are not.
    let refused = text(&etcdctl(&url, &["lease", "grant", "100"]).unwrap());
    assert!(refused.contains("etcdserver: mvcc: database space exceeded"), "{refused}");
    assert_eq!(text(&etcdctl(&url, &["del", "k"]).unwrap()), "1\n");
    let revision = client.hash().unwrap().0.to_string();
    let compacted = etcdctl(&url, &["compaction", "--physical", &revision]).unwrap();
    assert!(compacted.status.success(), "{compacted:?}");
    let defragmented = text(&etcdctl(&url, &["defrag"]).unwrap());
    assert_eq!(defragmented, format!("Finished defragmenting etcd member[{url}]\n"));
    assert!(client.put("k", "small").is_err(), "the alarm stays");
    // It outlives a restart.
    node.kill();
    node.start();
    let client = node.client();
    wait("the restarted node", || client.status().ok().filter(|status| status.leader != 0));
    wait("the alarm", || client.status().ok().filter(|status| !status.errors.is_empty()));
    assert_eq!(
        text(&etcdctl(&url, &["alarm", "disarm"]).unwrap()),
        format!("memberID:{id} alarm:NOSPACE \n")
    );
    client.put("k", "small").unwrap();
    assert_eq!(text(&etcdctl(&url, &["alarm", "list"]).unwrap()), "");
}

fn fill(node: &Node) {
    let client = node.client();
    for batch in 0..20 {
        let keys: Vec<String> = (0..100).map(|n| format!("bulk/{batch}/{n}")).collect();
        client.put_many(&keys, 300).unwrap();
    }
    client.put("changed", "before").unwrap();
    client.put("changed", "after").unwrap();
    client.put("deleted", "x").unwrap();
    let url = node.client_url();
    etcdctl(&url, &["del", "deleted"]).unwrap();
    let granted = text(&etcdctl(&url, &["lease", "grant", "5000"]).unwrap());
    let lease = granted.split(' ').nth(1).unwrap().to_owned();
    etcdctl(&url, &["put", &format!("--lease={lease}"), "leased", "v"]).unwrap();
    etcdctl(&url, &["compaction", "10"]).unwrap();
}

/// What a client sees of a node, ids aside.
fn view(node: &Node) -> String {
    let url = node.client_url();
    let ask = |arguments: &[&str]| text(&etcdctl(&url, arguments).unwrap());
    let lease = ask(&["lease", "list"]);
    let lease = lease.lines().last().unwrap_or_default().to_owned();
    let attached = ask(&["lease", "timetolive", "--keys", &lease]);
    let attached = attached.split("attached").nth(1).unwrap_or_default().to_owned();
    let (revision, hash) = node.client().hash().unwrap();
    format!(
        "revision {revision} hash {hash}\n{lease} {attached}{}{}{}",
        ask(&["get", "--prefix", "", "--keys-only", "--limit=5"]),
        ask(&["get", "changed", "leased"]),
        ask(&["get", "--count-only", "--write-out=fields", "--prefix", "bulk"])
            .lines()
            .filter(|line| line.contains("Count"))
            .collect::<String>(),
    )
}

fn our_program() -> PathBuf {
    Flavor::Ours.program().unwrap()
}

/// The tool that restores for an etcd of this flavor, and its arguments before the file.
fn restorer(flavor: Flavor) -> Option<(PathBuf, Vec<&'static str>)> {
    Some(match flavor {
        Flavor::Ours => (our_program(), vec!["snapshot", "restore"]),
        Flavor::Etcd34 => {
            (flavor.program()?.with_file_name("etcdctl"), vec!["snapshot", "restore"])
        }
        Flavor::Etcd35 => {
            (flavor.program()?.with_file_name("etcdutl"), vec!["snapshot", "restore"])
        }
    })
}

/// A snapshot of one, restored as another: the same to its clients.
fn migrate(from: Flavor, to: Flavor) {
    let dir = scratch();
    let Some((tool, arguments)) = restorer(to) else { return };
    let Some(source) = lone(from, "source", dir.path(), &[]) else { return };
    if etcdctl(&source.client_url(), &["version"]).is_none() {
        return;
    }
    fill(&source);
    let file = dir.path().join("snapshot.db").display().to_string();
    let saved = etcdctl(&source.client_url(), &["snapshot", "save", &file]).unwrap();
    assert!(saved.status.success(), "{saved:?}");
    let status = etcdctl(&source.client_url(), &["snapshot", "status", &file]).unwrap();
    let ours = Command::new(our_program()).args(["snapshot", "status", &file]).output().unwrap();
    assert!(status.status.success() && ours.status.success(), "{status:?} {ours:?}");
    let (told, ours) = (text(&status), text(&ours));
    let (told, mut ours): (Vec<_>, Vec<_>) =
        (told.trim_end().split(", ").collect(), ours.trim_end().split(", ").collect());
    // Keys, as etcdutl counts them since 3.6; before, all that is stored.
    assert_eq!(std::mem::replace(&mut ours[2], told[2]), "2002", "{told:?}");
    assert!(ours.starts_with(&told), "{ours:?} is not {told:?}");
    let mut copy = Node::new(to, "copy", dir.path()).unwrap();
    copy.bootstrap = vec![
        format!("--initial-cluster=copy={}", copy.peer_url()),
        "--initial-cluster-token=other".to_owned(),
    ];
    let restored = Command::new(tool)
        .env("ETCDCTL_API", "3")
        .args(arguments)
        .arg(&file)
        .args(["--name", "copy", "--initial-advertise-peer-urls", &copy.peer_url()])
        .arg("--data-dir")
        .arg(copy.data_dir())
        .args(&copy.bootstrap)
        .output()
        .unwrap();
    assert!(restored.status.success(), "{restored:?}");
    copy.start();
    copy.wait_until_healthy();
    assert_eq!(view(&copy), view(&source));
    copy.client().put("more", "writes").unwrap();
}

#[test]
fn a_snapshot_of_ours_becomes_an_etcd_3_4() {
    migrate(Flavor::Ours, Flavor::Etcd34);
}

#[test]
fn a_snapshot_of_ours_becomes_an_etcd_3_5() {
    migrate(Flavor::Ours, Flavor::Etcd35);
}

#[test]
fn a_snapshot_of_etcd_3_4_becomes_ours() {
    migrate(Flavor::Etcd34, Flavor::Ours);
}

#[test]
fn a_snapshot_of_etcd_3_5_becomes_ours() {
    migrate(Flavor::Etcd35, Flavor::Ours);
}

#[test]
fn a_snapshot_of_ours_becomes_ours() {
    migrate(Flavor::Ours, Flavor::Ours);
}

#[test]
fn restore_refuses_what_it_cannot_use() {
    let dir = scratch();
    let file = dir.path().join("snapshot.db");
    std::fs::write(&file, "no snapshot").unwrap();
    let restore = |more: &[&str]| {
        let mut command = Command::new(our_program());
        command.current_dir(dir.path()).args(["snapshot", "restore"]).arg(&file).args(more);
        let output = command.output().unwrap();
        assert!(!output.status.success());
        text(&output).replace(&file.display().to_string(), "FILE")
    };
    assert_eq!(restore(&[]), "quorate-node: snapshot missing hash but --skip-hash-check=false\n");
    assert_eq!(
        restore(&["--skip-hash-check"]),
        "quorate-node: `FILE` is no snapshot of etcd: it does not begin like a bbolt file\n"
    );
    assert_eq!(
        restore(&["--name", "n7"]),
        "quorate-node: couldn't find local name \"n7\" in the initial cluster configuration\n"
    );
    assert_eq!(
        restore(&["--initial-advertise-peer-urls", "http://127.0.0.1:1"]),
        "quorate-node: --initial-cluster must include default=http://127.0.0.1:1 given \
         --initial-advertise-peer-urls=http://127.0.0.1:1\n"
    );
    assert_eq!(
        restore(&["--data-dir", "."]),
        "quorate-node: data-dir \".\" not empty or could not be read\n"
    );
    assert!(restore(&["--mark-compacted"]).contains("--bump-revision"));
}

#[test]
fn history_is_compacted_by_itself() {
    let dir = scratch();
    let flags = ["--auto-compaction-mode=periodic", "--auto-compaction-retention=1s"];
    let mut node = lone(Flavor::Ours, "n1", dir.path(), &flags).unwrap();
    let client = node.client();
    for n in 0..20 {
        client.put("k", &n.to_string()).unwrap();
    }
    node.process().wait_for_log("completed auto periodic compaction");
    let refused = wait("revision 5 to be compacted", || {
        let old = quorate::proto::etcdserverpb::RangeRequest {
            key: "k".into(),
            revision: 5,
            ..Default::default()
        };
        client.range(old).err()
    });
    assert_eq!(refused.message(), "etcdserver: mvcc: required revision has been compacted");
    node.process().wait_for_log("finished scheduled compaction");
    let log = node.process().log();
    let told = log.lines().find(|line| line.contains("finished scheduled compaction")).unwrap();
    for field in ["compact-revision", "took", "current-db-size-bytes"] {
        assert!(told.contains(&format!("\"{field}\":")), "{told}");
    }
}

/// A cluster, and which of its members, no leader, holds another value at the same revision.
fn cluster_with_a_liar(dir: &Path, flags: &[&str]) -> (Vec<Node>, usize, u64) {
    let mut nodes = static_cluster_with(&[Flavor::Ours; 3], dir, flags).unwrap();
    let client = nodes[0].client();
    client.put("k", "truth").unwrap();
    let leader = client.status().unwrap().leader;
    let victim = nodes
        .iter()
        .position(|node| node.client().status().unwrap().header.unwrap().member_id != leader)
        .unwrap();
    let victim_id = nodes[victim].client().status().unwrap().header.unwrap().member_id;
    // What was applied must be in its store, not only in its log, before it is changed there.
    let store = nodes[victim].data_dir().join("member/store.redb");
    nodes[victim].process().stop();
    tamper(&store);
    nodes[victim].start();
    (nodes, victim, victim_id)
}

/// Waits until the alarm is on for this member and no other.
fn wait_for_alarm(url: &str, member: u64) {
    let listed = wait("the alarm", || {
        let listed = text(&etcdctl(url, &["alarm", "list"]).unwrap());
        listed.contains("CORRUPT").then_some(listed)
    });
    assert_eq!(listed, format!("memberID:{member} alarm:CORRUPT \n"));
}

/// It is named, and nobody writes.
#[test]
fn a_member_that_holds_something_else_is_found() {
    let dir = scratch();
    if tools::etcdctl().is_none() {
        return;
    }
    let (mut nodes, victim, victim_id) =
        cluster_with_a_liar(dir.path(), &["--corrupt-check-time=1s"]);
    let url = nodes[(victim + 1) % 3].client_url();
    wait_for_alarm(&url, victim_id);
    let client = nodes[0].client();
    let refused = wait("a refusal", || client.put("k", "v").err());
    assert_eq!(refused.message(), "etcdserver: corrupt cluster");
    let ready = http("GET", &format!("{url}/readyz"), None).unwrap();
    assert!(
        ready.body.contains("[-]data_corruption failed: alarm activated: CORRUPT"),
        "{}",
        ready.body
    );
    // With the check at the start it does not even serve.
    nodes[victim].kill();
    nodes[victim].bootstrap.push("--experimental-initial-corrupt-check=true".to_owned());
    nodes[victim].start().wait_for_log("found data inconsistency with peers");
}

/// Once per compaction what it left is compared, and nothing before.
#[test]
fn a_compaction_finds_a_member_that_holds_something_else() {
    let dir = scratch();
    if tools::etcdctl().is_none() {
        return;
    }
    let flags = ["--experimental-compact-hash-check-enabled", "--compact-hash-check-time=200ms"];
    let (mut nodes, victim, victim_id) = cluster_with_a_liar(dir.path(), &flags);
    nodes[victim].wait_until_healthy();
    let client = nodes[(victim + 1) % 3].client();
    let last = wait("a write", || client.put("other", "v").ok()).revision;
    let url = nodes[(victim + 1) % 3].client_url();
    assert_eq!(text(&etcdctl(&url, &["alarm", "list"]).unwrap()), "");
    let compacted = etcdctl(&url, &["compaction", &last.to_string()]).unwrap();
    assert!(compacted.status.success(), "{compacted:?}");
    wait_for_alarm(&url, victim_id);
    wait("the line of the leader", || {
        let told =
            |node: &mut Node| node.process().log().contains("finished compaction hash check");
        nodes.iter_mut().any(told).then_some(())
    });
}

/// Puts another value into the store of a member that does not run.
fn tamper(store: &Path) {
    use quorate::mvcc::{Event, KeyValue, Revision, Storage as _};
    let mut store = quorate::store::Store::open(store).unwrap();
    let mut last = Revision::default();
    store
        .scan(Revision::default(), &mut |at, _record| {
            last = at;
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    let kv = KeyValue {
        key: "k".into(),
        value: "a lie".into(),
        create_revision: last.main,
        mod_revision: last.main,
        version: 1,
        lease: 0,
    };
    let applied = store.applied();
    store.put(last, &Event { kv, deleted: false });
    store.set_applied(applied);
    store.flush().unwrap();
}

#[test]
fn a_slow_disk_is_named() {
    let Some(strace) = tools::strace() else { return };
    let dir = scratch();
    let mut node = lone(Flavor::Ours, "n1", dir.path(), &[]).unwrap();
    let client = node.client();
    client.put("k", "v").unwrap();
    assert!(!node.log().contains("slow fdatasync"));
    let mut slow = Command::new(strace)
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"])
        .args(["-e", "inject=fdatasync:delay_enter=1100000"])
        .args(["-p", &node.process().id().to_string()])
        .spawn()
        .unwrap();
    let log = wait("a warning", || {
        client.put("k", "v").unwrap();
        Some(node.log()).filter(|log| log.contains("slow fdatasync"))
    });
    assert!(log.contains("\"expected-duration\":\"1s\""), "{log}");
    // It lets go of the node, which is killed with its owner.
    kill_process(Pid::from_raw(i32::try_from(slow.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
    slow.wait().unwrap();
}
