//! Rules of this repository that no compiler checks: layers, file length, leftovers, and a README
//! whose flags are those of the programs.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The modules by layer, lowest first, as `src/lib.rs` declares them.
const LAYERS: [&[&str]; 6] = [
    &["membership", "proto", "token", "v2"],
    &["admission", "apply", "auth", "lease", "local", "mvcc", "raft", "replica", "zone"],
    &["backup", "durable", "registry", "snap", "store", "wal"],
    &["discovery", "node", "transport"],
    &["api", "discovery_server", "dns_server"],
    &["cli", "config", "shutdown", "telemetry"],
];

/// Imports allowed inside one layer, from the first to the second. Layers 0 and 5 are free.
const WITHIN: [(&str, &str); 14] = [
    // What was in an etcd becomes a store and a log.
    ("backup", "store"),
    ("backup", "wal"),
    // Which store a data directory belongs to outlives a crash.
    ("registry", "durable"),
    // Local names answer as zones do.
    ("local", "zone"),
    ("replica", "raft"),
    // The index of an entry goes with what was applied from it.
    ("apply", "raft"),
    ("replica", "apply"),
    ("apply", "mvcc"),
    ("apply", "lease"),
    ("apply", "auth"),
    // Keys are attached to leases, so the key space knows their ids.
    ("mvcc", "lease"),
    ("node", "transport"),
    // Names of peers are resolved alike before and after the bootstrap.
    ("discovery", "transport"),
    ("node", "discovery"),
];

/// The simulator drives the core and the storage, nothing that has sockets or clocks.
const SIM_MAY_USE_LAYERS_TO: usize = 2;

/// A crate that only one module may name, so that it can be replaced there.
const CONFINED: [(&str, &str); 2] = [("redb", "src/store/"), ("sqlx", "src/registry/")];

const MAX_LINES: usize = 600;

#[test]
fn imports_point_down() {
    let mut wrong = String::new();
    for file in sources("src") {
        let Some(module) = module_of(&file.path) else { continue };
        for (number, imported) in imports(&product_code(&file)) {
            if let Some(why) = forbidden(&module, &imported) {
                writeln!(wrong, "{}:{number}: crate::{imported}: {why}", file.path.display())
                    .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_module_has_a_layer() {
    let root = fs::read_to_string("src/lib.rs").unwrap();
    let declared: Vec<&str> = root
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .filter(|name| *name != "sim")
        .collect();
    for name in &declared {
        assert!(layer_of(name).is_some(), "`{name}` has no layer in tests/tidy.rs");
    }
    let allowed = WITHIN.iter().flat_map(|(from, to)| [from, to]);
    for name in LAYERS.iter().copied().flatten().chain(allowed) {
        assert!(declared.contains(name), "tests/tidy.rs names `{name}`, which is no module");
    }
}

#[test]
fn engines_are_named_in_one_place() {
    for file in sources("src") {
        for (name, home) in CONFINED {
            let path = file.path.to_string_lossy();
            let code = product_code(&file);
            assert!(
                path.starts_with(home) || !code.contains(&format!("{name}::")),
                "{path}: `{name}` belongs to {home} alone"
            );
        }
    }
}

#[test]
fn files_are_short() {
    for file in sources("src").into_iter().chain(sources("tests")).chain(sources("benches")) {
        let lines = file.text.lines().count();
        assert!(
            lines <= MAX_LINES,
            "{}: {lines} lines, the limit is {MAX_LINES}: cut along a noun",
            file.path.display()
        );
    }
}

#[test]
fn nothing_is_left_over() {
    // Spelled in two halves so that this file does not find itself.
    let words = [
        concat!("==", "=="),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("for ", "now"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("#[ign", "ore"),
        concat!("#[should_", "panic"),
        concat!("SPDX-", "License"),
    ];
    let mut wrong = String::new();
    for file in sources("src").into_iter().chain(sources("tests")).chain(sources("benches")) {
        for (number, line) in (1..).zip(file.text.lines()) {
            let found = words.iter().find(|word| line.contains(**word)).copied();
            let owed = concat!("TO", "DO");
            let found =
                found.or_else(|| (line.contains(owed) && !line.contains('#')).then_some(owed));
            if let Some(word) = found {
                writeln!(wrong, "{}:{number}: `{word}`", file.path.display()).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn modules_are_named_after_nouns() {
    let vague = ["utils", "util", "common", "helpers", "helper", "misc", "manager"];
    for file in sources("src") {
        for part in file.path.iter().map(|part| part.to_string_lossy().into_owned()) {
            let name = part.trim_end_matches(".rs");
            assert!(!vague.contains(&name), "{}: `{name}` says nothing", file.path.display());
        }
    }
}

/// Every flag the programs print stands in the README, and the README names no other.
#[test]
fn readme_lists_the_flags_of_the_programs() {
    let readme = fs::read_to_string("README.md").unwrap();
    let cases: [(&str, &str, &[&str]); 5] = [
        ("quorate serve", env!("CARGO_BIN_EXE_quorate"), &["serve", "--help"]),
        ("quorate lab up", env!("CARGO_BIN_EXE_quorate"), &["lab", "up", "--help"]),
        ("quorate new", env!("CARGO_BIN_EXE_quorate"), &["new", "--help"]),
        ("quorate predict", env!("CARGO_BIN_EXE_quorate"), &["predict", "--help"]),
        ("quorate-node", env!("CARGO_BIN_EXE_quorate-node"), &["--help"]),
    ];
    for (title, program, arguments) in cases {
        let help = Command::new(program).args(arguments).output().unwrap();
        let printed = flags(&String::from_utf8(help.stdout).unwrap());
        let section = section(&readme, title);
        let documented = flags(section);
        let missing: Vec<_> = printed.difference(&documented).collect();
        let stale: Vec<_> = documented.difference(&printed).collect();
        assert!(
            missing.is_empty() && stale.is_empty(),
            "README, `{title}`: missing {missing:?}, not in --help {stale:?}"
        );
    }
}

/// The text between `<!-- flags: TITLE -->` and the next `<!-- end -->`.
fn section<'a>(readme: &'a str, title: &str) -> &'a str {
    let start = format!("<!-- flags: {title} -->");
    let (_, rest) = readme.split_once(&start).unwrap_or_else(|| panic!("README has no {start}"));
    rest.split_once("<!-- end -->").unwrap().0
}

/// All `--flags` in a text, without those every program has.
fn flags(text: &str) -> BTreeSet<String> {
    let is_flag = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.split(|c| !is_flag(c))
        .filter(|word| {
            word.strip_prefix("--").is_some_and(|name| name.starts_with(char::is_alphabetic))
        })
        .filter(|word| !matches!(*word, "--help" | "--version"))
        .map(str::to_owned)
        .collect()
}

struct Source {
    path: PathBuf,
    text: String,
}

fn sources(root: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(root)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(Source { text: fs::read_to_string(&path).unwrap(), path });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The first path segment below `src`; `None` for `lib.rs` and the programs, which may use everything.
fn module_of(path: &Path) -> Option<String> {
    let first = path.strip_prefix("src").ok()?.iter().next()?.to_string_lossy().into_owned();
    let name = first.trim_end_matches(".rs").to_owned();
    (name != "lib" && name != "bin").then_some(name)
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn forbidden(from: &str, to: &str) -> Option<String> {
    let to_layer = layer_of(to)?;
    if from == to {
        return None;
    }
    if from == "sim" {
        let low_enough = to_layer <= SIM_MAY_USE_LAYERS_TO;
        return (!low_enough).then(|| "the simulator has no sockets and no clock".to_owned());
    }
    let from_layer = layer_of(from)?;
    if to_layer > from_layer {
        return Some(format!("layer {from_layer} imports layer {to_layer}"));
    }
    let free = to_layer < from_layer || from_layer == 0 || from_layer == LAYERS.len() - 1;
    (!free && !WITHIN.contains(&(from, to))).then(|| format!("`{from}` must not know `{to}`"))
}

/// The file without comments and without what is compiled for tests only.
fn product_code(file: &Source) -> String {
    if file.path.file_name().is_some_and(|name| name == "tests.rs")
        || file.path.iter().any(|part| part == "tests")
    {
        return String::new();
    }
    // Tests inside a file end it; a `mod tests;` stands among the other modules and ends nothing.
    let code = file.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let strip = |line: &str| {
        if line.trim_start().starts_with("//") { String::new() } else { line.to_owned() }
    };
    code.lines().map(strip).collect::<Vec<_>>().join("\n")
}

/// What is named after `crate::`, also inside one pair of braces, with its line.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let number = code[..at].lines().count().max(1);
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(group_heads(group).into_iter().map(|head| (number, head)));
        } else {
            found.push((number, identifier(rest)));
        }
    }
    found
}

/// The first names of the items of `a::b, c::{d, e}, f}`.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth == 0 => {
                heads.push(identifier(group[start..at].trim_start()));
                start = at + 1;
            }
            '}' => {
                heads.push(identifier(group[start..at].trim_start()));
                break;
            }
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[test]
fn the_rules_find_what_they_forbid() {
    let code = "use crate::{mvcc::{A, B}, node};\nuse crate::store::Store;\n";
    let found: Vec<String> = imports(code).into_iter().map(|(_, name)| name).collect();
    assert_eq!(found, ["mvcc", "node", "store"]);
    assert!(forbidden("mvcc", "store").is_some(), "the core must not import storage");
    assert!(forbidden("api", "dns_server").is_some(), "services must not import each other");
    assert!(forbidden("node", "transport").is_none());
    assert!(forbidden("sim", "wal").is_none());
    assert!(forbidden("sim", "transport").is_some());
}
