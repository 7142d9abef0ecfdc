use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::database::{Batch, Database, RegistrationRow, SealedRow, TokenRow, is_failed_sync};
use super::directory::Directory;
use super::error::SyncFailed;
use super::state::Shared;
use super::{Config, Created, Error, NewToken, Outcome, Registration};
use crate::admission::{
    Application, Decision, Founding, Label, Refusal, Registered, State, UnixMillis, decide,
};
use crate::token::TokenPath;

/// The most writes in one transaction.
const GROUP: usize = 512;

/// How long an expired token is remembered, so that nodes hear "expired" and not "unknown".
const EXPIRED_KEPT: Duration = Duration::from_secs(24 * 3600);

type Reply<T> = oneshot::Sender<Result<T, Error>>;

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
    Sweep {
        now: UnixMillis,
        reply: Reply<()>,
    },
}

/// The one task that changes the registry.
#[derive(Debug)]
pub struct Writer {
    config: Config,
    /// Absent after a failed commit, until it is open again and memory is rebuilt from it.
    database: Option<Database>,
    database_path: PathBuf,
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Command>,
    /// Which token has a label; the token itself knows whether it still lives.
    labels: HashMap<Label, TokenPath>,
    /// Kept to the end: it holds the lock.
    _directory: Directory,
}

/// One group while it is decided: what it changes, and who hears what once that is on disk.
#[derive(Debug, Default)]
struct Group {
    changed: HashMap<TokenPath, Arc<Founding>>,
    forgotten: Vec<TokenPath>,
    batch: Batch,
    created: Vec<(Reply<Created>, Result<Created, Error>)>,
    registered: Vec<(Reply<Registration>, Result<Registration, Error>)>,
    swept: Vec<Reply<()>>,
}

impl Writer {
    pub(super) fn new(
        config: Config,
        directory: Directory,
        database: Database,
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
            labels: HashMap::new(),
            _directory: directory,
        };
        writer.learn_labels();
        writer
    }

    /// Writes until every clone of the registry is gone, or until the disk cannot be trusted.
    pub async fn run(mut self) -> Result<(), SyncFailed> {
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

    async fn write(&mut self, commands: impl Iterator<Item = Command>) -> Result<(), SyncFailed> {
        let ready = self.ensure_database().await;
        let mut group = Group::default();
        group.batch.last_index = self.shared.index();
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
                Command::Sweep { now, reply } => {
                    self.sweep(&mut group, now);
                    group.swept.push(reply);
                }
            }
        }
        let committed = if ready { self.commit(&group.batch).await } else { Ok(false) };
        if !matches!(committed, Ok(true)) {
            // What was decided may rest on something else in the group that is not on disk.
            group.answer(true);
            return committed.map(|_| ());
        }
        if !group.forgotten.is_empty() {
            self.shared.forget(&group.forgotten);
        }
        if !group.changed.is_empty() {
            let changed = std::mem::take(&mut group.changed);
            self.shared.publish(changed, group.batch.last_index);
        }
        group.answer(false);
        Ok(())
    }

    fn create(
        &mut self,
        group: &mut Group,
        token: &NewToken,
        now: UnixMillis,
    ) -> Result<Created, Error> {
        if let Some(founding) = self.current(group, &token.path) {
            if founding.state(now) != State::Expired {
                if founding.size == token.size {
                    return Ok(Created { founding, existed: true });
                }
                return Err(Refusal::SizeFixed { size: founding.size.get() }.into());
            }
            group.batch.removed.push(founding.created_index);
        }
        if let Some(label) = &token.label {
            let holder = self.labels.get(label).and_then(|path| self.current(group, path));
            if holder.is_some_and(|holder| holder.state(now) != State::Expired) {
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
            expires_at,
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
        let founding = self.current(group, path).ok_or(Error::Unknown)?;
        let outcome = match decide(&founding, &application, now)? {
            Decision::Resume(registered) => {
                return Ok(Registration { registered, founding, outcome: Outcome::Resumed });
            }
            Decision::Found { seals: false } => Outcome::Founded,
            Decision::Found { seals: true } => Outcome::Sealed,
            Decision::RecordSurplus => Outcome::Surplus,
        };
        let index = group.next_index();
        let Application { key, value, member, .. } = application;
        group.batch.registrations.push(RegistrationRow {
            created_index: index,
            token_index: founding.created_index,
            member: key.to_string(),
            value: value.clone(),
            founder: u8::from(outcome != Outcome::Surplus),
            registered_at: now.0,
        });
        let registered = Arc::new(Registered { key, value, member, index });
        let mut next = Founding::clone(&founding);
        next.index = index;
        match outcome {
            Outcome::Surplus => next.surplus.push(Arc::clone(&registered)),
            _ => next.founders.push(Arc::clone(&registered)),
        }
        if outcome == Outcome::Sealed {
            next.expires_at = now.after(self.config.sealed_ttl.get());
            group
                .batch
                .sealed
                .push(SealedRow { token_index: next.created_index, expires_at: next.expires_at.0 });
        }
        let founding = Arc::new(next);
        group.changed.insert(path.clone(), Arc::clone(&founding));
        Ok(Registration { registered, founding, outcome })
    }

    fn sweep(&mut self, group: &mut Group, now: UnixMillis) {
        let old = self.shared.select(|held| now >= held.expires_at.after(EXPIRED_KEPT));
        for founding in old.into_iter().take(GROUP) {
            // A token made again under the same path in this very group stays.
            if group.changed.contains_key(&founding.path) {
                continue;
            }
            if let Some(label) = &founding.label
                && self.labels.get(label) == Some(&founding.path)
            {
                self.labels.remove(label);
            }
            group.batch.removed.push(founding.created_index);
            group.forgotten.push(founding.path.clone());
        }
    }

    /// A token as this group has left it so far.
    fn current(&self, group: &Group, path: &TokenPath) -> Option<Arc<Founding>> {
        if group.forgotten.contains(path) && !group.changed.contains_key(path) {
            return None;
        }
        group.changed.get(path).cloned().or_else(|| self.shared.founding(path))
    }

    /// Whether the batch is on disk.
    async fn commit(&mut self, batch: &Batch) -> Result<bool, SyncFailed> {
        if batch.is_empty() {
            return Ok(true);
        }
        let Some(database) = &mut self.database else { return Ok(false) };
        match database.commit(batch).await {
            Ok(()) => Ok(true),
            Err(failure) if is_failed_sync(&failure) => {
                Err(SyncFailed { path: self.database_path.clone(), source: failure })
            }
            Err(failure) => {
                error!(
                    registry.path = %self.database_path.display(),
                    error = %failure,
                    "registry write failed, registrations are answered 503 until it works again"
                );
                self.database = None;
                self.shared.set_writable(false);
                Ok(false)
            }
        }
    }

    /// Whether the database can be written; opens it again after trouble.
    async fn ensure_database(&mut self) -> bool {
        if self.database.is_some() {
            return true;
        }
        match Database::reopen(self.database_path.clone()).await {
            Ok((database, loaded)) => {
                info!(registry.path = %self.database_path.display(), "registry is open again");
                self.database = Some(database);
                self.shared.replace(loaded);
                self.shared.set_writable(true);
                self.learn_labels();
                true
            }
            Err(failure) => {
                warn!(error = %failure, "registry does not open again");
                false
            }
        }
    }

    fn learn_labels(&mut self) {
        let labelled = self.shared.select(|founding| founding.label.is_some());
        let pair =
            |founding: &Arc<Founding>| Some((founding.label.clone()?, founding.path.clone()));
        // Oldest first: of two tokens with one label, the older has expired.
        self.labels = labelled.iter().filter_map(pair).collect();
    }
}

impl Group {
    fn next_index(&mut self) -> u64 {
        self.batch.last_index += 1;
        self.batch.last_index
    }

    /// Tells everybody. An asker that has gone away does not hear it.
    fn answer(self, failed: bool) {
        for (reply, answer) in self.created {
            let _ = reply.send(if failed { Err(Error::Unavailable) } else { answer });
        }
        for (reply, answer) in self.registered {
            let _ = reply.send(if failed { Err(Error::Unavailable) } else { answer });
        }
        for reply in self.swept {
            let _ = reply.send(if failed { Err(Error::Unavailable) } else { Ok(()) });
        }
    }
}
