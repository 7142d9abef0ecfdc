use std::num::NonZeroU32;

use super::Revision;

/// What a key has been through: its changes in order, and the state of its current life.
///
/// A key's life (etcd calls it a generation) starts with a put after absence and ends with a
/// tombstone. Compaction removes changes from the front only, so the numbers of the last life stay
/// right however much is cut. The common key, put and not deleted, with one change left, takes no
/// allocation: a million of them matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum History {
    One(OnePut),
    Many(Box<Changes>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OnePut {
    modified: i64,
    created: i64,
    sub: u32,
    version: NonZeroU32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changes {
    /// Of the last life; `version` 0 when it has ended.
    life: Life,
    /// Never empty; ascending.
    list: Vec<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    main: i64,
    sub: u32,
    tombstone: bool,
}

/// When a key's present life began, and how many puts it has had since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Life {
    pub created: i64,
    pub version: i64,
}

impl Change {
    fn revision(self) -> Revision {
        Revision { main: self.main, sub: self.sub }
    }
}

impl History {
    /// The history of a key whose first known record is a put.
    pub(super) fn of_put(at: Revision, life: Life) -> Self {
        let change = Change { main: at.main, sub: at.sub, tombstone: false };
        Self::packed(Changes { life, list: vec![change] })
    }

    /// The history of a key of which only its deletion is known.
    pub(super) fn of_tombstone(at: Revision) -> Self {
        let change = Change { main: at.main, sub: at.sub, tombstone: true };
        Self::Many(Box::new(Changes { life: Life::default(), list: vec![change] }))
    }

    fn packed(changes: Changes) -> Self {
        if let [Change { main, sub, tombstone: false }] = changes.list[..]
            && let Ok(version) = u32::try_from(changes.life.version)
            && let Some(version) = NonZeroU32::new(version)
        {
            let created = changes.life.created;
            return Self::One(OnePut { modified: main, created, sub, version });
        }
        Self::Many(Box::new(changes))
    }

    fn unpack(&mut self) -> &mut Changes {
        if let Self::One(one) = self {
            let change = Change { main: one.modified, sub: one.sub, tombstone: false };
            *self = Self::Many(Box::new(Changes { life: one.life(), list: vec![change] }));
        }
        match self {
            Self::Many(changes) => changes,
            Self::One(_) => unreachable!("it was unpacked above"),
        }
    }

    /// The life of the key if it exists now.
    pub(super) fn life(&self) -> Option<Life> {
        match self {
            Self::One(one) => Some(one.life()),
            Self::Many(changes) => (changes.life.version > 0).then_some(changes.life),
        }
    }

    /// Adds a put; `life` is what holds from it on.
    pub(super) fn put(&mut self, at: Revision, life: Life) {
        self.push(Change { main: at.main, sub: at.sub, tombstone: false }, life);
    }

    /// Adds a deletion.
    pub(super) fn tombstone(&mut self, at: Revision) {
        self.push(Change { main: at.main, sub: at.sub, tombstone: true }, Life::default());
    }

    fn push(&mut self, change: Change, life: Life) {
        let changes = self.unpack();
        let list = &mut changes.list;
        if list.len() == list.capacity() {
            // By half, not by doubling from four on: most keys have few changes.
            list.reserve_exact(list.len().div_ceil(2));
        }
        list.push(change);
        changes.life = life;
    }

    /// Where the key's record valid at revision `main` stands; `None` when the key did not exist.
    pub(super) fn at(&self, main: i64) -> Option<Revision> {
        match self {
            Self::One(one) => (one.modified <= main).then_some(one.revision()),
            Self::Many(changes) => {
                let after = changes.after(main);
                let change = changes.list[..after].last()?;
                (!change.tombstone).then_some(change.revision())
            }
        }
    }

    /// The last change there is.
    pub(super) fn last(&self) -> Revision {
        match self {
            Self::One(one) => one.revision(),
            Self::Many(changes) => changes.list.last().expect("a history has a change").revision(),
        }
    }

    /// Where the record stands that compaction at `main` keeps of all records up to `main`.
    ///
    /// A tombstone is kept only at `main` itself, so that a watcher that starts there sees it.
    pub(super) fn kept(&self, main: i64) -> Option<Revision> {
        match self {
            Self::One(one) => (one.modified <= main).then_some(one.revision()),
            Self::Many(changes) => {
                let change = changes.list[..changes.after(main)].last()?;
                (!change.tombstone || change.main == main).then_some(change.revision())
            }
        }
    }

    /// Forgets what compaction at `main` drops and hands each dropped revision to `dropped`.
    ///
    /// Returns whether anything is left.
    pub(super) fn compact(&mut self, main: i64, mut dropped: impl FnMut(Revision)) -> bool {
        let kept = self.kept(main);
        let Self::Many(changes) = self else { return true };
        let mut cut = changes.after(main);
        if kept.is_some() {
            cut -= 1;
        }
        if cut == 0 {
            return true;
        }
        for change in changes.list.drain(..cut) {
            dropped(change.revision());
        }
        if changes.list.is_empty() {
            return false;
        }
        changes.list.shrink_to_fit();
        let changes = Changes { life: changes.life, list: std::mem::take(&mut changes.list) };
        *self = Self::packed(changes);
        true
    }
}

impl OnePut {
    fn revision(&self) -> Revision {
        Revision { main: self.modified, sub: self.sub }
    }

    fn life(&self) -> Life {
        Life { created: self.created, version: i64::from(self.version.get()) }
    }
}

impl Changes {
    /// How many changes stand at or before `main`.
    fn after(&self, main: i64) -> usize {
        self.list.partition_point(|change| change.main <= main)
    }
}
