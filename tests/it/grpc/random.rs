//! Calls that nobody thought of: a seed makes them, and our node gives the answers of a real etcd 3.6.
//!
//! `tests/differential/random.txt` has a checksum for each answer, so that no etcd is needed here. With `ETCD35` naming
//! an etcd 3.6, `QUORATE_CALLS_SECONDS=600 cargo test --test it grpc::random` asks both with fresh seeds, and
//! `QUORATE_CALLS_SEED` repeats one and shows what is answered; `SUBJECT=etcd UPDATE_GOLDENFILES=1` records again.

use std::fs;
use std::hash::Hasher as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use siphasher::sip::SipHasher13;

use super::corpus;
use super::session::Session;
use crate::differential::subject;
use crate::harness::{Flavor, Node, initial_cluster, scratch};

/// Calls of one seed.
const CALLS: usize = 250;
/// Seeds that were recorded; every other one has users.
const RECORDED: std::ops::Range<u64> = 0..8;
/// Keys whose ranges meet and overlap; the empty one is refused, or means what the range end says.
const KEYS: [&str; 15] =
    ["a", "b", "c", "aa", "ab", "b\0", "\0", "ÿ", "ÿÿ", "d", "e/1", "e/2", "e/", "e0", ""];
const USERS: [&str; 5] = ["root", "u1", "u2", "", "x y"];
const ROLES: [&str; 4] = ["root", "r1", "r2", ""];
/// Operations in a transaction, as a flag.
const MOST_OPERATIONS: usize = 40;

#[test]
fn as_recorded() {
    let file = corpus().join("random.txt");
    let flavor = subject(Flavor::Etcd35);
    let mut sums = Vec::new();
    let mut asked = Vec::new();
    for seed in RECORDED {
        let dir = scratch();
        let Some(mut session) = start(flavor, dir.path()) else { return };
        let mut calls = Calls::new(seed);
        for number in 0..CALLS {
            let call = calls.next();
            let answer = settled(&call, &session.call(&call, ""));
            calls.learn(&call, &answer);
            sums.push(format!("{:08x}", crc32c::crc32c(answer.as_bytes())));
            asked.push(format!("seed {seed}, call {number}: {call}\n{answer}"));
        }
    }
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        assert_eq!(flavor, Flavor::Etcd35, "only SUBJECT=etcd says what is right");
        let lines: Vec<String> = sums.chunks(12).map(|line| line.join(" ") + "\n").collect();
        fs::write(&file, lines.concat()).unwrap();
        return;
    }
    let recorded = fs::read_to_string(&file).unwrap();
    let recorded: Vec<&str> = recorded.split_whitespace().collect();
    assert_eq!(recorded.len(), sums.len(), "{}", file.display());
    let differs = (0..sums.len()).find(|at| sums[*at] != recorded[*at]);
    assert!(differs.is_none(), "not as recorded: {}", asked[differs.unwrap_or_default()]);
}

/// With an etcd 3.6 beside ours.
#[test]
fn as_a_real_etcd() {
    let number = |name| Some(std::env::var(name).ok()?.parse::<u64>().unwrap());
    if let Some(seed) = number("QUORATE_CALLS_SEED") {
        compare(seed);
    }
    let Some(seconds) = number("QUORATE_CALLS_SECONDS") else { return };
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        compare(rand::random());
    }
}

fn compare(seed: u64) {
    let dir = scratch();
    let [mut etcd, mut ours] = [Flavor::Etcd35, Flavor::Ours].map(|flavor| {
        let dir = dir.path().join(format!("{flavor:?}"));
        fs::create_dir(&dir).unwrap();
        start(flavor, &dir).expect("ETCD35 names an etcd 3.6")
    });
    let mut calls = Calls::new(seed);
    for number in 0..CALLS {
        let call = calls.next();
        let wanted = settled(&call, &etcd.call(&call, ""));
        let answer = settled(&call, &ours.call(&call, ""));
        assert!(
            wanted == answer,
            "seed {seed}, call {number}: {call}\netcd: {wanted}\nours: {answer}"
        );
        calls.learn(&call, &wanted);
    }
}

/// A session with a single member.
fn start(flavor: Flavor, dir: &Path) -> Option<Session> {
    let mut node = Node::new(flavor, "n1", dir)?;
    let list = initial_cluster(std::slice::from_ref(&node));
    node.bootstrap = vec![
        format!("--initial-cluster={list}"),
        format!("--max-txn-ops={MOST_OPERATIONS}"),
        "--bcrypt-cost=4".to_owned(),
    ];
    node.start();
    node.wait_until_healthy();
    Some(Session::new(flavor, vec![node], dir, None))
}

/// What has no order in etcd is sorted.
fn settled(call: &str, answer: &str) -> String {
    if !call.contains("Lease/LeaseLeases") && !call.contains("Lease/LeaseTimeToLive") {
        return answer.to_owned();
    }
    let mut parts: Vec<&str> = answer.split([',', '[', ']', '{', '}']).collect();
    parts.sort_unstable();
    parts.join(" ")
}

/// A root user, another one with a role, and checks in force; the last comes first.
const BEGIN: [&str; 8] = [
    r#"Auth/Authenticate {"name":"root","password":"p"}"#,
    "Auth/AuthEnable {}",
    r#"Auth/UserGrantRole {"user":"u1","role":"r1"}"#,
    r#"Auth/RoleAdd {"name":"r1"}"#,
    r#"Auth/UserAdd {"name":"u1","password":"p"}"#,
    r#"Auth/UserGrantRole {"user":"root","role":"root"}"#,
    r#"Auth/RoleAdd {"name":"root"}"#,
    r#"Auth/UserAdd {"name":"root","password":"p"}"#,
];

/// Where the calls come from, and what they know of the store by the answers.
struct Calls {
    seed: u64,
    /// Numbers drawn so far.
    drawn: u64,
    users: bool,
    /// What is asked first, the last of them at once.
    first: Vec<&'static str>,
    revision: i64,
    /// Revisions of compactions.
    compacted: Vec<i64>,
    leases: Vec<i64>,
    /// Whether a transaction was refused that etcd may carry out after `kill -9`, until all is on the disk.
    unsettled: bool,
}

impl Calls {
    fn new(seed: u64) -> Self {
        let users = seed % 2 == 1;
        Self {
            seed,
            drawn: 0,
            users,
            first: if users { BEGIN.to_vec() } else { Vec::new() },
            revision: 1,
            compacted: vec![0],
            leases: vec![1],
            unsettled: false,
        }
    }

    /// The same numbers for ever, which the generators of `rand` do not promise.
    fn below(&mut self, limit: usize) -> usize {
        self.drawn += 1;
        let drawn = SipHasher13::new_with_keys(self.seed, self.drawn).finish();
        usize::try_from(drawn % limit as u64).unwrap()
    }

    fn int_below(&mut self, limit: i64) -> i64 {
        i64::try_from(self.below(usize::try_from(limit).unwrap())).unwrap()
    }

    fn learn(&mut self, call: &str, answer: &str) {
        let number = |text: &str, name: &str| -> Option<i64> {
            let rest = text.split_once(&format!("\"{name}\":"))?.1;
            rest.split([',', '}']).next()?.parse().ok()
        };
        if answer.starts_with('!') {
            self.unsettled |= call.contains("KV/Txn");
            return;
        }
        self.revision = self.revision.max(number(answer, "revision").unwrap_or_default());
        self.unsettled &= !call.contains("KV/Compact") && !call.contains("Defragment");
        if call.contains("KV/Compact") {
            self.compacted.extend(number(call, "revision"));
        } else if call.contains("Lease/LeaseGrant") {
            self.leases.extend(number(call, "ID"));
        }
    }

    fn next(&mut self) -> String {
        if let Some(call) = self.first.pop() {
            return call.to_owned();
        }
        let users = self.users;
        if !users && !self.unsettled && self.chance(2) {
            self.first.push("start 1");
            return "kill 1".to_owned();
        }
        let from = if users { "(kept login) " } else { "" };
        if users && self.chance(6) {
            let user =
                json!({"name": self.one(&USERS), "password": self.one(&["p", "p", "q", ""])});
            return format!("Auth/Authenticate {user}");
        }
        let (method, request) = match self.below(100) {
            _ if users && self.chance(13) => self.account(),
            0..30 => ("KV/Range", self.range()),
            30..50 => ("KV/Put", self.put()),
            50..57 => ("KV/DeleteRange", self.delete()),
            57..80 => ("KV/Txn", self.survivable_transaction()),
            80..83 => ("KV/Compact", self.compaction()),
            83..88 => {
                let time: i64 = self.one(&[100, 3600, 9_000_000_000, 9_000_000_001, 1 << 62]);
                let id = 1 + self.int_below(29);
                ("Lease/LeaseGrant", json!({"ID": self.one(&[id, id, id, -5]), "TTL": time}))
            }
            88..91 => ("Lease/LeaseRevoke", json!({"ID": self.known_lease()})),
            91..95 => {
                let keys = self.chance(70);
                ("Lease/LeaseTimeToLive", json!({"ID": self.known_lease(), "keys": keys}))
            }
            95..96 => ("Lease/LeaseLeases", json!({})),
            96..99 => ("Maintenance/HashKV", json!({"revision": self.hashed()})),
            _ => ("Maintenance/Defragment", json!({})),
        };
        format!("{from}{method} {request}")
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn key(&mut self) -> String {
        self.one(&KEYS).to_owned()
    }

    /// Of one key, of all that follow, of those that begin so, or any.
    fn end(&mut self, key: &str) -> String {
        match self.below(20) {
            0..7 => String::new(),
            7..10 => "\0".to_owned(),
            10..13 => {
                let mut end: Vec<char> = key.chars().collect();
                match end.pop() {
                    Some(last) if last < 'ÿ' => {
                        end.push(char::from(u8::try_from(last).unwrap() + 1));
                    }
                    _ => end = vec!['\0'],
                }
                end.into_iter().collect()
            }
            _ => self.key(),
        }
    }

    fn revision(&mut self) -> i64 {
        let compacted = *self.compacted.last().unwrap();
        let now = self.revision;
        match self.below(10) {
            0..5 => 0,
            5..9 => self.int_below(now + 1),
            _ => self.one(&[
                compacted - 1,
                compacted,
                compacted + 1,
                now,
                now + 1,
                now + 5,
                -1,
                i64::MAX,
                i64::MIN,
            ]),
        }
    }

    /// A limit, a bound or a version.
    fn number(&mut self) -> i64 {
        let some = self.int_below(self.revision + 2);
        self.one(&[0, 1, 1, 2, 2, 3, -1, some, i64::MAX, i64::MIN])
    }

    fn lease(&mut self) -> i64 {
        match self.below(20) {
            0..12 => 0,
            12..19 => self.known_lease(),
            _ => self.one(&[12_345_678, -1, i64::MAX]),
        }
    }

    fn known_lease(&mut self) -> i64 {
        let leases = self.leases.clone();
        if self.chance(10) { 99 } else { self.one(&leases) }
    }

    fn range(&mut self) -> Json {
        let key = self.key();
        let mut request = json!({"key": key, "range_end": self.end(&key)});
        let mut set = |percent, name: &str, value: Json, calls: &mut Self| {
            if calls.chance(percent) {
                request[name] = value;
            }
        };
        set(40, "revision", self.revision().into(), self);
        set(30, "limit", self.number().into(), self);
        set(40, "sort_order", self.one(&["NONE", "ASCEND", "DESCEND"]).into(), self);
        set(
            40,
            "sort_target",
            self.one(&["KEY", "VERSION", "CREATE", "MOD", "VALUE"]).into(),
            self,
        );
        set(20, "serializable", true.into(), self);
        set(15, "keys_only", true.into(), self);
        set(15, "count_only", true.into(), self);
        for bound in ["min_mod", "max_mod", "min_create", "max_create"] {
            set(8, &format!("{bound}_revision"), self.number().into(), self);
        }
        request
    }

    fn put(&mut self) -> Json {
        let value: String =
            (0..self.one(&[0, 1, 2, 3])).map(|_| self.one(&['x', 'y', 'z'])).collect();
        let mut request = json!({"key": self.key(), "value": value, "lease": self.lease()});
        if self.chance(20) {
            request["prev_kv"] = true.into();
        }
        if self.chance(7) {
            request["ignore_value"] = true.into();
            if self.chance(80) {
                request["value"] = "".into();
            }
        }
        if self.chance(7) {
            request["ignore_lease"] = true.into();
            if self.chance(80) {
                request["lease"] = 0.into();
            }
        }
        request
    }

    fn delete(&mut self) -> Json {
        let key = self.key();
        json!({"key": key, "range_end": self.end(&key), "prev_kv": self.chance(30)})
    }

    fn comparison(&mut self) -> Json {
        let key = self.key();
        let mut request = json!({
            "key": key,
            "result": self.one(&["EQUAL", "GREATER", "LESS", "NOT_EQUAL"]),
        });
        let targets = ["VERSION", "CREATE", "MOD", "VALUE", "LEASE"];
        let target = self.one(&targets);
        let (name, value): (_, Json) = match target {
            "VERSION" => ("version", self.number().into()),
            "CREATE" => ("create_revision", self.number().into()),
            "MOD" => ("mod_revision", self.number().into()),
            "VALUE" => ("value", self.one(&["", "x", "y", "zz"]).into()),
            _ => ("lease", self.lease().into()),
        };
        // Now and then one that says nothing about its target, or something about another.
        let odd = self.chance(5);
        request["target"] = (if odd { self.one(&targets) } else { target }).into();
        if !self.chance(2) {
            request[name] = value;
        }
        if self.chance(30) {
            request["range_end"] = self.end(&key).into();
        }
        request
    }

    /// etcd panics where a put that keeps the value or the lease comes after a deletion of its key, which goes
    /// unnoticed when that has no end.
    fn survivable_transaction(&mut self) -> Json {
        loop {
            let transaction = self.transaction(0);
            let text = transaction.to_string();
            if !text.contains("ignore_") || !text.contains(r#""range_end":"\u0000""#) {
                return transaction;
            }
        }
    }

    fn transaction(&mut self, depth: usize) -> Json {
        let compare: Vec<Json> = (0..self.one(&[0, 1, 1, 2])).map(|_| self.comparison()).collect();
        let [success, failure] = [(), ()].map(|()| self.operations(depth));
        json!({"compare": compare, "success": success, "failure": failure})
    }

    fn operations(&mut self, depth: usize) -> Vec<Json> {
        let count =
            if self.chance(2) { MOST_OPERATIONS + 1 } else { self.one(&[0, 1, 1, 2, 2, 3, 5]) };
        (0..count).map(|_| self.operation(depth)).collect()
    }

    fn operation(&mut self, depth: usize) -> Json {
        match self.below(200) {
            0..80 => json!({"request_range": self.range()}),
            80..150 => json!({"request_put": self.put()}),
            150..184 => json!({"request_delete_range": self.delete()}),
            184..199 if depth < 3 => json!({"request_txn": self.transaction(depth + 1)}),
            _ => json!({}),
        }
    }

    /// Revision 0 is compacted by etcd once for nothing, and then refused; here it is left alone.
    fn compaction(&mut self) -> Json {
        let revision = match self.below(4) {
            0 => self.revision(),
            1 => self.revision - 3,
            2 => self.revision - 6,
            _ => self.revision - 9,
        };
        json!({"revision": if revision == 0 { 1 } else { revision }, "physical": true})
    }

    /// At the very revision of a compaction etcd has another answer after it has started again.
    fn hashed(&mut self) -> i64 {
        let revision = self.revision().max(0);
        if self.compacted.contains(&revision) { 0 } else { revision }
    }

    /// Something about users and roles.
    fn account(&mut self) -> (&'static str, Json) {
        let (user, role) = (self.one(&USERS), self.one(&ROLES));
        let password = self.one(&["p", "q", ""]);
        let key = self.key();
        match self.below(20) {
            0 => {
                let options = json!({"no_password": self.chance(20)});
                ("Auth/UserAdd", json!({"name": user, "password": password, "options": options}))
            }
            1 => ("Auth/UserGet", json!({"name": user})),
            2 => ("Auth/UserList", json!({})),
            3 if self.chance(50) => ("Auth/UserDelete", json!({"name": user})),
            3 => ("Auth/RoleList", json!({})),
            4 => ("Auth/UserChangePassword", json!({"name": user, "password": password})),
            5..8 => ("Auth/UserGrantRole", json!({"user": user, "role": role})),
            8 => ("Auth/UserRevokeRole", json!({"name": user, "role": role})),
            9 | 10 => ("Auth/RoleAdd", json!({"name": role})),
            11 => ("Auth/RoleGet", json!({"role": role})),
            12 if self.chance(50) => ("Auth/RoleDelete", json!({"role": role})),
            12 => ("Auth/AuthStatus", json!({})),
            13..17 => {
                let kind = self.one(&["READ", "WRITE", "READWRITE", "READWRITE"]);
                let permission = json!({"permType": kind, "key": key, "range_end": self.end(&key)});
                ("Auth/RoleGrantPermission", json!({"name": role, "perm": permission}))
            }
            17 => {
                let end = self.end(&key);
                let request = json!({"role": role, "key": key, "range_end": end});
                ("Auth/RoleRevokePermission", request)
            }
            18 => ("Auth/AuthEnable", json!({})),
            _ => ("Auth/AuthDisable", json!({})),
        }
    }
}
