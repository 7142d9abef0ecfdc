use std::collections::BTreeMap;
use std::sync::Arc;

use hickory_proto::rr::{Name, Record, RecordType};

use super::check::Place;
use super::packed::{name_of, number, pack, same, unpack};
use super::room::room;
use super::tree::Key;

/// A name that exists without owning anything by this entry; the type is one that no record has.
const NOTHING: u16 = 0;

/// One record of a master file, and the place where it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub place: Place,
    pub record: Record,
}

/// The records of a master file in the order of its lines, in little room.
///
/// As values of the message library those of ten thousand clusters would be more than the zone that
/// is made of them, in as many pieces as there are names.
#[derive(Debug, Default)]
pub struct Entries {
    list: Vec<Held>,
    /// For each entry the key of its owner, and its data if it is of a type that is packed.
    bytes: Vec<u8>,
    /// Records of other types.
    others: Vec<Record>,
    /// Owners with letters in upper case, by the number of their entry.
    spelled: BTreeMap<u32, Name>,
    /// Included files.
    files: Vec<Arc<str>>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    /// Where the key is.
    at: u32,
    key_length: u8,
    packed: bool,
    kind: u16,
    ttl: u32,
    /// Where the data behind the key ends, or the number of the record among the others.
    end: u32,
    line: u32,
    /// The number of the included file, from 1; zero for the master file itself.
    file: u32,
}

impl Entries {
    /// For the records of a text with so many bytes.
    pub(super) fn with_room(text: usize) -> Self {
        // A line has some thirty bytes; what it comes to here is rarely twice as much.
        Self { list: room(text / 32), bytes: room(text * 2), ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Entry> {
        (0..number(self.len())).map(|entry| Entry {
            place: self.place(entry).expect("it was read from a line"),
            record: self.record(entry),
        })
    }

    /// Adds a record; `place` is none if it comes from no file.
    pub(super) fn push(&mut self, place: Option<&Place>, record: &Record) {
        let line = place.map_or(0, |place| place.line);
        let file = place.and_then(|place| place.file.as_ref()).map_or(0, |it| self.file(it));
        let (at, key_length) = self.put_key(&record.name);
        let packed = pack(&record.data, &mut self.bytes);
        if !packed {
            self.others.push(record.clone());
        }
        let end = if packed { self.bytes.len() } else { self.others.len() - 1 };
        if record.name.iter().flatten().any(u8::is_ascii_uppercase) {
            self.spelled.insert(number(self.len()), record.name.clone());
        }
        let (kind, ttl, end) = (record.record_type().into(), record.ttl, number(end));
        self.list.push(Held { at, key_length, packed, kind, ttl, end, line, file });
    }

    /// Makes a name exist, whether it owns anything or not.
    pub(super) fn reserve(&mut self, name: &Name) {
        let (at, key_length) = self.put_key(name);
        let end = number(self.bytes.len());
        let kind = NOTHING;
        self.list.push(Held { at, key_length, packed: true, kind, ttl: 0, end, line: 0, file: 0 });
    }

    fn put_key(&mut self, name: &Name) -> (u32, u8) {
        let at = self.bytes.len();
        Key::append(name, &mut self.bytes);
        let length = u8::try_from(self.bytes.len() - at).expect("names have at most 255 bytes");
        (number(at), length)
    }

    fn file(&mut self, file: &Arc<str>) -> u32 {
        let held = self.files.iter().rposition(|held| held == file).unwrap_or_else(|| {
            self.files.push(Arc::clone(file));
            self.files.len() - 1
        });
        number(held) + 1
    }

    pub(super) fn key(&self, entry: u32) -> &[u8] {
        let held = self.held(entry);
        &self.bytes[held.at as usize..][..held.key_length.into()]
    }

    pub(super) fn kind(&self, entry: u32) -> RecordType {
        self.held(entry).kind.into()
    }

    pub(super) fn is_record(&self, entry: u32) -> bool {
        self.held(entry).kind != NOTHING
    }

    pub(super) fn ttl(&self, entry: u32) -> u32 {
        self.held(entry).ttl
    }

    /// The data as it is packed; none for other types.
    pub(super) fn data(&self, entry: u32) -> Option<&[u8]> {
        let held = self.held(entry);
        let start = held.at as usize + usize::from(held.key_length);
        held.packed.then(|| &self.bytes[start..held.end as usize])
    }

    /// The owner, if it is not spelled in lower case.
    pub(super) fn spelled(&self, entry: u32) -> Option<&Name> {
        self.spelled.get(&entry)
    }

    pub(super) fn owner(&self, entry: u32) -> Name {
        self.spelled(entry).cloned().unwrap_or_else(|| name_of(self.key(entry)))
    }

    pub(super) fn place(&self, entry: u32) -> Option<Place> {
        let held = self.held(entry);
        let file = held.file.checked_sub(1).map(|file| Arc::clone(&self.files[file as usize]));
        (held.line > 0).then_some(Place { file, line: held.line, column: None })
    }

    pub(super) fn record(&self, entry: u32) -> Record {
        let held = self.held(entry);
        match self.data(entry) {
            None => self.others[held.end as usize].clone(),
            Some(data) => {
                let data = unpack(held.kind.into(), &data[2..]).expect("packed data is whole");
                Record::from_rdata(self.owner(entry), held.ttl, data)
            }
        }
    }

    /// Whether two records of one type have the same data; the letter case of names does not count.
    pub(super) fn same(&self, one: u32, other: u32) -> bool {
        match (self.data(one), self.data(other)) {
            (Some(a), Some(b)) => same(self.kind(one), &a[2..], &b[2..]),
            _ => self.record(one).data == self.record(other).data,
        }
    }

    /// The entries whose type is `kind`, as they were added.
    pub(super) fn of_kind(&self, kind: RecordType) -> impl Iterator<Item = u32> {
        let all = (0..).zip(&self.list);
        all.filter(move |(_, held)| held.kind == u16::from(kind)).map(|(entry, _)| entry)
    }

    fn held(&self, entry: u32) -> Held {
        self.list[entry as usize]
    }
}

/// The entries by their owners: ancestors before descendants, those of one owner as they were added.
#[derive(Debug)]
pub(super) struct Owners<'e> {
    pub(super) entries: &'e Entries,
    order: Vec<u32>,
}

impl<'e> Owners<'e> {
    pub(super) fn of(entries: &'e Entries) -> Self {
        let mut order = room(entries.len());
        order.extend(0..number(entries.len()));
        // The number decides between equal keys, so nothing more has to be remembered for them.
        order.sort_unstable_by(|a, b| entries.key(*a).cmp(entries.key(*b)).then(a.cmp(b)));
        Self { entries, order }
    }

    /// The entries of each owner with its key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'e [u8], &[u32])> {
        let entries = self.entries;
        let same = |a: &u32, b: &u32| entries.key(*a) == entries.key(*b);
        self.order.chunk_by(same).map(move |group| (entries.key(group[0]), group))
    }

    pub(super) fn find(&self, owner: &Name) -> &[u32] {
        let key = Key::of(owner);
        let from = |key: &[u8]| self.order.partition_point(|it| self.entries.key(*it) < key);
        let rest = &self.order[from(key.as_bytes())..];
        let count = rest.partition_point(|it| self.entries.key(*it) == key.as_bytes());
        &rest[..count]
    }
}
