use bytes::Bytes;

use super::access::Access;
use super::{Auth, Error, Permission, ROOT, User};

/// What a change has touched, and must be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// Whether checks are on.
    Switch,
    /// A user was made, changed or removed.
    User(String),
    /// A role was made, changed or removed.
    Role(String),
}

/// Nothing for a request that was in effect already; the revision stays then.
type Change = Result<Vec<Touched>, Error>;

impl Auth {
    /// Turns the checks on.
    pub fn enable(&mut self) -> Change {
        if self.enabled {
            return Ok(Vec::new());
        }
        let root = self.users.get(ROOT).ok_or(Error::RootUserNotExist)?;
        if !root.is_root() {
            return Err(Error::RootRoleNotExist);
        }
        self.enabled = true;
        Ok(vec![Touched::Switch])
    }

    /// Turns the checks off.
    pub fn disable(&mut self) -> Vec<Touched> {
        if !self.enabled {
            return Vec::new();
        }
        self.enabled = false;
        self.revision += 1;
        vec![Touched::Switch]
    }

    /// Adds a user; without a password only a certificate can name it.
    pub fn add_user(&mut self, name: &str, password: Option<Bytes>) -> Change {
        if name.is_empty() {
            return Err(Error::UserEmpty);
        }
        if self.users.contains_key(name) {
            return Err(Error::UserAlreadyExist);
        }
        self.users.insert(name.to_owned(), User { password, roles: Default::default() });
        self.changed(vec![Touched::User(name.to_owned())])
    }

    /// Removes a user.
    pub fn delete_user(&mut self, name: &str) -> Change {
        self.spare_root(name)?;
        self.users.remove(name).ok_or(Error::UserNotFound)?;
        self.changed(vec![Touched::User(name.to_owned())])
    }

    /// Gives a user another password; one without a password stays without.
    pub fn change_password(&mut self, name: &str, password: Bytes) -> Change {
        let user = self.users.get_mut(name).ok_or(Error::UserNotFound)?;
        if user.password.is_some() {
            user.password = Some(password);
        }
        self.changed(vec![Touched::User(name.to_owned())])
    }

    /// Gives a role to a user. The role `root` need not exist.
    pub fn grant_role(&mut self, name: &str, role: &str) -> Change {
        let user = self.users.get_mut(name).ok_or(Error::UserNotFound)?;
        if role != ROOT && !self.roles.contains_key(role) {
            return Err(Error::RoleNotFound);
        }
        if !user.roles.insert(role.to_owned()) {
            return Ok(Vec::new());
        }
        self.changed(vec![Touched::User(name.to_owned())])
    }

    /// Takes a role from a user.
    pub fn revoke_role(&mut self, name: &str, role: &str) -> Change {
        if role == ROOT {
            self.spare_root(name)?;
        }
        let user = self.users.get_mut(name).ok_or(Error::UserNotFound)?;
        if !user.roles.remove(role) {
            return Err(Error::RoleNotGranted);
        }
        self.changed(vec![Touched::User(name.to_owned())])
    }

    /// Adds a role that may do nothing yet.
    pub fn add_role(&mut self, name: &str) -> Change {
        if name.is_empty() {
            return Err(Error::RoleEmpty);
        }
        if self.roles.contains_key(name) {
            return Err(Error::RoleAlreadyExist);
        }
        self.roles.insert(name.to_owned(), Vec::new());
        self.changed(vec![Touched::Role(name.to_owned())])
    }

    /// Removes a role, from its users as well.
    pub fn delete_role(&mut self, name: &str) -> Change {
        self.spare_root(name)?;
        self.roles.remove(name).ok_or(Error::RoleNotFound)?;
        let mut touched = vec![Touched::Role(name.to_owned())];
        for (user, held) in &mut self.users {
            if held.roles.remove(name) {
                touched.push(Touched::User(user.clone()));
            }
        }
        self.changed(touched)
    }

    /// Lets a role do more; the same range again replaces the kind.
    pub fn grant_permission(&mut self, role: &str, permission: Option<Permission>) -> Change {
        let permission = permission.ok_or(Error::PermissionNotGiven)?;
        permission.check()?;
        let held = self.roles.get_mut(role).ok_or(Error::RoleNotFound)?;
        let same = |old: &&mut Permission| old.covers_same(&permission.key, &permission.range_end);
        match held.iter_mut().find(same) {
            Some(old) => old.kind = permission.kind,
            None => {
                let at = held.partition_point(|old| old.key <= permission.key);
                held.insert(at, permission);
            }
        }
        self.changed(vec![Touched::Role(role.to_owned())])
    }

    /// Takes a permission, named by its exact range, from a role.
    pub fn revoke_permission(&mut self, role: &str, key: &[u8], range_end: &[u8]) -> Change {
        let held = self.roles.get_mut(role).ok_or(Error::RoleNotFound)?;
        let before = held.len();
        held.retain(|permission| !permission.covers_same(key, range_end));
        if held.len() == before {
            return Err(Error::PermissionNotGranted);
        }
        self.changed(vec![Touched::Role(role.to_owned())])
    }

    /// While checks are on, `root` must be able to turn them off again.
    fn spare_root(&self, name: &str) -> Result<(), Error> {
        if self.enabled && name == ROOT { Err(Error::InvalidManagement) } else { Ok(()) }
    }

    fn changed(&mut self, touched: Vec<Touched>) -> Change {
        self.revision += 1;
        self.refresh();
        Ok(touched)
    }

    /// Adds up anew what everybody may do: changes are rare, checks are not.
    pub(super) fn refresh(&mut self) {
        let add_up = |user: &User| {
            let roles = user.roles.iter().filter_map(|role| self.roles.get(role));
            Access::of(roles.flatten())
        };
        self.access = self.users.iter().map(|(name, user)| (name.clone(), add_up(user))).collect();
    }
}
