use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::database::{Database, RegistrationRow, TokenRow, Trouble};
use super::directory::Directory;
use super::error::{SyncFailed, WriterFailed};
use super::group::{Group, Reply};
use super::state::Shared;
use super::timeline::{Entry, Head, What};
use super::{Config, Created, Error, NewToken, OpenError, Order, Outcome, Registration, Turned};
use crate::admission::{
    Application, Decision, Founding, Label, Refusal, Registered, State, UnixMillis, decide,
};
use crate::token::TokenPath;

/// The most writes in one transaction.
const GROUP: usize = 512;

/// How long an expired token is remembered, so that nodes hear "expired" and not "unknown".
pub(super) const EXPIRED_KEPT: Duration = Duration::from_secs(24 * 3600);

/// How many refusals and repeats of one token the timeline takes. Strangers can make any number.
pub(super) const NOTES: u32 = 64;

/// What may be asked of the writer.
#[derive(Debug)]
pub(super) enum Command {
    Create {
        token: NewToken,
        now: UnixMillis,
        reply: Reply<Created>,
    },
    Register {
        path: TokenPath,
        application: Application,
        now: UnixMillis,
        reply: Reply<Registration>,
    },
    /// A refusal that needs no look at the token.
    Turn {
        turned: Turned,
        reply: Reply<()>,
    },
    Operate {
        path: TokenPath,
        order: Order,
        by: String,
        now: UnixMillis,
        reply: Reply<Arc<Founding>>,
    },
    Sweep {
        now: UnixMillis,
        reply: Reply<()>,
    },
}

/// The one task that changes the registry.
#[derive(Debug)]
pub struct Writer {
    pub(super) config: Config,
    /// Absent after a failed commit, until it is open again and memory is rebuilt from it.
    database: Option<Database>,
    database_path: PathBuf,
    pub(super) shared: Arc<Shared>,
    queue: mpsc::Receiver<Command>,
    /// The committed end of the timeline.
    head: Head,
    /// Which token has a label; the token itself knows whether it still lives.
    pub(super) labels: HashMap<Label, TokenPath>,
    /// Kept to the end: it holds the lock.
    _directory: Directory,
}

impl Writer {
    pub(super) fn new(
        config: Config,
        directory: Directory,
        database: Database,
        head: Head,
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Command>,
    ) -> Self {
        let database_path = database.path();
        let mut writer = Self {
            config,
            database: Some(database),
            database_path,
            shared,
            queue,
            head,
            labels: HashMap::new(),
            _directory: directory,
        };
        writer.learn_labels();
        writer
    }

    /// Writes until every clone of the registry is gone, or until the disk cannot be trusted.
    pub async fn run(mut self) -> Result<(), WriterFailed> {
        let mut commands = Vec::with_capacity(GROUP);
        while self.queue.recv_many(&mut commands, GROUP).await > 0 {
            self.write(commands.drain(..)).await?;
        }
        if let Some(database) = self.database
            && let Err(failure) = database.close().await
        {
            warn!(error = %failure, "registry did not close, the next start reads its log");
        }
        Ok(())
    }

    async fn write(&mut self, commands: impl Iterator<Item = Command>) -> Result<(), WriterFailed> {
        let ready = self.ensure_database().await?;
        let mut group = Group::new(self.shared.index(), self.head);
        for command in commands {
            match command {
                Command::Create { token, now, reply } => {
                    let answer = self.create(&mut group, &token, now);
                    group.created.push((reply, answer));
                }
                Command::Register { path, application, now, reply } => {
                    let answer = self.register(&mut group, &path, application, now);
                    group.registered.push((reply, answer));
                }
                Command::Turn { turned, reply } => {
                    self.turn(&mut group, &turned);
                    group.swept.push(reply);
                }
                Command::Operate { path, order, by, now, reply } => {
                    let answer = self.operate(&mut group, &path, order, by, now);
                    group.operated.push((reply, answer));
                }
                Command::Sweep { now, reply } => {
                    self.sweep(&mut group, now);
                    group.swept.push(reply);
                }
            }
        }
        let committed =
            if ready { self.commit(&mut group).await } else { Ok(Err(Error::Unavailable)) };
        let committed = match committed {
            Ok(committed) => committed,
            Err(failed) => {
                group.answer(Some(&Error::Unavailable));
                return Err(failed);
            }
        };
        if let Err(error) = committed {
            // What was decided may rest on something else in the group that is not on disk.
            group.answer(Some(&error));
            self.learn_labels();
            return Ok(());
        }
        self.head = group.head;
        if !group.forgotten.is_empty() {
            self.shared.forget(&group.forgotten);
        }
        if !group.changed.is_empty() {
            let changed = std::mem::take(&mut group.changed);
            self.shared.publish(changed, group.batch.last_index);
        }
        group.answer(None);
        Ok(())
    }

    fn create(
        &mut self,
        group: &mut Group,
        token: &NewToken,
        now: UnixMillis,
    ) -> Result<Created, Error> {
        if let Some(founding) = self.current(group, &token.path) {
            match founding.state(now) {
                State::Open | State::Full if founding.size == token.size => {
                    return Ok(Created { founding, existed: true });
                }
                State::Open | State::Full => {
                    return Err(Refusal::SizeFixed { size: founding.size.get() }.into());
                }
                State::Revoked => return Err(Refusal::Revoked.into()),
                State::Expired => self.expire(group, &founding, now),
            }
            group.batch.removed.push(founding.created_index);
        }
        if let Some(label) = &token.label {
            let holder = self.labels.get(label).and_then(|path| self.current(group, path));
            let lives = |held: Arc<Founding>| held.state(now) < State::Expired;
            if holder.is_some_and(lives) {
                return Err(Error::LabelTaken { label: label.as_str().to_owned() });
            }
            self.labels.insert(label.clone(), token.path.clone());
        }
        let created_index = group.next_index();
        let expires_at = now.after(token.ttl.unwrap_or(self.config.token_ttl).get());
        let founding = Arc::new(Founding {
            path: token.path.clone(),
            size: token.size,
            label: token.label.clone(),
            created_index,
            index: created_index,
            created_at: now,
            expires_at,
            revoked_at: None,
            noted: 0,
            expiry_recorded: false,
            founders: Vec::new(),
            surplus: Vec::new(),
        });
        group.batch.tokens.push(TokenRow {
            path: token.path.as_str().to_owned(),
            size: token.size.get(),
            label: token.label.as_ref().map(|label| label.as_str().to_owned()),
            created_index,
            created_at: now.0,
            expires_at: expires_at.0,
        });
        group.record(Entry {
            index: Some(created_index),
            size: Some(token.size.get()),
            label: token.label.as_ref().map(|label| label.as_str().to_owned()),
            expires_at: Some(expires_at.0),
            from: token.from,
            ..Entry::new(now.0, &token.path, What::Created)
        });
        group.changed.insert(token.path.clone(), Arc::clone(&founding));
        Ok(Created { founding, existed: false })
    }

    fn register(
        &self,
        group: &mut Group,
        path: &TokenPath,
        application: Application,
        now: UnixMillis,
    ) -> Result<Registration, Error> {
        let found = self.current(group, path).filter(|held| held.revoked_at.is_none());
        let founding = found.ok_or(Error::Unknown)?;
        let decision = decide(&founding, &application, self.config.max_surplus, now);
        let outcome = match decision {
            Err(refusal) => {
                let turned = Turned::new(path, &application, &refusal, now);
                self.turn(group, &turned);
                return Err(refusal.into());
            }
            Ok(decision) => decision,
        };
        let outcome = match outcome {
            Decision::Resume(registered) => {
                self.note(group, &founding, |entry| {
                    entry.what = What::Resumed;
                    entry.member = Some(registered.key.to_string());
                    entry.from = application.from;
                    entry.at = now.0;
                });
                return Ok(Registration { registered, founding, outcome: Outcome::Resumed });
            }
            Decision::Found { seals: false } => Outcome::Founded,
            Decision::Found { seals: true } => Outcome::Sealed,
            Decision::RecordSurplus => Outcome::Surplus,
        };
        let index = group.next_index();
        let Application { key, value, member, from, .. } = application;
        group.batch.registrations.push(RegistrationRow {
            created_index: index,
            token_index: founding.created_index,
            member: key.to_string(),
            value: value.clone(),
            founder: u8::from(outcome != Outcome::Surplus),
            registered_at: now.0,
            origin: from.map(|address| address.to_string()),
        });
        let what = if outcome == Outcome::Surplus { What::Surplus } else { What::Founded };
        group.record(Entry {
            index: Some(index),
            member: Some(key.to_string()),
            value: Some(value.clone()),
            from,
            ..Entry::new(now.0, path, what)
        });
        let registered = Arc::new(Registered { key, value, member, index, at: now, from });
        let mut next = Founding::clone(&founding);
        next.index = index;
        match outcome {
            Outcome::Surplus => next.surplus.push(Arc::clone(&registered)),
            _ => next.founders.push(Arc::clone(&registered)),
        }
        if outcome == Outcome::Sealed {
            next.expires_at = next.expires_at.max(now.after(self.config.sealed_ttl.get()));
            group.update(&next);
            group.record(Entry {
                index: Some(index),
                expires_at: Some(next.expires_at.0),
                ..Entry::new(now.0, path, What::Sealed)
            });
        }
        let founding = Arc::new(next);
        group.changed.insert(path.clone(), Arc::clone(&founding));
        Ok(Registration { registered, founding, outcome })
    }

    /// A token as this group has left it so far.
    pub(super) fn current(&self, group: &Group, path: &TokenPath) -> Option<Arc<Founding>> {
        if group.forgotten.contains(path) && !group.changed.contains_key(path) {
            return None;
        }
        group.changed.get(path).cloned().or_else(|| self.shared.held(path))
    }

    /// Whether the group is on disk; trouble that only a restart can mend is the outer error.
    async fn commit(&mut self, group: &mut Group) -> Result<Result<(), Error>, WriterFailed> {
        if group.batch.is_empty() && self.shared.is_writable() {
            return Ok(Ok(()));
        }
        let Some(database) = &mut self.database else { return Ok(Err(Error::Unavailable)) };
        let began = Instant::now();
        let failure = match database.commit(&group.batch, group.head).await {
            Ok(()) => {
                self.shared.committed(began.elapsed());
                if !self.shared.is_writable() {
                    info!(registry.path = %self.database_path.display(), "registry writes again");
                    self.shared.set_writable(true);
                }
                return Ok(Ok(()));
            }
            Err(failure) => failure,
        };
        let path = self.database_path.clone();
        match Trouble::of(&failure) {
            Trouble::FailedSync => Err(SyncFailed { path, source: failure }.into()),
            Trouble::Damaged => {
                Err(OpenError::Damaged { path, finding: failure.to_string() }.into())
            }
            Trouble::Full => {
                // The transaction is rolled back and the connection is good: what is on disk is
                // what is in memory.
                if self.shared.is_writable() {
                    error!(
                        registry.path = %path.display(),
                        error = %failure,
                        "the disk is full, registrations are answered 507 until there is room"
                    );
                    self.shared.set_writable(false);
                }
                Ok(Err(Error::Full))
            }
            Trouble::Other => {
                error!(
                    registry.path = %path.display(),
                    error = %failure,
                    "registry write failed, registrations are answered 503 until it works again"
                );
                self.database = None;
                self.shared.set_writable(false);
                Ok(Err(Error::Unavailable))
            }
        }
    }

    /// Whether the database can be written; opens it again after trouble.
    async fn ensure_database(&mut self) -> Result<bool, WriterFailed> {
        if self.database.is_some() {
            return Ok(true);
        }
        match Database::reopen(self.database_path.clone()).await {
            Ok((database, loaded)) => {
                info!(registry.path = %self.database_path.display(), "registry is open again");
                self.database = Some(database);
                self.head = loaded.head;
                self.shared.replace(loaded);
                self.shared.set_writable(true);
                self.learn_labels();
                Ok(true)
            }
            Err(damage @ OpenError::Damaged { .. }) => Err(damage.into()),
            Err(failure) => {
                warn!(error = %failure, "registry does not open again");
                Ok(false)
            }
        }
    }

    fn learn_labels(&mut self) {
        let labelled = |held: &Founding| held.label.is_some() && held.revoked_at.is_none();
        let labelled = self.shared.select(labelled);
        let pair =
            |founding: &Arc<Founding>| Some((founding.label.clone()?, founding.path.clone()));
        // Oldest first: of two tokens with one label, the older has expired.
        self.labels = labelled.iter().filter_map(pair).collect();
    }
}
