use std::ffi::OsString;

use clap::builder::{Arg, ArgAction, Command};
use clap::{ArgMatches, Args, FromArgMatches};

use crate::cli::lint::way_out;
use crate::cli::steps::{Outcome, Step, Steps};
use crate::config::node::{self, Flag, Kind, Note, SECTIONS, Settings, Treatment};

/// Flags that the help shows; all others of the node are taken as well.
const SHOWN: [&str; 10] = [
    "name",
    "data-dir",
    "wal-dir",
    "listen-peer-urls",
    "listen-client-urls",
    "initial-advertise-peer-urls",
    "initial-cluster",
    "initial-cluster-state",
    "initial-cluster-token",
    "advertise-client-urls",
];
/// What the help says below the flags.
pub(super) const ALL_COUNT: &str = "All other flags of etcd and quorate-node are taken too, and ETCD_* variables and the \
                                    file of --config-file count as for the node.\n\nExit codes: 0 no step \
                                    fails, 1 one does, 2 wrong flags.";
/// The same where they make no difference.
pub(super) const OTHERS: &str =
    "All other flags of etcd and quorate-node are taken too, and make no difference here.";
/// The heading above them.
const HEADING: &str = "Flags of the node";

/// The flags of an etcd or a `quorate-node`, all of them, to be pasted as they are. They are read as the
/// node reads them, with `ETCD_*` variables and the file of `--config-file`.
#[derive(Debug, Clone)]
pub(in crate::cli) struct NodeFlags {
    /// Each as `--name=value`.
    given: Vec<OsString>,
}

impl NodeFlags {
    /// Whether nothing was given on the command line.
    pub(super) fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// The settings that these flags make; what is wrong with them becomes steps.
    pub(super) fn settle(&self, steps: &mut Steps) -> Option<Box<Settings>> {
        const STEP: &str = "configuration";
        match node::load(self.given.iter().cloned(), std::env::vars_os()) {
            Ok(node::Command::Run(settings)) => {
                steps.ok(STEP, "flags, variables and file are understood");
                for note in &settings.notes {
                    let outcome = match note {
                        Note::FileSilences { settings, .. } if settings.is_empty() => Outcome::Ok,
                        _ => Outcome::Warning,
                    };
                    steps.take(Step::new(STEP, outcome, note.to_string(), None));
                }
                Some(settings)
            }
            // Neither is among the flags that are taken here.
            Ok(node::Command::Help | node::Command::Version) => None,
            Err(problems) => {
                for problem in problems {
                    let cure = way_out(&problem).map(str::to_owned);
                    steps.take(Step::new(STEP, Outcome::Failed, problem.to_string(), cure));
                }
                None
            }
        }
    }
}

/// The flags that are taken: those of the table but for `--version`.
fn flags() -> impl Iterator<Item = &'static Flag> {
    SECTIONS.iter().flat_map(|section| section.flags).filter(|flag| flag.name != "version")
}

/// Flags that a check other than that of a static start must not pass over: they say where the settings are, or
/// that the members find each other in another way.
const WAYS: [&str; 6] = [
    "config-file",
    "initial-cluster",
    "discovery",
    "discovery-token",
    "discovery-endpoints",
    "discovery-srv",
];

/// The flags of the node that a check has no use for, so that its whole command line can be pasted. To be
/// flattened behind those of the check.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct OtherFlags;

impl Args for OtherFlags {
    fn augment_args(command: Command) -> Command {
        let taken = |name: &str| {
            command.get_arguments().any(|argument| {
                let aliases = argument.get_all_aliases().unwrap_or_default();
                argument.get_long() == Some(name) || aliases.contains(&name)
            })
        };
        let others = flags().filter(|flag| !WAYS.contains(&flag.name) && !taken(flag.name));
        let others: Vec<Arg> = others.map(|flag| argument(flag).hide(true)).collect();
        command.args(others)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for OtherFlags {
    fn from_arg_matches(_matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self)
    }

    fn update_from_arg_matches(&mut self, _matches: &ArgMatches) -> Result<(), clap::Error> {
        Ok(())
    }
}

fn argument(flag: &'static Flag) -> Arg {
    let about_tls = matches!(flag.treatment, Treatment::ClientTls | Treatment::PeerTls);
    let shown = SHOWN.contains(&flag.name) || flag.name == "config-file" || about_tls;
    let argument = Arg::new(flag.name)
        .long(flag.name)
        .help(flag.help)
        .help_heading(HEADING)
        .hide(!shown)
        .action(ArgAction::Append);
    match flag.kind {
        // As in Go, the value of a switch stands after `=` or nowhere.
        Kind::Bool | Kind::Nothing => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("BOOL"),
        Kind::Urls | Kind::ClientUrls => argument.value_name("URLS").allow_hyphen_values(true),
        _ => argument.value_name("VALUE").allow_hyphen_values(true),
    }
}

impl Args for NodeFlags {
    fn augment_args(command: Command) -> Command {
        command.args(flags().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for NodeFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = flags().flat_map(|flag| {
            let values = matches.get_many::<String>(flag.name).into_iter().flatten();
            values.map(move |value| match flag.kind {
                Kind::Nothing => OsString::from(format!("--{}", flag.name)),
                _ => OsString::from(format!("--{}={value}", flag.name)),
            })
        });
        Ok(Self { given: given.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Vec<OsString>, clap::Error> {
        let command = NodeFlags::augment_args(Command::new("test").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments)?;
        Ok(NodeFlags::from_arg_matches(&matches)?.given)
    }

    #[test]
    fn flags_are_handed_on_as_the_node_reads_them() {
        let arguments = [
            "--client-cert-auth",
            "--name",
            "n1",
            "--pre-vote=false",
            "--heartbeat-interval=50",
            "--initial-cluster=n1=http://h:1,n2=http://h:2",
            "--name=-n2",
        ];
        let mut given = read(&arguments).unwrap();
        given.sort();
        let expected = [
            "--client-cert-auth=true",
            "--heartbeat-interval=50",
            "--initial-cluster=n1=http://h:1,n2=http://h:2",
            "--name=-n2",
            "--name=n1",
            "--pre-vote=false",
        ];
        assert_eq!(given, expected);
        assert!(read(&["--no-such-flag"]).is_err());
    }

    #[test]
    fn the_help_shows_what_exists() {
        for name in SHOWN.iter().chain(&["config-file"]) {
            assert!(flags().any(|flag| flag.name == *name), "{name}");
        }
    }
}
