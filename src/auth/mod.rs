//! Who may do what: users, their roles, and what each role may read and write (etcd `server/auth`).
//!
//! [`Auth`] is replicated state and pure: the same changes in the same order leave the same users on
//! every member, and a request is checked against the users as of its place in the log. Passwords come
//! in as hashes; nothing here is slow or secret-dependent. Tokens are not here: they say who a caller
//! is ([`Caller`]), and that is settled before a request is proposed.
//!
//! Invariants:
//! 1. `revision` starts at 1 and grows by one with every change of users, roles or permissions, and
//!    when the checks are turned off. A caller known by an older revision is refused on keys.
//! 2. `access[user]` is the union of the permissions of the user's roles, always up to date.
//! 3. While checks are on, there is a user `root` with the role `root`.
//!
//! The role `root` may do everything, whether a role of that name was made or not.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod access;
mod caller;
mod changes;
mod checks;
mod error;
mod permission;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use access::Access;

pub use caller::Caller;
pub use changes::Touched;
pub use error::Error;
pub use permission::{Kind, Permission};

/// The user without whom checks cannot be on, and the role that may do everything.
pub const ROOT: &str = "root";

/// Users, roles, and whether anybody is checked at all.
#[derive(Debug, Clone)]
pub struct Auth {
    enabled: bool,
    revision: u64,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Vec<Permission>>,
    /// Follows from the above.
    access: BTreeMap<String, Access>,
}

/// A user as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The bcrypt hash; `None` for a user that only a certificate can name.
    pub password: Option<Bytes>,
    pub roles: BTreeSet<String>,
}

impl Default for Auth {
    fn default() -> Self {
        Self::restore(false, 1, BTreeMap::new(), BTreeMap::new())
    }
}

impl Auth {
    /// The state that was kept.
    pub fn restore(
        enabled: bool,
        revision: u64,
        users: BTreeMap<String, User>,
        roles: BTreeMap<String, Vec<Permission>>,
    ) -> Self {
        let mut auth = Self { enabled, revision, users, roles, access: BTreeMap::new() };
        auth.refresh();
        auth
    }

    /// Whether callers are checked.
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// Grows with every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// A user by name.
    pub fn user(&self, name: &str) -> Result<&User, Error> {
        self.users.get(name).ok_or(Error::UserNotFound)
    }

    /// All users, by name.
    pub fn users(&self) -> impl Iterator<Item = (&str, &User)> {
        self.users.iter().map(|(name, user)| (name.as_str(), user))
    }

    /// What a role was granted, ascending by key; that `root` may do everything is not listed.
    pub fn role(&self, name: &str) -> Result<&[Permission], Error> {
        self.roles.get(name).map(Vec::as_slice).ok_or(Error::RoleNotFound)
    }

    /// All roles with the permissions they were granted, by name.
    pub fn roles(&self) -> impl Iterator<Item = (&str, &[Permission])> {
        self.roles.iter().map(|(name, permissions)| (name.as_str(), &permissions[..]))
    }
}

#[cfg(test)]
mod tests;
