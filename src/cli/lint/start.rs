//! Commands that start a member: `etcd`, `quorate-node`, or either in a container.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::finding::Place;
use super::shell::{self, Command, Scope};
use super::word::Word;
use crate::discovery_server::Release;

/// One process of a member as a file describes it.
#[derive(Debug, Clone)]
pub(super) struct Start {
    /// Where it begins.
    pub(super) place: Place,
    pub(super) program: Program,
    /// Behind the name of the program.
    pub(super) arguments: Vec<(Word, Place)>,
    pub(super) variables: Vec<(String, Word, Place)>,
    /// The text of the configuration file, if this is one, with its name.
    pub(super) file: Option<(String, String)>,
    /// Whether there may be settings that cannot be seen from here.
    pub(super) open: bool,
    pub(super) host: Host,
}

/// What is started, as far as it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// Settings without a program, for either.
    Any,
    /// An etcd of some release.
    Etcd(Option<Release>),
    Quorate,
}

/// Where it runs, as far as rules depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// Somewhere; relative paths depend on who starts it.
    Machine,
    /// On one machine with the others of its file.
    Shared,
    /// systemd starts it, in this directory if one is named.
    Service { directory: Option<String> },
    /// In a container that keeps what is below these paths, and has a name of its own.
    Container { volumes: Option<Vec<Word>>, name: Option<String> },
}

impl Start {
    pub(super) fn new(place: Place, host: Host) -> Self {
        let (arguments, variables) = (Vec::new(), Vec::new());
        let (program, file, open) = (Program::Any, None, false);
        Self { place, program, arguments, variables, file, open, host }
    }
}

impl Program {
    /// The program that a container image has.
    pub(super) fn of_image(image: &str) -> Option<Self> {
        let path = image.split('@').next().unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        let (name, tag) = last.split_once(':').unwrap_or((last, ""));
        match name {
            "etcd" | "etcd-amd64" | "etcd-arm64" => Some(Self::Etcd(Release::parse(tag).ok())),
            "quorate" => Some(Self::Quorate),
            _ => None,
        }
    }

    /// The program of that path.
    fn of_path(word: &Word) -> Option<Self> {
        // The directory may be in a variable, the name is not.
        let text = word.with("x");
        match text.rsplit('/').next()?.trim_end_matches(".exe") {
            "etcd" => Some(Self::Etcd(None)),
            "quorate-node" => Some(Self::Quorate),
            _ => None,
        }
    }
}

/// Words before a program that do not change what it is; the first is the prompt of a terminal.
const BEFORE: [&str; 14] = [
    "$", "sudo", "exec", "nohup", "time", "setsid", "env", "nice", "ionice", "chrt", "runuser",
    "chpst", "gosu", "su-exec",
];

/// Whether the value of a switch of such a word is the word behind it.
fn takes_value(before: &str, switch: &str) -> bool {
    match before {
        "sudo" | "runuser" | "chpst" => matches!(switch, "-u" | "-g" | "--user" | "--group"),
        "env" => switch == "-u",
        "nice" => switch == "-n",
        "ionice" => matches!(switch, "-c" | "-n"),
        _ => false,
    }
}

/// The members that a command starts.
pub(super) fn of_command(command: Command, file: &Rc<str>, host: &Host) -> Vec<Start> {
    if let Some((script, line)) = script(&command.words) {
        // The first line of a text that goes over several may be that of its key.
        let inner = shell::commands(&script, line, &scope(&command.environment));
        let outer = command.environment;
        let starts = inner.into_iter().flat_map(|it| of_command(it, file, host));
        let with_outer = |mut start: Start| {
            let set = |name: &String| start.variables.iter().any(|(known, ..)| known == name);
            let outer = outer.iter().filter(|(name, ..)| !set(name));
            let outer: Vec<_> = outer
                .map(|(name, value, at)| (name.clone(), value.clone(), Place::new(file, *at)))
                .collect();
            start.variables.extend(outer);
            start
        };
        return starts.map(with_outer).collect();
    }
    one(command, file, host.clone()).into_iter().collect()
}

/// The script of `sh -c SCRIPT`.
pub(super) fn script(words: &[(Word, usize)]) -> Option<(String, usize)> {
    let (first, rest) = words.split_first()?;
    let first = first.0.shown();
    let is_shell = matches!(first.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash"));
    let asks = |(word, _): &&(Word, usize)| {
        let text = word.shown();
        text.starts_with('-') && !text.starts_with("--") && text.ends_with('c')
    };
    let at = rest.iter().position(|word| asks(&word)).filter(|_| is_shell)?;
    rest.get(at + 1).map(|(word, line)| (word.shown(), *line))
}

/// Variables with their values.
pub(super) fn scope(environment: &[(String, Word, usize)]) -> Scope {
    environment.iter().map(|(name, value, _)| (name.clone(), value.clone())).collect()
}

fn one(command: Command, file: &Rc<str>, host: Host) -> Option<Start> {
    let line = command.words.first()?.1;
    let mut start = Start::new(Place::new(file, line), host);
    let place = |line| Place::new(file, line);
    for (name, value, line) in command.environment {
        start.variables.push((name, value, place(line)));
    }
    let mut words = command.words;
    let mut before = None;
    loop {
        let (first, _) = words.first()?;
        let text = first.shown();
        let name = text.rsplit('/').next().unwrap_or_default();
        if let Some(known) = BEFORE.into_iter().find(|known| *known == name) {
            before = Some(known);
            // These two have the user next.
            let with_user = matches!(known, "gosu" | "su-exec") && words.len() > 1;
            words.drain(..1 + usize::from(with_user));
        } else if let Some(known) = before.filter(|_| text.starts_with('-')) {
            let with_value = takes_value(known, &text) && words.len() > 1;
            words.drain(..1 + usize::from(with_value));
        } else if let Some((name, value)) = before.and_then(|_| first.split_once('=')) {
            start.variables.push((name.shown(), value, place(words.remove(0).1)));
        } else {
            break;
        }
    }
    let text = words.first()?.0.shown();
    let is_container = matches!(text.as_str(), "docker" | "podman" | "nerdctl");
    if is_container {
        container(&mut start, words, file)?;
    } else {
        program(&mut start, words, file)?;
    }
    is_member(&start).then_some(start)
}

/// Reads the program and its arguments.
fn program(start: &mut Start, mut words: Vec<(Word, usize)>, file: &Rc<str>) -> Option<()> {
    let (first, line) = words.remove(0);
    start.program = match Program::of_path(&first) {
        Some(program) => program,
        None if first.shown().rsplit('/').next() == Some("quorate") => {
            words.first().filter(|(word, _)| *word == Word::known("node"))?;
            words.remove(0);
            Program::Quorate
        }
        None => return None,
    };
    start.place.line = line;
    start.arguments = words.into_iter().map(|(word, at)| (word, Place::new(file, at))).collect();
    Some(())
}

/// Switches of `docker run` that take no value.
const SWITCHES: [&str; 14] = [
    "-d",
    "--detach",
    "-i",
    "--interactive",
    "-t",
    "--tty",
    "-it",
    "-ti",
    "-dit",
    "--rm",
    "--init",
    "--privileged",
    "--read-only",
    "-P",
];

/// Reads `docker run [OPTIONS] IMAGE [COMMAND] [ARGUMENTS]`.
fn container(start: &mut Start, words: Vec<(Word, usize)>, file: &Rc<str>) -> Option<()> {
    let mut words = words
        .into_iter()
        .skip(1)
        .skip_while(|(word, _)| !matches!(word.shown().as_str(), "run" | "create"));
    words.next()?;
    let mut volumes = Vec::new();
    let mut entry = None;
    let mut name = None;
    let image = loop {
        let (word, line) = words.next()?;
        let text = word.shown();
        if !text.starts_with('-') {
            if word.begins_unknown() && !text.contains('/') {
                start.open = true;
            }
            break text;
        }
        if SWITCHES.contains(&text.as_str()) {
            continue;
        }
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option.shown(), value),
            None => (text, words.next()?.0),
        };
        match option.as_str() {
            "-e" | "--env" => {
                let (name, value) = value.split_once('=')?;
                start.variables.push((name.shown(), value, Place::new(file, line)));
            }
            "--env-file" => {
                let files = beside(file, &value.shown());
                start.open |= files.is_none();
                if let Some((path, text)) = files {
                    start.variables.extend(super::environment::read(&path, &text));
                }
            }
            "-v" | "--volume" => volumes.extend(value.split(':').get(1).cloned()),
            "--mount" => volumes.push(mounted(&value)),
            "--entrypoint" => entry = Some((value, Place::new(file, line))),
            "--name" | "--hostname" | "-h" => name = value.text(),
            _ => {}
        }
    };
    start.host = Host::Container { volumes: Some(volumes), name };
    let words = words.map(|(word, line)| (word, Place::new(file, line)));
    let has_entry = entry.is_some();
    contain(start, &image, has_entry, entry.into_iter().chain(words).collect())
}

/// The path inside of a container of `--mount type=volume,target=/data`.
pub(super) fn mounted(mount: &Word) -> Word {
    let parts = mount.split(',');
    let target = parts.iter().find_map(|part| {
        let (key, value) = part.split_once('=')?;
        matches!(key.shown().as_str(), "target" | "dst" | "destination").then_some(value)
    });
    target.unwrap_or_default()
}

/// Reads the words that a container of this image runs; `has_entry` if they begin with another
/// program than that of the image.
pub(super) fn contain(
    start: &mut Start,
    image: &str,
    has_entry: bool,
    mut words: Vec<(Word, Place)>,
) -> Option<()> {
    let of_image = Program::of_image(image);
    let first = words.first().map(|(word, _)| word.clone()).unwrap_or_default();
    let named = Program::of_path(&first);
    let program = match (named, of_image) {
        (Some(named), _) => named,
        // The image of this project starts the service, or a node by this word.
        (None, Some(Program::Quorate)) if !has_entry && first == Word::known("node") => {
            Program::Quorate
        }
        (None, Some(Program::Etcd(release))) if !has_entry => {
            let is_flag =
                first.is_empty() || first.begins_unknown() || first.shown().starts_with('-');
            is_flag.then_some(Program::Etcd(release))?
        }
        _ => return None,
    };
    if named.is_some() || first == Word::known("node") {
        words.remove(0);
    }
    // The name says that it is etcd, the tag which release.
    start.program = match (program, of_image) {
        (Program::Etcd(None), Some(Program::Etcd(release))) => Program::Etcd(release),
        (program, _) => program,
    };
    start.arguments = words;
    Some(())
}

/// Whether it is a member and not another command of the same program.
pub(super) fn is_member(start: &Start) -> bool {
    let first = start.arguments.first().map(|(word, _)| word.shown());
    let is_other = |word: &str| {
        let asks = matches!(word.trim_start_matches('-'), "version" | "help" | "h");
        matches!(word, "gateway" | "grpc-proxy" | "snapshot") || (asks && word.starts_with('-'))
    };
    !first.is_some_and(|word| is_other(&word))
}

/// A file that another one names: as it is named from the directory of that one, or by its last part
/// beside it. What an absolute path leads to on this machine counts for files of this machine only.
pub(super) fn beside(file: &str, named: &str) -> Option<(Rc<str>, String)> {
    let directory = Path::new(file).parent().unwrap_or_else(|| Path::new(""));
    let named = Path::new(named.trim_start_matches('-'));
    let mut paths: Vec<PathBuf> = Vec::new();
    if named.is_relative() {
        paths.push(directory.join(named));
    }
    paths.extend(named.file_name().map(|name| directory.join(name)));
    let installed = ["/etc/", "/lib/", "/usr/lib/", "/run/"];
    if named.is_absolute() && installed.iter().any(|root| file.starts_with(root)) {
        paths.push(named.to_owned());
    }
    paths.into_iter().find_map(|path| {
        let text = std::fs::read_to_string(&path).ok()?;
        Some((path.display().to_string().into(), text))
    })
}
