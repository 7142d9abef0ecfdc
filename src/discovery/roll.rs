use super::token_error::Error;
use crate::membership::{InitialCluster, MemberId, PeerUrl};

/// One registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The last segment of the key; a member id in hexadecimal, unless somebody wrote it by hand.
    pub(super) id: String,
    /// `name=url,...`
    pub(super) value: String,
    pub(super) created_index: u64,
}

/// Who registered with a token, in order, and how many it takes.
///
/// The first `size` by created index are the founders. Later registrations may be listed and do not
/// count, for this node as for everybody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Roll {
    size: usize,
    entries: Vec<Entry>,
}

/// Whether a node is among the founders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    In,
    /// Not registered, and there is room.
    Open,
    /// There are as many founders as it takes, without this node.
    Full,
}

impl Roll {
    pub(super) fn new(size: usize, mut entries: Vec<Entry>) -> Self {
        entries.retain(|entry| entry.id != "_config");
        // The id breaks ties, which only a service that leaves out the index makes.
        entries.sort_by(|a, b| (a.created_index, &a.id).cmp(&(b.created_index, &b.id)));
        Self { size, entries }
    }

    /// Adds a registration that came later; a repeat of a known one is ignored.
    pub(super) fn add(&mut self, entry: Entry) {
        if entry.id != "_config" && self.entries.iter().all(|known| known.id != entry.id) {
            self.entries.push(entry);
        }
    }

    pub(super) fn standing(&self, own: MemberId) -> Standing {
        let own = own.to_string();
        match self.entries().position(|entry| entry.id == own) {
            Some(_) => Standing::In,
            None if self.is_complete() => Standing::Full,
            None => Standing::Open,
        }
    }

    /// The founders so far.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().take(self.size)
    }

    pub(super) fn entry(&self, id: MemberId) -> Option<&Entry> {
        let id = id.to_string();
        self.entries().find(|entry| entry.id == id)
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn is_complete(&self) -> bool {
        self.entries.len() >= self.size
    }

    pub(super) fn missing(&self) -> usize {
        self.size.saturating_sub(self.entries.len())
    }

    /// The peer URLs of all founders whose registration can be read.
    pub(super) fn peer_urls(&self) -> Vec<PeerUrl> {
        let lists = self.entries().filter_map(|entry| entry.value.parse::<InitialCluster>().ok());
        let urls = |list: InitialCluster| {
            list.members().flat_map(|(_, urls)| urls.to_vec()).collect::<Vec<_>>()
        };
        lists.flat_map(urls).collect()
    }

    /// The list the founders make, if each registered one name of its own.
    pub(super) fn founders(&self) -> Result<InitialCluster, Error> {
        let values: Vec<&str> = self.entries().map(|entry| entry.value.as_str()).collect();
        let list: InitialCluster =
            values.join(",").parse().map_err(|source| Error::InvalidUrl { source })?;
        if list.len() == self.size { Ok(list) } else { Err(Error::DuplicateName) }
    }

    /// The names of founders whose id does not follow from their URLs and this discovery URL or
    /// token. They were given another spelling of it and will found another cluster.
    pub(super) fn misspelled(&self, salt: &str) -> Vec<String> {
        let name = |entry: &Entry| {
            let list: InitialCluster = entry.value.parse().ok()?;
            let (name, urls) = list.members().next()?;
            let id = MemberId::derive(urls.iter().map(PeerUrl::as_str), salt);
            (id.to_string() != entry.id).then(|| name.to_owned())
        };
        self.entries().filter_map(name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, value: &str, created_index: u64) -> Entry {
        Entry { id: id.to_owned(), value: value.to_owned(), created_index }
    }

    #[test]
    fn the_first_by_created_index_are_in() {
        let roll = Roll::new(
            2,
            vec![entry("c", "", 9), entry("_config", "", 1), entry("a", "", 5), entry("b", "", 7)],
        );
        assert_eq!(roll.entries().map(|entry| entry.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let cases = [
            (0xa, Standing::In),
            (0xb, Standing::In),
            (0xc, Standing::Full),
            (0xd, Standing::Full),
        ];
        for (id, standing) in cases {
            assert_eq!(roll.standing(MemberId(id)), standing, "{id:x}");
        }
        let open = Roll::new(3, vec![entry("a", "", 5)]);
        assert_eq!(open.standing(MemberId(0xb)), Standing::Open);
        assert_eq!(open.missing(), 2);
    }

    #[test]
    fn repeats_are_ignored() {
        let mut roll = Roll::new(2, vec![entry("a", "n1=http://h:1", 5)]);
        roll.add(entry("a", "n9=http://h:9", 6));
        roll.add(entry("_config", "", 7));
        assert!(!roll.is_complete());
        roll.add(entry("b", "n2=http://h:2", 8));
        assert_eq!(roll.founders().unwrap().to_string(), "n1=http://h:1,n2=http://h:2");
    }

    #[test]
    fn founders_need_a_name_and_a_url_each() {
        let cases = [
            (["n1=http://h:1", "n1=http://h:2"], "discovery: found duplicate name"),
            (["n1=http://h:1", ""], "discovery: found duplicate name"),
            (["n1=http://h:1,n3=http://h:3", "n2=http://h:2"], "discovery: found duplicate name"),
            (["n1=http://h:1", "garbage"], "discovery: invalid URL"),
            (["n1=http://h:1", "n2="], "discovery: invalid URL"),
            (["n1=http://h:1", "n2=ftp://h:2"], "discovery: invalid URL"),
        ];
        for (values, text) in cases {
            let entries = vec![entry("a", values[0], 1), entry("b", values[1], 2)];
            let error = Roll::new(2, entries).founders().unwrap_err();
            assert_eq!(error.to_string(), text, "{values:?}");
        }
    }

    #[test]
    fn another_spelling_of_the_url_is_noticed() {
        let url = "http://127.0.0.1:7000/v2/keys/discovery/tok1";
        let roll = Roll::new(
            2,
            vec![
                entry("6af27103607f24d3", "n1=http://127.0.0.1:3001", 5),
                entry("96d34debe40b3244", "n2=http://127.0.0.1:3002", 6),
            ],
        );
        assert_eq!(roll.misspelled(url), ["n2"]);
    }
}
