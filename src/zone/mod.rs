//! Zones: the text of a master file, the records in it, and the answers they give.
//!
//! Everything here is pure: bytes and values in, values out. Who reads the file, who asks, and over
//! which transport is the business of `dns_server`. The steps are
//!
//! ```text
//! master file --parse--> Entries --check--> findings
//!                               \-assemble--> Zone --lookup(name, type)--> Answer
//!                                             \-compile--> Compiled --answer(packet)--> bytes
//! ```
//!
//! A [`Zone`] never changes: a changed file becomes a new zone that takes the place of the old one.
//! Its properties:
//!
//! 1. The apex has exactly one SOA, and every owner is the apex or below it.
//! 2. Every name between the apex and an owner has a node, perhaps an empty one, so that "exists"
//!    is one look into the tree (RFC 4592 §2.2.2).
//! 3. A set has one TTL and no record twice (RFC 2181 §5).
//!
//! Truncation and options are not known here, nor is DNSSEC: an answer is three lists of records and a
//! response code. [`Compiled`] has the same answers as bytes, for messages of the usual shape.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod check;
mod compiled;
mod encode;
mod entries;
mod fields;
mod forms;
mod generate;
mod lexer;
mod location;
mod lookup;
mod networks;
mod packed;
mod parse;
mod print;
mod rdata;
mod room;
mod service_binding;
mod tree;

pub use check::{Finding, Findings, Flaw, Place, check};
pub use compiled::{
    Apexes, Cached, Capabilities, Compiled, Dice, Question, Rcode, Response, shuffle,
};
pub use encode::Encoder;
pub use entries::{Entries, Entry};
pub use forms::base64;
pub use lexer::Fault;
pub use lookup::Answer;
pub use packed::{Node, RecordSet};
pub use parse::{Include, no_include, parse};
pub use print::print;
pub use room::room;
pub use tree::{Key, Zone};

use hickory_proto::rr::Name;

/// A zone read from a master file, and what is odd about it.
#[derive(Debug)]
pub struct Loaded {
    pub zone: Zone,
    pub warnings: Vec<Finding>,
}

/// Why a master file is no zone: everything that is wrong with it, never nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", list(.0))]
pub struct Error(pub Vec<Finding>);

/// Reads, checks and assembles a zone in one go.
///
/// `origin` stands for relative names before the first `$ORIGIN`; `previous` is the zone that this
/// one is about to replace; `include` gives the text of the files that `$INCLUDE` names.
pub fn load(
    text: &[u8],
    origin: &Name,
    previous: Option<&Zone>,
    include: &mut Include<'_>,
) -> Result<Loaded, Error> {
    let entries = match parse(text, origin, include) {
        Ok(entries) => entries,
        Err(mut wrong) => {
            // What can be said all the same: that something is missing may follow from the rest.
            let Findings { errors, .. } = check(&wrong.entries, None);
            let sure =
                |finding: &Finding| matches!(finding.flaw, Flaw::SecondSoa | Flaw::NotAlone { .. });
            wrong.findings.extend(errors.into_iter().filter(sure));
            return Err(Error(wrong.findings));
        }
    };
    let Findings { errors, warnings, zone } = check(&entries, previous);
    match zone {
        Some(zone) if errors.is_empty() => Ok(Loaded { zone, warnings }),
        _ => Err(Error(errors)),
    }
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
