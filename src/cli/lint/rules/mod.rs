//! What makes a member fail or hurts later, beyond what its own configuration code refuses.

mod bootstrap;
mod directories;
mod release;
mod tls;
mod urls;

pub(super) use bootstrap::List;

use super::finding::Finding;
use super::member::Member;

/// All findings about one member by itself.
pub(super) fn check(member: &Member, findings: &mut Vec<Finding>) {
    for rule in [release::check, urls::check, tls::check, bootstrap::check, directories::check] {
        rule(member, findings);
    }
}
