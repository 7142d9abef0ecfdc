use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::database::{Batch, UpdateRow};
use super::timeline::{Entry, Head};
use super::{Created, Error, Registration};
use crate::admission::Founding;
use crate::token::TokenPath;

pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// One group while it is decided: what it changes, and who hears what once that is on disk.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) changed: HashMap<TokenPath, Arc<Founding>>,
    pub(super) forgotten: Vec<TokenPath>,
    pub(super) batch: Batch,
    /// The end of the timeline with what this group adds to it.
    pub(super) head: Head,
    pub(super) created: Vec<(Reply<Created>, Result<Created, Error>)>,
    pub(super) registered: Vec<(Reply<Registration>, Result<Registration, Error>)>,
    pub(super) operated: Vec<(Reply<Arc<Founding>>, Result<Arc<Founding>, Error>)>,
    pub(super) swept: Vec<Reply<()>>,
}

impl Group {
    pub(super) fn new(last_index: u64, head: Head) -> Self {
        Self {
            changed: HashMap::new(),
            forgotten: Vec::new(),
            batch: Batch { last_index, ..Batch::default() },
            head,
            created: Vec::new(),
            registered: Vec::new(),
            operated: Vec::new(),
            swept: Vec::new(),
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

    /// Tells everybody. An asker that has gone away does not hear it.
    pub(super) fn answer(self, failed: Option<&Error>) {
        fn tell<T>(told: Vec<(Reply<T>, Result<T, Error>)>, failed: Option<&Error>) {
            for (reply, answer) in told {
                let _ = reply.send(failed.map_or(answer, |error| Err(error.clone())));
            }
        }
        tell(self.created, failed);
        tell(self.registered, failed);
        tell(self.operated, failed);
        tell(self.swept.into_iter().map(|reply| (reply, Ok(()))).collect(), failed);
    }
}
