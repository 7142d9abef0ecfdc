mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use hickory_proto::rr::rdata::{A, AAAA, NS, PTR, SOA};
use hickory_proto::rr::{Name, RData, Record};
use parking_lot::{Mutex, RwLock};

use self::records::records;
use super::metrics::{Counters, ZoneCount};
use crate::admission::Label;
use crate::membership::{InitialCluster, PeerUrl};
use crate::zone::{Compiled, Key, Question, Rcode, Response, Zone};

/// How long resolvers may keep what is published.
const TTL: u32 = 300;
/// How long they may keep that something is not there. A member that asks too early asks again
/// soon, so this is short.
const NEGATIVE_TTL: u32 = 5;
/// A change copies the list of one shard, not that of ten thousand clusters.
const SHARDS: usize = 256;
/// On a machine with many members an address has many names; a reverse answer need not have all.
const NAMES_PER_ADDRESS: usize = 16;
/// The label of this server itself.
const NAME_SERVER: &str = Label::NAME_SERVER;
/// What etcd, its clients and Patroni ask for when they look for a cluster.
const SERVICES: [&str; 6] =
    ["_etcd-server-ssl", "_etcd-server", "_etcd-client-ssl", "_etcd-client", "_etcd-ssl", "_etcd"];

/// The zone that registered clusters are published in, each below a label of its own.
///
/// All answers of a cluster are in one entry of one shard, so one exchange of one pointer publishes
/// a cluster. Its records are made again from its members for the few questions that need them.
#[derive(Debug)]
pub(super) struct Clusters {
    domain: Name,
    apex: Key,
    addresses: Vec<IpAddr>,
    asked: ZoneCount,
    serial: Mutex<u32>,
    /// Only the apex and this server, with the latest serial.
    head: ArcSwap<Head>,
    shards: Vec<Shard>,
    /// For each reverse name the labels and names that have the address.
    reverse: RwLock<BTreeMap<Key, Vec<(String, Name)>>>,
}

#[derive(Debug)]
struct Head {
    serial: u32,
    zone: Arc<Zone>,
    compiled: Compiled,
}

#[derive(Debug, Default)]
struct Shard {
    /// One change at a time.
    writer: Mutex<()>,
    labels: ArcSwap<BTreeMap<Arc<str>, Arc<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    /// None for a cluster that is only expected.
    cluster: Option<Published>,
    answers: Compiled,
}

/// What is told of a complete cluster.
#[derive(Debug, Clone)]
pub struct Published {
    pub cluster: InitialCluster,
    /// Where members answer clients.
    pub port: u16,
    /// Where clients are not sent, unless nothing else is left.
    pub closed: BTreeSet<SocketAddr>,
}

/// Why a cluster cannot be published.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error("no domain for clusters is set")]
    NoDomain,
    #[error("`{label}` is no label: 1 to 63 letters, digits and inner hyphens, and not `ns`")]
    Label { label: String },
    #[error("the cluster has no members")]
    Empty,
    #[error("some peer URLs are http and some https; members would find only a part of them")]
    MixedSchemes,
    #[error("peer URL `{url}` has a host that cannot be an SRV target")]
    Host { url: PeerUrl },
}

impl Clusters {
    /// None if there is no room for the names of members below `domain`.
    pub(super) fn new(domain: &Name, addresses: &[IpAddr], counters: &Counters) -> Option<Self> {
        // The longest name below it: member, label, and the dots and lengths between.
        const ROOM: usize = 64 + 64 + 8;
        if domain.is_root() || domain.len() + ROOM > Name::MAX_LENGTH {
            return None;
        }
        let addresses: Vec<IpAddr> =
            addresses.iter().copied().filter(|address| !address.is_unspecified()).collect();
        let mut domain = domain.clone();
        domain.set_fqdn(true);
        let head = Arc::new(Head::new(&domain, &addresses, 1)?);
        Some(Self {
            apex: Key::of(&domain),
            asked: counters.zone(&domain.to_ascii()),
            domain,
            addresses,
            serial: Mutex::new(1),
            shards: std::iter::repeat_with(Shard::default).take(SHARDS).collect(),
            head: ArcSwap::new(head),
            reverse: RwLock::new(BTreeMap::new()),
        })
    }

    pub(super) fn domain(&self) -> &Name {
        &self.domain
    }

    pub(super) fn apex(&self) -> &Key {
        &self.apex
    }

    /// The zone that knows about this name of the domain.
    pub(super) fn zone(&self, name: &Key) -> Arc<Zone> {
        let below = &name.as_bytes()[self.apex.as_bytes().len()..];
        let head = self.head.load();
        let label = below.split_first().map(|(&length, rest)| &rest[..usize::from(length)]);
        let entry = label.and_then(|label| Some((label, self.entry(label)?)));
        match entry {
            Some((label, entry)) => {
                let label = std::str::from_utf8(label).expect("labels of clusters are ASCII");
                Arc::new(self.assemble(label, entry.cluster.as_ref(), head.serial))
            }
            None => Arc::clone(&head.zone),
        }
    }

    /// How many labels the domain has, if a question is about it.
    pub(super) fn depth_over(&self, question: &Question) -> Option<usize> {
        let head = self.head.load();
        head.compiled.contains(question).then(|| head.compiled.depth())
    }

    /// The answer to a question about the domain, as far as it is written already.
    pub(super) fn answer(&self, response: &mut Response<'_>) -> Option<Rcode> {
        let head = self.head.load();
        let label = head.compiled.branch(response.question);
        let code = match label.and_then(|label| self.entry(label)) {
            Some(entry) => entry.answers.answer_below(&head.compiled, response),
            None => head.compiled.answer(response),
        };
        code.inspect(|_| self.count())
    }

    pub(super) fn count(&self) {
        self.asked.add();
    }

    pub(super) fn expect(&self, label: &str) -> Result<(), PublishError> {
        let label = legal(label)?;
        self.change(&label, |held| match held {
            Some(entry) => Some(entry.cluster.clone()),
            None => Some(None),
        });
        Ok(())
    }

    pub(super) fn publish(&self, label: &str, published: Published) -> Result<(), PublishError> {
        let label = legal(label)?;
        let new = records(&self.domain, &label, &published)?;
        self.change(&label, |held| {
            self.rename_addresses(&label, &self.records_of(&label, held), &new);
            Some(Some(published))
        });
        Ok(())
    }

    pub(super) fn unpublish(&self, label: &str) {
        let label = label.to_ascii_lowercase();
        self.change(&label, |held| {
            self.rename_addresses(&label, &self.records_of(&label, held), &[]);
            None
        });
    }

    pub(super) fn reverse(&self, name: &Name) -> Vec<Record> {
        let reverse = self.reverse.read();
        let holders = reverse.get(&Key::of(name)).map(Vec::as_slice).unwrap_or_default();
        let pointer = |(_, holder): &(String, Name)| {
            Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(holder.clone())))
        };
        holders.iter().take(NAMES_PER_ADDRESS).map(pointer).collect()
    }

    /// Replaces the entry of a label by what `edit` makes of it, and the serial by the next one.
    fn change(&self, label: &str, edit: impl FnOnce(Option<&Entry>) -> Option<Option<Published>>) {
        let shard = self.shard(label.as_bytes());
        let _one_at_a_time = shard.writer.lock();
        let mut labels = (*shard.labels.load_full()).clone();
        let changed = edit(labels.get(label).map(AsRef::as_ref));
        let mut serial = self.serial.lock();
        *serial = serial.wrapping_add(1);
        match changed {
            Some(cluster) => {
                let zone = self.assemble(label, cluster.as_ref(), *serial);
                let branch = Key::of(&below(&self.domain, &[label]));
                let answers = Compiled::below(&zone, &branch);
                labels.insert(label.into(), Arc::new(Entry { cluster, answers }));
            }
            None => drop(labels.remove(label)),
        }
        shard.labels.store(Arc::new(labels));
        let head = Head::new(&self.domain, &self.addresses, *serial);
        self.head.store(Arc::new(head.expect("the head has an SOA")));
    }

    /// The head of the domain and what belongs to one label.
    fn assemble(&self, label: &str, cluster: Option<&Published>, serial: u32) -> Zone {
        let mut all = head(&self.domain, &self.addresses, serial);
        all.extend(cluster.into_iter().flat_map(|cluster| {
            records(&self.domain, label, cluster).expect("it was published with these members")
        }));
        let services = SERVICES.map(|service| below(&self.domain, &[service, "_tcp", label]));
        Zone::assemble_with(all.iter(), &services).expect("the head has an SOA")
    }

    fn records_of(&self, label: &str, held: Option<&Entry>) -> Vec<Record> {
        let cluster = held.and_then(|entry| entry.cluster.as_ref());
        cluster.and_then(|cluster| records(&self.domain, label, cluster).ok()).unwrap_or_default()
    }

    fn entry(&self, label: &[u8]) -> Option<Arc<Entry>> {
        // Keys have their letters in lower case, and so has the list.
        let text = std::str::from_utf8(label).ok()?;
        self.shard(label).labels.load().get(text).cloned()
    }

    fn shard(&self, label: &[u8]) -> &Shard {
        let fold = |hash: usize, byte: &u8| {
            hash.wrapping_mul(31).wrapping_add(usize::from(byte.to_ascii_lowercase()))
        };
        &self.shards[label.iter().fold(0, fold) % SHARDS]
    }

    /// Takes the names that a cluster gave to its addresses away, and gives new ones.
    fn rename_addresses(&self, label: &str, old: &[Record], new: &[Record]) {
        let key = |record: &Record| Some(Key::of(&Name::from(record.data.ip_addr()?)));
        let mut reverse = self.reverse.write();
        for gone in old.iter().filter_map(key) {
            if let Some(holders) = reverse.get_mut(&gone) {
                holders.retain(|(held, _)| held != label);
                if holders.is_empty() {
                    reverse.remove(&gone);
                }
            }
        }
        for record in new {
            if let Some(key) = key(record) {
                reverse.entry(key).or_default().push((label.to_owned(), record.name.clone()));
            }
        }
    }
}

impl Head {
    fn new(domain: &Name, addresses: &[IpAddr], serial: u32) -> Option<Self> {
        let zone = Zone::assemble(head(domain, addresses, serial).iter())?;
        Some(Self { serial, compiled: Compiled::of(&zone), zone: Arc::new(zone) })
    }
}

/// The label in lower case.
fn legal(label: &str) -> Result<String, PublishError> {
    let lower = label.to_ascii_lowercase();
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let hyphens = lower.starts_with('-') || lower.ends_with('-');
    let fits = (1..=63).contains(&lower.len()) && lower.bytes().all(inner) && !hyphens;
    if !fits || lower == NAME_SERVER {
        return Err(PublishError::Label { label: label.to_owned() });
    }
    Ok(lower)
}

/// SOA and NS of the domain, and the addresses of this server.
fn head(domain: &Name, addresses: &[IpAddr], serial: u32) -> Vec<Record> {
    let server = below(domain, &[NAME_SERVER]);
    let hostmaster = below(domain, &["hostmaster"]);
    let soa = SOA::new(server.clone(), hostmaster, serial, 3_600, 600, 604_800, NEGATIVE_TTL);
    let mut records = vec![
        Record::from_rdata(domain.clone(), TTL, RData::SOA(soa)),
        Record::from_rdata(domain.clone(), TTL, RData::NS(NS(server.clone()))),
    ];
    records.extend(addresses.iter().map(|address| address_record(server.clone(), *address)));
    records
}

/// A name below the domain of the clusters.
fn below(domain: &Name, labels: &[&str]) -> Name {
    let name = Name::from_labels(labels.iter().map(|label| label.as_bytes()));
    name.and_then(|name| name.append_domain(domain))
        .expect("the domain was chosen short enough, the labels are legal")
}

fn address_record(name: Name, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    };
    Record::from_rdata(name, TTL, data)
}
