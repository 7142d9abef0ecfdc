use super::{Auth, Caller, Error, Kind, ROOT, User};

impl Auth {
    /// Whether a caller may read every key of a range.
    pub fn may_read(&self, caller: &Caller, key: &[u8], range_end: &[u8]) -> Result<(), Error> {
        self.may(caller, Kind::Read, key, range_end)
    }

    /// Whether a caller may write every key of a range.
    pub fn may_write(&self, caller: &Caller, key: &[u8], range_end: &[u8]) -> Result<(), Error> {
        self.may(caller, Kind::Write, key, range_end)
    }

    /// Whether what a caller is known by is the present: neither overtaken nor, as where this member is behind the
    /// one that signed the token, still to come. Asked of reads, behind [`Self::may_read`]; a write is applied where
    /// everything before it is (etcd `v3_server.go`, `doSerialize`).
    pub fn is_current(&self, caller: &Caller) -> Result<(), Error> {
        match caller {
            Caller::User { revision, .. } if self.enabled && *revision != self.revision => {
                Err(Error::OldRevision)
            }
            _ => Ok(()),
        }
    }

    fn may(&self, caller: &Caller, kind: Kind, key: &[u8], range_end: &[u8]) -> Result<(), Error> {
        let Some((name, revision)) = self.checked(caller)? else { return Ok(()) };
        if revision == 0 {
            // As in etcd: no revision has this number.
            return Err(Error::UserEmpty);
        }
        if revision < self.revision {
            return Err(Error::OldRevision);
        }
        let user = self.users.get(name).ok_or(Error::PermissionDenied)?;
        let covers = || self.access.get(name).is_some_and(|all| all.covers(kind, key, range_end));
        if user.is_root() || covers() { Ok(()) } else { Err(Error::PermissionDenied) }
    }

    /// Whether a caller may change users, members and the like: has the role `root`.
    pub fn is_root(&self, caller: &Caller) -> Result<(), Error> {
        let Some((name, _)) = self.checked(caller)? else { return Ok(()) };
        if name.is_empty() {
            // As in etcd, where a certificate without a name is enough for less.
            return Err(Error::UserEmpty);
        }
        if self.user(name)?.is_root() { Ok(()) } else { Err(Error::PermissionDenied) }
    }

    /// Whether a caller has a name, be it that of no user: a certificate of the right authority is enough for what
    /// needs no permission, as in etcd.
    pub fn is_named(&self, caller: &Caller) -> Result<(), Error> {
        self.checked(caller).map(drop)
    }

    /// Whether a caller may see the roles of a user: `root`, or the user itself.
    pub fn may_see_user(&self, caller: &Caller, name: &str) -> Result<(), Error> {
        self.is_root(caller)
            .or_else(|refused| if caller.user() == Some(name) { Ok(()) } else { Err(refused) })
    }

    /// Whether a caller may see the permissions of a role: `root`, or a user that has the role.
    pub fn may_see_role(&self, caller: &Caller, role: &str) -> Result<(), Error> {
        self.is_root(caller).or_else(|refused| {
            let user = caller.user().and_then(|name| self.users.get(name));
            if user.is_some_and(|user| user.roles.contains(role)) { Ok(()) } else { Err(refused) }
        })
    }

    /// The hash to compare a password with, and the revision at which it holds.
    pub fn password(&self, name: &str) -> Result<(&[u8], u64), Error> {
        if !self.enabled {
            return Err(Error::NotEnabled);
        }
        let user = self.users.get(name).ok_or(Error::Failed)?;
        let hash = user.password.as_ref().ok_or(Error::NoPasswordUser)?;
        Ok((hash, self.revision))
    }

    /// Whether a token may be given out for a password that was compared at `revision`.
    pub fn may_have_token(&self, name: &str, revision: u64) -> Result<(), Error> {
        self.password(name).map_err(|error| match error {
            Error::NoPasswordUser => Error::Failed,
            other => other,
        })?;
        if revision == self.revision { Ok(()) } else { Err(Error::OldRevision) }
    }

    /// The name and revision to check; `None` when there is nothing to check.
    fn checked<'a>(&self, caller: &'a Caller) -> Result<Option<(&'a str, u64)>, Error> {
        match caller {
            _ if !self.enabled => Ok(None),
            Caller::Cluster => Ok(None),
            Caller::Nobody => Err(Error::UserEmpty),
            Caller::User { name, revision } => Ok(Some((name, *revision))),
        }
    }
}

impl User {
    pub(super) fn is_root(&self) -> bool {
        self.roles.contains(ROOT)
    }
}
