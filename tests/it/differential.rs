//! The same `etcdctl` scripts against our node and a real etcd: see `tests/differential/README.md`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::harness::{Flavor, Node, leader, scratch, static_cluster_with, tools};

/// How long a watch may take to show the lines it is expected to show.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn put() {
    check("put");
}

#[test]
fn range() {
    check("range");
}

#[test]
fn delete() {
    check("delete");
}

#[test]
fn txn() {
    check("txn");
}

#[test]
fn watch() {
    check("watch");
}

#[test]
fn lease() {
    check("lease");
}

#[test]
fn compaction() {
    check("compaction");
}

#[test]
fn auth_users() {
    check("auth_users");
}

#[test]
fn auth_permissions() {
    check("auth_permissions");
}

#[test]
fn maintenance() {
    check("maintenance");
}

#[test]
fn members() {
    check("members");
}

#[test]
fn accounts() {
    check("accounts");
}

#[test]
fn concurrency() {
    check("concurrency");
}

#[test]
fn commands() {
    check("commands");
}

#[test]
fn full() {
    check("full");
}

#[test]
fn operators() {
    check("operators");
}

#[test]
fn commands_of_etcdctl_3_5() {
    check("v35/commands");
}

#[test]
fn users_of_etcdctl_3_5() {
    check("v35/users");
}

#[test]
fn full_of_etcdctl_3_5() {
    check("v35/full");
}

#[test]
fn operators_of_etcdctl_3_5() {
    check("v35/operators");
}

/// Commands of the client that no script needs: they print what the machine is worth, speak to no server, or are
/// done in `maintenance.rs`.
const ELSEWHERE: [&str; 7] = [
    "check datascale",
    "check perf",
    "completion",
    "help",
    "migrate",
    "snapshot restore",
    "snapshot status",
];

/// All that `etcdctl` 3.4 and 3.5 can be asked to do.
#[test]
fn every_command_is_in_a_script() {
    const COMMANDS: &str = "alarm disarm,alarm list,auth disable,auth enable,auth status,compaction,defrag,del,elect,\
        endpoint hashkv,endpoint health,endpoint status,get,lease grant,lease keep-alive,lease list,lease revoke,\
        lease timetolive,lock,make-mirror,member add,member list,member promote,member remove,member update,\
        move-leader,put,role add,role delete,role get,role grant-permission,role list,role revoke-permission,\
        snapshot save,txn,user add,user delete,user get,user grant-role,user list,user passwd,user revoke-role,\
        version,watch";
    let Some(etcdctl) = tools::etcdctl() else { return };
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential");
    let mut asked = String::new();
    for directory in [directory.clone(), directory.join("v35")] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "txt") {
                let script = fs::read_to_string(path).unwrap();
                script.lines().filter(|line| line.starts_with("> ")).for_each(|line| {
                    asked += &format!("{line} \n");
                });
            }
        }
    }
    for command in COMMANDS.split(',') {
        assert!(asked.contains(&format!(" {command} ")), "no script has `{command}`");
    }
    // And what the client itself says that it can.
    let help = Command::new(etcdctl).env("ETCDCTL_API", "3").arg("help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let listed = help.split("COMMANDS:").nth(1).unwrap().split("OPTIONS:").next().unwrap();
    let mut count = 0;
    for line in listed.lines().filter_map(|line| line.strip_prefix('\t')) {
        let command = line.split("\t").next().unwrap().trim();
        let elsewhere = ELSEWHERE.iter().any(|known| command.starts_with(known));
        let known = elsewhere || COMMANDS.split(',').any(|known| known == command);
        assert!(known, "`etcdctl {command}` is in no list");
        count += 1;
    }
    assert!(count > 30, "{help}");
}

/// A real etcd and its client: 3.5 for the scripts in `v35`, 3.4 for all others.
fn real(name: &str) -> Option<(Flavor, PathBuf)> {
    if name.starts_with("v35/") {
        return Some((Flavor::Etcd35, tools::etcdctl35()?));
    }
    Some((Flavor::Etcd34, tools::etcdctl()?))
}

/// Who is asked: our node, or with `SUBJECT=etcd` that etcd.
pub fn subject(etcd: Flavor) -> Flavor {
    match std::env::var("SUBJECT").as_deref() {
        Ok("etcd") => etcd,
        Ok("ours") | Err(_) => Flavor::Ours,
        Ok(other) => panic!("SUBJECT is `etcd` or `ours`, not `{other}`"),
    }
}

/// Runs one script on a fresh node and compares, or records with `UPDATE_GOLDENFILES`.
fn check(name: &str) {
    let Some((etcd, etcdctl)) = real(name) else { return };
    let flavor = subject(etcd);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/differential/{name}.txt"));
    let recorded = fs::read_to_string(&file).unwrap();
    let dir = scratch();
    let members = setting(&recorded, "members").map_or(1, |count| count.parse().unwrap());
    let flags: Vec<&str> = setting(&recorded, "flags").unwrap_or_default().split(' ').collect();
    let flags = &flags[usize::from(flags[0].is_empty())..];
    let flavors = vec![flavor; members];
    let Some(nodes) = static_cluster_with(&flavors, dir.path(), flags) else { return };
    let mut session = Session {
        etcdctl,
        nodes: &nodes,
        dir: dir.path(),
        leases: Vec::new(),
        members: Vec::new(),
        seen: BTreeMap::new(),
    };
    let answered = session.run(&recorded);
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        assert_eq!(flavor, etcd, "only SUBJECT=etcd says what is right");
        fs::write(&file, answered).unwrap();
        return;
    }
    let differences = compare(&recorded, &answered);
    assert!(
        differences.is_empty(),
        "{}: recorded (-), {flavor:?} (+)\n{differences}",
        file.display()
    );
}

/// The value of `# name: value` at the top of a script.
pub fn setting<'a>(script: &'a str, name: &str) -> Option<&'a str> {
    let mut settings = script.lines().map_while(|line| line.strip_prefix("# "));
    settings.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// A run of a script: the commands again, with the answers of this node.
struct Session<'a> {
    etcdctl: PathBuf,
    nodes: &'a [Node],
    /// For files, as `$dir`.
    dir: &'a Path,
    /// In the order they were granted.
    leases: Vec<String>,
    /// In the order they were seen: the node itself, those that were added.
    members: Vec<String>,
    /// Ids and what stands for them.
    seen: BTreeMap<String, String>,
}

impl Session<'_> {
    fn run(&mut self, script: &str) -> String {
        let mut lines = script.lines().peekable();
        let mut answered = String::new();
        while let Some(line) = lines.next() {
            if line.starts_with('#') {
                answered += &format!("{line}\n");
            }
            let Some(command) = line.strip_prefix("> ") else { continue };
            answered += &format!("> {command}\n");
            let mut input = String::new();
            while let Some(text) = lines.next_if(|line| line.starts_with('<')) {
                answered += &format!("{text}\n");
                input += &format!("{}\n", repeated(text.trim_start_matches('<').trim_start()));
            }
            let output = self.call(command, &input);
            answered += &self.show(&output, command.starts_with('('));
        }
        answered
    }

    fn call(&self, command: &str, input: &str) -> Output {
        let mut command = command.to_owned();
        for (lease, number) in self.leases.iter().zip(1..) {
            command = command.replace(&format!("${number}"), lease);
        }
        for (at, member) in self.members.iter().enumerate() {
            command = command.replace(&format!("$m{at}"), member);
        }
        let (limit, command) = match command.strip_prefix('(') {
            Some(rest) => {
                let (count, command) = rest.split_once(" lines) ").unwrap();
                (Some(count.parse().unwrap()), command.to_owned())
            }
            None => (None, command),
        };
        let command = command.replace("$dir", &self.dir.display().to_string());
        let mut command = command.replace("$client", &self.nodes[0].client_url());
        if command.contains("$leader") || command.contains("$follower") {
            let leader = leader(self.nodes);
            let id = |at: usize| {
                let header = self.nodes[at].client().status().unwrap().header;
                format!("{:x}", header.unwrap().member_id)
            };
            command = command.replace("$leader", &id(leader));
            command = command.replace("$follower", &id((leader + 1) % self.nodes.len()));
        }
        let endpoints: Vec<String> = self.nodes.iter().map(Node::client_url).collect();
        let mut child = Command::new(&self.etcdctl)
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={}", endpoints.join(",")))
            .current_dir(self.dir)
            .args(words(&command))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that takes no input may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        match limit {
            None => child.wait_with_output().unwrap(),
            Some(limit) => first_lines(child, limit),
        }
    }

    /// Output, errors and exit code, without what differs from run to run.
    fn show(&mut self, output: &Output, was_stopped: bool) -> String {
        let mut text = String::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            text += &format!("{}\n", self.normalize(line));
        }
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            // Log lines of the client library; the error itself follows.
            if !line.starts_with("{\"level\"") && !line.is_empty() {
                text += &format!("! {}\n", self.normalize(line));
            }
        }
        match output.status.code() {
            Some(0) => {}
            _ if was_stopped => {}
            code => text += &format!("[exit {}]\n", code.map_or(-1, |code| code)),
        }
        text
    }

    fn normalize(&mut self, line: &str) -> String {
        if let Some(rest) = line.strip_prefix("lease ")
            && let Some((id, _)) = rest.split_once(" granted with TTL(")
            && !self.leases.iter().any(|lease| lease == id)
            && !line.contains("remaining(")
        {
            self.leases.push(id.to_owned());
            self.seen.insert(id.to_owned(), format!("LEASE{}", self.leases.len()));
        }
        let added = line.strip_prefix("Member ").filter(|rest| rest.contains(" added to cluster "));
        let listed = added.or_else(|| line.contains(", started, ").then_some(line));
        if let Some(id) = listed.and_then(|line| line.trim_start().split([' ', ',']).next())
            && !self.members.iter().any(|member| member == id)
        {
            self.members.push(id.to_owned());
        }
        let mut line = line.replace(&self.dir.display().to_string(), "DIR");
        for node in self.nodes {
            line = line
                .replace(&node.client_url(), "http://CLIENT")
                .replace(&node.peer_url(), "http://PEER")
                .replace(&format!("127.0.0.1:{}", node.client_port), "CLIENT");
        }
        for (id, name) in &self.seen {
            line = line.replace(id.as_str(), name);
        }
        let numbers = [
            "\"cluster_id\":",
            "\"member_id\":",
            "\"raft_term\":",
            "\"ID\":",
            "\"id\":",
            "\"ttl\":",
            "\"lease\":",
            "\"ClusterID\" : ",
            "\"MemberID\" : ",
            "\"RaftTerm\" : ",
            "\"ID\" : ",
            "\"Lease\" : ",
            "remaining(",
            "\"dbSize\":",
            "\"dbSizeInUse\":",
            "\"leader\":",
            "\"raftIndex\":",
            "\"raftTerm\":",
            "\"raftAppliedIndex\":",
            "\"DBSize\" : ",
            "\"Leader\" : ",
            "\"RaftIndex\" : ",
            "\"RaftAppliedIndex\" : ",
            "memberID:",
            "\"memberID\":",
        ];
        for before in numbers {
            line = replace_after(&line, before, |c| c.is_ascii_digit(), "N");
        }
        for before in ["\"version\":\"", "\"Version\" : \""] {
            line = replace_after(&line, before, |c| c.is_ascii_digit() || c == '.', "V");
        }
        line = hide_status(&sort_pairs(&line));
        line = replace_after(&line, "took = ", |c| !c.is_whitespace(), "T");
        sort_attached_keys(&hide_ids(&line))
    }
}

/// Version, sizes, term and indexes in a line of `endpoint status`; a table is drawn narrower.
fn hide_status(line: &str) -> String {
    let (separator, first) = if line.starts_with("| ") { ("|", 3) } else { (",", 2) };
    if line.starts_with("+-") {
        return "+-+".to_owned();
    }
    let mut cells: Vec<&str> = line.split(separator).map(str::trim).collect();
    let is_version = |cell: &&str| cell.starts_with("3.") && cell.split('.').count() == 3;
    if cells.get(first).is_some_and(is_version) {
        cells[first] = "VERSION";
        cells[first + 1] = "SIZE";
        cells[first + 4..first + 7].fill("N");
    } else if separator == "," {
        return line.to_owned();
    }
    cells.join(&format!("{separator} "))
}

/// `x*100` is long.
fn repeated(text: &str) -> String {
    match text.split_once('*').and_then(|(text, times)| Some((text, times.parse().ok()?))) {
        Some((text, times)) => text.repeat(times),
        None => text.to_owned(),
    }
}

/// Members come in the order of their ids, which the time decides.
fn sort_pairs(line: &str) -> String {
    let Some(list) = line.strip_prefix("ETCD_INITIAL_CLUSTER=\"") else { return line.to_owned() };
    let mut pairs: Vec<&str> = list.trim_end_matches('"').split(',').collect();
    pairs.sort_unstable();
    format!("ETCD_INITIAL_CLUSTER=\"{}\"", pairs.join(","))
}

/// The keys of a lease come in no particular order.
fn sort_attached_keys(line: &str) -> String {
    let mark = "attached keys([";
    let Some((head, keys)) = line.split_once(mark) else { return line.to_owned() };
    let mut keys: Vec<&str> = keys.trim_end_matches("])").split(' ').collect();
    keys.sort_unstable();
    format!("{head}{mark}{}])", keys.join(" "))
}

/// Reads lines until there are enough of them, then ends the child.
fn first_lines(mut child: Child, limit: usize) -> Output {
    let stdout = child.stdout.take().unwrap();
    let (send, receive) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    let mut text = String::new();
    for _ in 0..limit {
        match receive.recv_timeout(PATIENCE) {
            Ok(line) => text += &format!("{line}\n"),
            Err(_) => {
                text += "(no more lines)\n";
                break;
            }
        }
    }
    drop(receive);
    // So that locks and elections are given up as a person gives them up; what runs in the background
    // of a shell may not hear an interrupt.
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    // It may have ended by itself.
    let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    let status = child.wait().unwrap();
    reader.join().unwrap();
    Output { status, stdout: text.into_bytes(), stderr: errors.into_bytes() }
}

/// Splits as a shell does, with single and double quotes.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in command.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Replaces the run of characters that follows `before`, everywhere.
fn replace_after(line: &str, before: &str, is_part: impl Fn(char) -> bool, with: &str) -> String {
    let mut result = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(before) {
        let (head, tail) = rest.split_at(at + before.len());
        result += head;
        let after = tail.trim_start_matches(&is_part);
        if after.len() < tail.len() {
            result += with;
        }
        rest = after;
    }
    result + rest
}

/// Words of 12 to 16 hexadecimal digits with at least one letter are ids that the run made up.
fn hide_ids(line: &str) -> String {
    let mut result = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let word: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
        let is_id = (12..=16).contains(&word.len())
            && word.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
            && word.chars().any(|c| c.is_ascii_digit());
        if is_id {
            // One that begins with zeros is padded with spaces.
            for _ in word.len()..16 {
                if result.ends_with("  ") {
                    result.pop();
                }
            }
        }
        result += if is_id { "ID" } else { &word };
        rest = &rest[word.len()..];
        if let Some(c) = rest.chars().next() {
            result.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    result
}

/// The commands whose answers differ.
fn compare(recorded: &str, answered: &str) -> String {
    let blocks = |text: &str| -> Vec<String> {
        format!("\n{text}").split("\n> ").skip(1).map(|block| block.trim_end().to_owned()).collect()
    };
    let mut differences = String::new();
    for (wanted, seen) in blocks(recorded).iter().zip(&blocks(answered)) {
        if wanted != seen {
            let prefixed = |sign: &str, text: &str| {
                text.lines().map(|line| format!("{sign}{line}\n")).collect::<String>()
            };
            differences += &format!("{}{}\n", prefixed("-", wanted), prefixed("+", seen));
        }
    }
    differences
}
