//! Damaged command lines and files: a configuration, or problems in words.

use super::*;
use crate::fuzz::Fuzz;

fn judged(outcome: Result<Command, Vec<Problem>>, place: &str) -> bool {
    match outcome {
        Ok(_) => true,
        Err(problems) => {
            let said = problems.iter().all(|problem| !problem.to_string().is_empty());
            assert!(said && !problems.is_empty(), "{place}: refused without a word");
            false
        }
    }
}

#[test]
fn damaged_command_lines_are_read_or_refused() {
    let mut fuzz = Fuzz::new("command lines", 3000);
    let lines = [
        "--name\0n1\0--data-dir=/x\0--listen-client-urls\0http://127.0.0.1:2379,unix://s\0\
         --advertise-client-urls=http://a:2379",
        "--initial-cluster=a=http://1.2.3.4:1,b=https://[::1]:2\0--name=a\0\
         --initial-advertise-peer-urls=http://1.2.3.4:1\0--listen-peer-urls=http://0.0.0.0:1",
        "--discovery=http://h/t\0--discovery-fallback=proxy\0--max-txn-ops=5\0--pre-vote=false",
        "--discovery-srv=example.org\0--discovery-srv-name=x\0--cipher-suites=TLS_A,TLS_B",
        "--auto-compaction-retention=1h30m\0--auto-compaction-mode\0periodic\0--quota-backend-bytes=-1",
        "--heartbeat-interval=100\0--election-timeout=1000\0--snapshot-count=10\0-auto-tls\0--version=x",
        "--cors=*\0--host-whitelist=a,b\0--log-level=debug\0--log-outputs=stderr,/x\0--auth-token=jwt,sign-method=RS256",
        "--experimental-initial-corrupt-check=true\0--tls-min-version=TLS1.2\0--client-cert-auth\0--socket-options.reuse-port",
    ];
    let corpus: Vec<Vec<u8>> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
    let (mut read, mut refused) = (0, 0);
    while fuzz.goes_on() {
        let damaged = fuzz.damaged(&corpus);
        use std::os::unix::ffi::OsStringExt as _;
        let words: Vec<OsString> = damaged
            .split(|byte| *byte == 0)
            .map(|word| OsString::from_vec(word.to_vec()))
            // What is in other files is the other target's.
            .filter(|word| !word.to_string_lossy().contains("config-file"))
            .collect();
        let outcome = if fuzz.below(4) == 0 {
            let value = words.last().cloned().unwrap_or_default();
            load(words.into_iter(), [("ETCD_MAX_TXN_OPS".into(), value)].into_iter())
        } else {
            load(words.into_iter(), std::iter::empty())
        };
        if judged(outcome, &fuzz.place()) {
            read += 1;
        } else {
            refused += 1;
        }
    }
    assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
}

#[test]
fn damaged_files_are_read_or_refused() {
    let mut fuzz = Fuzz::new("YAML files", 3000);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.yml");
    let texts = [
        "name: n1\ndata-dir: /x\nlisten-client-urls: http://127.0.0.1:2379\nheartbeat-interval: 100\n",
        "client-transport-security:\n  cert-file: a\n  key-file: \"b\"\n  auto-tls: true\nlogger: zap\n",
        "initial-cluster: a=http://1:1,b=http://2:2\ninitial-cluster-state: new\n# comment\ncors: '*'\n",
        "log-outputs: [stderr, '/x']\nquota-backend-bytes: 1e9\nmax-txn-ops: 0x10\npre-vote: yes\n---\na: 1\n",
        "a: &x [1, 2]\nb: *x\nc: {d: {e: [~, null, 1.5]}}\n",
        r#"{"name": "j", "auto-compaction-retention": "1h", "experimental-x": [1, {"y": 2}]}"#,
    ];
    let corpus: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let (mut read, mut refused) = (0, 0);
    while fuzz.goes_on() {
        std::fs::write(&file, fuzz.damaged(&corpus)).unwrap();
        let flag = format!("--config-file={}", file.display());
        let outcome = load([OsString::from(flag)].into_iter(), std::iter::empty());
        if judged(outcome, &fuzz.place()) {
            read += 1;
        } else {
            refused += 1;
        }
    }
    assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
}
