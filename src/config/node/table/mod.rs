//! Every flag of etcd 3.4, 3.5 and 3.6, and ours, with what this node makes of each.

mod cluster;
mod member;
mod process;
mod security;
mod tuning;

use super::flag::{Flag, Treatment};
use super::value::Kind;

/// A group of flags as `--help` shows it.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    pub title: &'static str,
    pub flags: &'static [Flag],
}

/// All flags in the order of `--help`.
pub const SECTIONS: &[Section] = &[
    Section { title: "Member", flags: member::FLAGS },
    Section { title: "Clustering", flags: cluster::FLAGS },
    Section { title: "Discovery", flags: cluster::DISCOVERY },
    Section { title: "Security", flags: security::FLAGS },
    Section { title: "Auth", flags: security::AUTH },
    Section { title: "Logging and monitoring", flags: process::LOGGING },
    Section { title: "Proxy of the v2 API (older names)", flags: process::PROXY },
    Section { title: "Tuning", flags: tuning::FLAGS },
    Section { title: "Older names of tuning flags", flags: tuning::EXPERIMENTAL },
    Section { title: "Unsafe", flags: tuning::UNSAFE },
    Section { title: "Process", flags: process::FLAGS },
    Section { title: "Ignored", flags: process::LEGACY },
];

/// All flags.
pub fn all() -> impl Iterator<Item = &'static Flag> {
    SECTIONS.iter().flat_map(|section| section.flags)
}

/// The flag of that name.
pub(super) fn find(name: &str) -> Option<&'static Flag> {
    all().find(|flag| flag.name == name)
}

const fn flag(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    treatment: Treatment,
    help: &'static str,
) -> Flag {
    Flag { name, kind, default, treatment, help, key: None }
}

impl Flag {
    const fn at(mut self, key: &'static str) -> Self {
        self.key = Some(key);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::node::value::Value;

    #[test]
    fn names_and_keys_are_unique_and_defaults_parse() {
        let mut names = BTreeSet::new();
        let mut keys = BTreeSet::new();
        for flag in all() {
            assert!(names.insert(flag.name), "{}", flag.name);
            assert!(keys.insert(flag.key()), "{}", flag.key());
            Value::parse(flag.kind, flag.default).unwrap_or_else(|error| panic!("{error}"));
            if let Treatment::Alias(target) = flag.treatment {
                assert_eq!(find(target).map(|target| target.kind), Some(flag.kind), "{target}");
            }
        }
        assert!(names.len() > 150, "{}", names.len());
    }
}
