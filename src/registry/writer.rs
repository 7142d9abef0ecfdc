use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{error, info};

use super::command::{Answer, Command};
use super::group::Group;
use super::outcome::{Heard, NotWritten, Ready, Written};
use super::pace::Pace;
use super::sqlite::{Directory, RegistrationRow, TokenRow};
use super::state::{Loaded, News, Shared};
use super::store::Store;
use super::timeline::{Entry, Head, What};
use super::{
    Config, Created, Error, NewToken, OpenError, Outcome, RefusedAttempt, Registration,
    WriterFailed,
};
use crate::admission::{
    Application, Decision, Founding, Label, Refusal, Registered, State, UnixMillis, decide,
};
use crate::token::TokenPath;

/// How long an expired token is remembered, so that nodes hear "expired" and not "unknown".
pub(super) const EXPIRED_KEPT: Duration = Duration::from_secs(24 * 3600);

/// How many refusals and repeats of one token the timeline takes. Strangers can make any number.
pub(super) const NOTES: u32 = 64;

/// How often a group is decided again because another service was faster. Each time another service
/// got something done.
const ATTEMPTS: usize = 32;

/// The one task that changes the registry.
#[derive(Debug)]
pub struct Writer {
    pub(super) config: Config,
    pub(super) store: Store,
    pub(super) shared: Arc<Shared>,
    queue: mpsc::Receiver<Command>,
    /// The committed end of the timeline.
    head: Head,
    /// How long a group waits for more.
    pace: Pace,
    /// Which token has a label; the token itself knows whether it still lives.
    pub(super) labels: HashMap<Label, TokenPath>,
    /// Kept to the end: it holds the lock.
    _directory: Directory,
}

/// What became of a group, as its commands hear it.
type Committed = Result<Written, NotWritten>;

impl Writer {
    pub(super) fn new(
        config: Config,
        directory: Directory,
        store: Store,
        head: Head,
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Command>,
    ) -> Self {
        let labels = HashMap::new();
        let pace = Pace::default();
        let mut writer =
            Self { config, store, shared, queue, head, pace, labels, _directory: directory };
        writer.learn_labels();
        writer
    }

    /// Writes until every clone of the registry is gone, or until the store cannot be trusted.
    pub async fn run(mut self) -> Result<(), WriterFailed> {
        let limit = self.store.group_limit();
        let mut commands = Vec::with_capacity(limit);
        loop {
            let Self { queue, store, .. } = &mut self;
            tokio::select! {
                taken = queue.recv_many(&mut commands, limit) => match taken {
                    0 => break,
                    _ => self.write(&mut commands).await?,
                },
                heard = store.hear() => self.heard(heard?).await?,
            }
        }
        self.store.close().await;
        Ok(())
    }

    /// Takes in what the store says unasked, or that it says nothing.
    async fn heard(&mut self, heard: Heard) -> Result<(), WriterFailed> {
        match heard {
            // That it can be read is no proof that it can be written again; a write is.
            Heard::Answer if !self.shared.is_writable() => self.write(&mut Vec::new()).await,
            Heard::Answer => Ok(()),
            Heard::Silence { why } => {
                self.cannot_write(&why);
                Ok(())
            }
            Heard::News(news) => {
                self.learn(news);
                Ok(())
            }
            Heard::Reloaded(loaded) => {
                self.show(*loaded);
                Ok(())
            }
        }
    }

    /// Decides about commands, writes what follows, and answers them all.
    async fn write(&mut self, commands: &mut Vec<Command>) -> Result<(), WriterFailed> {
        match self.store.ready().await {
            Ok(Ready::AsBefore) => {}
            Ok(Ready::Reloaded(loaded)) => self.show(*loaded),
            Ok(Ready::No { why }) => {
                self.cannot_write(&why);
                fail(commands, &Error::Unavailable);
                return Ok(());
            }
            Err(fatal) => {
                fail(commands, &Error::Unavailable);
                return Err(fatal);
            }
        }
        let mut tried: Vec<(Group, Vec<Answer>)> = Vec::new();
        for _ in 0..ATTEMPTS {
            let mut group = Group::new(self.shared.index(), self.head);
            let mut answers: Vec<Answer> =
                commands.iter().map(|command| self.decide(&mut group, command)).collect();
            if tried.is_empty() {
                self.wait_for_more(&mut group, commands, &mut answers).await;
            }
            match self.commit(&group).await {
                Ok(Written::Done) => {
                    let askers = commands.len() + self.queue.len();
                    self.pace.met(askers.min(self.store.group_limit()));
                    self.publish(group);
                    answer(commands, answers);
                    return Ok(());
                }
                Ok(Written::Overtaken) => {
                    self.learn_labels();
                    self.catch_up().await?;
                    // It may have been this very write, of which no answer came. Decided anew, the
                    // last founder would be one that comes back to a complete cluster.
                    tried.push((group, answers));
                    if let Some(ours) = tried.iter().position(|(group, _)| self.shows(group)) {
                        let (_, answers) = tried.swap_remove(ours);
                        answer(commands, answers);
                        return Ok(());
                    }
                }
                Err(failure) => return self.not_written(commands, failure).await,
            }
        }
        fail(commands, &Error::Unavailable);
        Ok(())
    }

    /// Takes in, for as long as it pays, those who ask while a group is about to be written.
    async fn wait_for_more(
        &mut self,
        group: &mut Group,
        commands: &mut Vec<Command>,
        answers: &mut Vec<Answer>,
    ) {
        let began = Instant::now();
        while let Some(command) = self.pace.another(&mut self.queue, commands.len(), began).await {
            answers.push(self.decide(group, &command));
            commands.push(command);
        }
    }

    /// Refuses the commands of a group that was not written; of one too large, writes the halves.
    async fn not_written(
        &mut self,
        commands: &mut Vec<Command>,
        failure: NotWritten,
    ) -> Result<(), WriterFailed> {
        // What was decided may rest on something else in the group that was not written.
        self.learn_labels();
        match failure {
            NotWritten::TooLarge if commands.len() > 1 => {
                // Halves stay halves.
                self.pace.met(0);
                let mut second = commands.split_off(commands.len() / 2);
                Box::pin(self.write(commands)).await?;
                return Box::pin(self.write(&mut second)).await;
            }
            NotWritten::Full { .. } => fail(commands, &Error::Full),
            NotWritten::TooLarge | NotWritten::Unavailable { .. } => {
                fail(commands, &Error::Unavailable);
            }
            NotWritten::Fatal(fatal) => {
                fail(commands, &Error::Unavailable);
                return Err(fatal);
            }
        }
        Ok(())
    }

    fn decide(&mut self, group: &mut Group, command: &Command) -> Answer {
        match command {
            Command::Create { token, now, .. } => Answer::Created(self.create(group, token, *now)),
            Command::Register { path, application, now, .. } => {
                Answer::Registered(self.register(group, path, application, *now))
            }
            Command::RecordRefusal { refused, .. } => {
                self.record_refusal(group, refused);
                Answer::Done
            }
            Command::Operate { path, order, by, now, .. } => {
                Answer::Operated(self.operate(group, path, *order, by, *now))
            }
            Command::Sweep { now, .. } => {
                self.sweep(group, *now);
                Answer::Done
            }
            Command::CatchUp { .. } => Answer::Done,
        }
    }

    /// Shows what a written group changed.
    fn publish(&mut self, group: Group) {
        self.head = group.head;
        if !group.forgotten.is_empty() {
            self.shared.forget(&group.forgotten);
        }
        if !group.changed.is_empty() {
            self.shared.publish(group.changed, group.batch.last_index);
        }
    }

    /// Shows what the store holds instead of everything shown before.
    fn show(&mut self, loaded: Loaded) {
        self.head = loaded.head;
        self.shared.replace(loaded);
        self.learn_labels();
    }

    /// Takes in what another service wrote.
    fn learn(&mut self, News { changed, forgotten, head }: News) {
        let index = match head {
            Some((index, head)) => {
                self.head = head;
                index
            }
            None => self.shared.index(),
        };
        for held in changed.values() {
            if let Some(label) = held.label.clone().filter(|_| held.revoked_at.is_none()) {
                self.labels.insert(label, held.path.clone());
            }
        }
        if !forgotten.is_empty() {
            self.shared.forget(&forgotten);
        }
        self.shared.publish(changed, index);
    }

    /// Whether memory, which follows the store, has what this group was to write.
    fn shows(&self, group: &Group) -> bool {
        let shown = |ours: &Arc<Founding>| {
            let Some(held) = self.shared.held(&ours.path) else { return false };
            let all = |token: &Founding| [&token.founders[..], &token.surplus[..]].concat();
            match all(ours).into_iter().find(|registered| registered.index == ours.index) {
                Some(newest) => all(&held).iter().any(|registered| {
                    (registered.index, registered.key, registered.at, &registered.value)
                        == (newest.index, newest.key, newest.at, &newest.value)
                }),
                None => {
                    ours.index == ours.created_index
                        && (held.created_index, held.created_at)
                            == (ours.created_index, ours.created_at)
                        && group.batch.tokens.iter().any(|row| row.created_index == ours.index)
                }
            }
        };
        let registers = !group.batch.registrations.is_empty() || !group.batch.tokens.is_empty();
        let whole = !group.batch.timeline.is_empty() && self.head == group.head;
        whole || (registers && group.changed.values().any(shown))
    }

    /// Takes in what the service that overtook this one wrote.
    async fn catch_up(&mut self) -> Result<(), WriterFailed> {
        match self.store.hear_soon().await {
            Ok(Heard::News(news)) => self.learn(news),
            Ok(Heard::Reloaded(loaded)) => self.show(*loaded),
            Ok(Heard::Answer | Heard::Silence { .. }) => {}
            // The next write begins with reading again.
            Err(OpenError::Store { .. }) => {}
            Err(damage) => return Err(damage.into()),
        }
        Ok(())
    }

    fn create(
        &mut self,
        group: &mut Group,
        token: &NewToken,
        now: UnixMillis,
    ) -> Result<Created, Error> {
        let mut first_entry = None;
        if let Some(founding) = self.current(group, &token.path) {
            // Whoever asks for the history of this path wants that of its earlier life as well.
            first_entry = Some(founding.first_entry);
            match founding.state(now) {
                State::Open | State::Full if founding.size == token.size => {
                    return Ok(Created { founding, existed: true });
                }
                State::Open | State::Full => {
                    return Err(Refusal::SizeFixed { size: founding.size.get() }.into());
                }
                State::Revoked => return Err(Refusal::Revoked.into()),
                State::Expired => Self::expire(group, &founding, now),
            }
            group.remove(&founding);
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
        let first_entry = first_entry.unwrap_or(group.head.seq + 1);
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
            client_port: token.client_port,
            first_entry,
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
            client_port: token.client_port,
            first_entry,
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
        application: &Application,
        now: UnixMillis,
    ) -> Result<Registration, Error> {
        let found = self.current(group, path).filter(|held| held.revoked_at.is_none());
        let founding = found.ok_or(Error::Unknown)?;
        let decision = decide(&founding, application, self.config.max_surplus, now);
        let outcome = match decision {
            Err(refusal) => {
                let refused = RefusedAttempt::new(path, application, &refusal, now);
                self.record_refusal(group, &refused);
                return Err(refusal.into());
            }
            Ok(decision) => decision,
        };
        let outcome = match outcome {
            Decision::Resume(registered) => {
                Self::note(group, &founding, |entry| {
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
        let Application { key, ref value, from, .. } = *application;
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
        let value = value.clone();
        let registered = Arc::new(Registered { key, value, index, at: now, from });
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

    /// Writes a group, or makes sure that nothing was written that it should have known of.
    async fn commit(&mut self, group: &Group) -> Committed {
        let asks_only = group.batch.is_empty() && self.shared.is_writable();
        let began = Instant::now();
        let committed = match asks_only {
            true => self.store.is_current().await,
            false => self.store.commit(group).await,
        };
        match &committed {
            Ok(Written::Done) if !asks_only => self.has_written(began.elapsed()),
            Ok(_) | Err(NotWritten::TooLarge) => {}
            Err(NotWritten::Fatal(_)) => self.shared.set_writable(false),
            Err(NotWritten::Full { why }) => self.is_full(why),
            Err(NotWritten::Unavailable { why }) => self.cannot_write(why),
        }
        committed
    }

    fn has_written(&mut self, took: Duration) {
        self.pace.took(took);
        self.shared.committed(took);
        if !self.shared.is_writable() {
            info!(store = %self.store, "registry writes again");
            self.shared.set_writable(true);
        }
    }

    fn is_full(&self, why: &str) {
        if self.shared.is_writable() {
            error!(
                store = %self.store,
                error = why,
                "there is no room, registrations are answered 507 until there is"
            );
            self.shared.set_writable(false);
        }
    }

    fn cannot_write(&self, why: &str) {
        if self.shared.is_writable() {
            error!(
                store = %self.store,
                error = why,
                cure = self.store.cure(),
                "the registry cannot be written, registrations are answered 503 until it works again"
            );
            self.shared.set_writable(false);
        }
    }

    fn learn_labels(&mut self) {
        let labelled = self.shared.select(|token| token.is_labelled && !token.is_revoked);
        let pair =
            |founding: &Arc<Founding>| Some((founding.label.clone()?, founding.path.clone()));
        // Oldest first: of two tokens with one label, the older has expired.
        self.labels = labelled.iter().filter_map(pair).collect();
    }
}

fn answer(commands: &mut Vec<Command>, answers: Vec<Answer>) {
    for (command, answer) in commands.drain(..).zip(answers) {
        command.answer(answer);
    }
}

fn fail(commands: &mut Vec<Command>, error: &Error) {
    for command in commands.drain(..) {
        command.fail(error.clone());
    }
}
