use std::ffi::OsString;

use super::{Given, Kind, Problem, Source, table};

/// The command line, read.
#[derive(Debug, Default)]
pub struct Arguments {
    pub given: Vec<Given>,
    pub problems: Vec<Problem>,
    /// Whether it only asks for help.
    pub help: bool,
}

/// Reads flags as Go does: `-x`, `--x`, `--x=v`, `--x v`; a boolean takes a value only after `=`.
pub fn parse(args: impl Iterator<Item = OsString>) -> Arguments {
    let mut read = Arguments::default();
    let args = args.map(|arg| arg.to_string_lossy().into_owned());
    let mut args = args.enumerate().peekable();
    while let Some((at, arg)) = args.next() {
        let Some(body) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
            read.problems.push(positional(&arg, read.given.is_empty()).at(at));
            break;
        };
        if body.is_empty() {
            // `--` ends the flags, `-` is a positional argument.
            let rest = if arg == "--" { args.next() } else { Some((at, arg)) };
            read.problems.extend(rest.map(|(at, arg)| positional(&arg, false).at(at)));
            break;
        }
        let (name, inline) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        if name.is_empty() || name.starts_with('-') {
            read.problems.push(Problem::usage(format!("bad flag syntax: {arg}")).at(at));
            continue;
        }
        if matches!(name, "h" | "help") {
            read.help = true;
            continue;
        }
        let Some(flag) = table::find(name) else {
            let text = format!("flag provided but not defined: -{name}");
            read.problems.push(Problem::usage(text).at(at));
            // What follows is most likely its value; reading it as an argument would end the list.
            if inline.is_none() {
                args.next_if(|(_, next)| !next.starts_with('-'));
            }
            continue;
        };
        let text = match (inline, flag.kind) {
            (Some(text), _) => text,
            (None, Kind::Bool) => "true".to_owned(),
            (None, Kind::Nothing) => String::new(),
            (None, _) => match args.next() {
                Some((_, text)) => text,
                None => {
                    let text = format!("flag needs an argument: -{name}");
                    read.problems.push(Problem::usage(text).at(at).about([flag.name]));
                    break;
                }
            },
        };
        read.given.push(Given { flag, text, source: Source::Flag, at });
    }
    read
}

fn positional(arg: &str, first: bool) -> Problem {
    match arg {
        "gateway" | "grpc-proxy" if first => Problem::setting(format!(
            "`{arg}` is a command of etcd that this release does not have; point clients at the members"
        )),
        "true" | "false" if !first => Problem::setting(format!(
            "\"{arg}\" is not a valid flag; a flag that is on or off takes its value after `=`, \
             such as --pre-vote={arg}"
        )),
        _ => Problem::setting(format!("\"{arg}\" is not a valid flag")),
    }
}
