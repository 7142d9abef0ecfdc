use std::collections::HashMap;
use std::sync::Arc;

use super::sqlite::{Batch, UpdateRow};
use super::timeline::{Entry, Head};
use crate::admission::Founding;
use crate::token::TokenPath;

/// What the commands of one group change together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) changed: HashMap<TokenPath, Arc<Founding>>,
    pub(super) forgotten: Vec<TokenPath>,
    pub(super) batch: Batch,
    /// The end of the timeline with what this group adds to it.
    pub(super) head: Head,
}

impl Group {
    pub(super) fn new(last_index: u64, head: Head) -> Self {
        Self {
            changed: HashMap::new(),
            forgotten: Vec::new(),
            batch: Batch { last_index, ..Batch::default() },
            head,
        }
    }

    pub(super) fn next_index(&mut self) -> u64 {
        self.batch.last_index += 1;
        self.batch.last_index
    }

    /// Adds a decision to the timeline.
    pub(super) fn record(&mut self, entry: Entry) {
        self.batch.timeline.push(self.head.append(entry));
    }

    /// Deletes a token and its registrations.
    pub(super) fn remove(&mut self, founding: &Founding) {
        self.batch.removed.push(founding.created_index);
        let registered = founding.founders.iter().chain(&founding.surplus);
        self.batch.removed_registrations.extend(registered.map(|held| held.index));
    }

    /// Stores what may change of a token; the last call counts.
    pub(super) fn update(&mut self, founding: &Founding) {
        let row = UpdateRow {
            token_index: founding.created_index,
            expires_at: founding.expires_at.0,
            revoked_at: founding.revoked_at.map(|at| at.0),
            noted: founding.noted,
            expiry_recorded: u8::from(founding.expiry_recorded),
        };
        self.batch.updated.insert(founding.created_index, row);
    }

    /// Puts a changed token into the group, to be stored and shown.
    pub(super) fn change(&mut self, founding: Founding) -> Arc<Founding> {
        self.update(&founding);
        let founding = Arc::new(founding);
        self.changed.insert(founding.path.clone(), Arc::clone(&founding));
        founding
    }
}
