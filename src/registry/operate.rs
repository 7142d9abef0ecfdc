use std::sync::Arc;

use super::group::Group;
use super::timeline::{Entry, What};
use super::writer::{EXPIRED_KEPT, NOTES, Writer};
use super::{Error, Order, RefusedAttempt};
use crate::admission::{Founding, Refusal, State, UnixMillis};
use crate::token::TokenPath;

impl Writer {
    /// Does what an operator orders.
    pub(super) fn operate(
        &mut self,
        group: &mut Group,
        path: &TokenPath,
        order: Order,
        by: &str,
        now: UnixMillis,
    ) -> Result<Arc<Founding>, Error> {
        let founding = self.current(group, path).ok_or(Error::Unknown)?;
        let by = Some(by.to_owned());
        match (order, founding.state(now)) {
            (Order::Revoke, State::Revoked) => Ok(founding),
            (Order::Extend(_), State::Revoked) => Err(Refusal::Revoked.into()),
            (_, State::Expired) => Err(Refusal::Expired.into()),
            (Order::Revoke, State::Open | State::Full) => {
                if let Some(label) = &founding.label
                    && self.labels.get(label) == Some(path)
                {
                    self.labels.remove(label);
                }
                group.record(Entry { by, ..Entry::new(now.0, path, What::Revoked) });
                Ok(group.change(Founding { revoked_at: Some(now), ..Founding::clone(&founding) }))
            }
            (Order::Extend(span), State::Open | State::Full) => {
                let expires_at = founding.expires_at.after(span.get());
                let expires = Some(expires_at.0);
                group.record(Entry {
                    expires_at: expires,
                    by,
                    ..Entry::new(now.0, path, What::Extended)
                });
                Ok(group.change(Founding { expires_at, ..Founding::clone(&founding) }))
            }
        }
    }

    /// Writes a refusal down, unless the token has enough of them.
    pub(super) fn record_refusal(&self, group: &mut Group, refused: &RefusedAttempt) {
        let Some(founding) = self.current(group, &refused.path) else { return };
        if founding.state(refused.now) >= State::Expired {
            return;
        }
        Self::note(group, &founding, |entry| {
            entry.what = What::Refused;
            entry.at = refused.now.0;
            entry.member = Some(refused.member.clone());
            entry.value = Some(refused.value.clone());
            entry.code = Some(refused.code.to_owned());
            entry.text = Some(refused.text.clone());
            entry.from = refused.from;
        });
    }

    /// Adds an entry of the kind that strangers can make any number of.
    pub(super) fn note(group: &mut Group, founding: &Arc<Founding>, fill: impl FnOnce(&mut Entry)) {
        if founding.noted >= NOTES {
            return;
        }
        let mut entry = Entry::new(0, &founding.path, What::Refused);
        fill(&mut entry);
        group.record(entry);
        group.change(Founding { noted: founding.noted + 1, ..Founding::clone(founding) });
    }

    /// Writes down that tokens expired, and forgets those that did so long ago.
    pub(super) fn sweep(&mut self, group: &mut Group, now: UnixMillis) {
        let limit = self.store.sweep_limit();
        let mut old = self.shared.select(|token| {
            token.is_revoked || (now >= token.expires_at && !token.expiry_recorded)
        });
        let lately = |at: UnixMillis| now < at.after(EXPIRED_KEPT);
        old.retain(|held| !held.revoked_at.is_some_and(lately));
        let gone = self.shared.select(|token| !lately(token.expires_at));
        for founding in old.iter().take(limit).filter(|held| held.revoked_at.is_none()) {
            // What this very group did to it counts.
            if let Some(founding) = self.current(group, &founding.path)
                && founding.state(now) == State::Expired
            {
                Self::expire(group, &founding, now);
            }
        }
        let revoked = old.into_iter().filter(|held| held.revoked_at.is_some());
        for founding in gone.into_iter().chain(revoked).take(limit) {
            // A token made again, or given more time, in this very group stays.
            let current = self.current(group, &founding.path);
            if current.is_none_or(|held| {
                held.created_index != founding.created_index || held.state(now) < State::Expired
            }) {
                continue;
            }
            if let Some(label) = &founding.label
                && self.labels.get(label) == Some(&founding.path)
            {
                self.labels.remove(label);
            }
            group.changed.remove(&founding.path);
            group.remove(&founding);
            group.forgotten.push(founding.path.clone());
        }
    }

    /// Writes down that a token expired, once.
    pub(super) fn expire(group: &mut Group, founding: &Arc<Founding>, now: UnixMillis) {
        if founding.expiry_recorded {
            return;
        }
        let expires_at = Some(founding.expires_at.0);
        group.record(Entry { expires_at, ..Entry::new(now.0, &founding.path, What::Expired) });
        group.change(Founding { expiry_recorded: true, ..Founding::clone(founding) });
    }
}
