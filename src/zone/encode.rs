use hickory_proto::rr::{Name, RData, Record};
use hickory_proto::serialize::binary::BinEncodable;

/// Pointers have fourteen bits (RFC 1035 §4.1.4).
const FARTHEST: usize = 0x3fff;
/// Names beyond these are written in full; a message with so many is a long list of other names.
const REMEMBERED: usize = 256;

/// Writes records in wire form, names compressed where every reader expects it.
///
/// Names in the data of SRV and younger types stay whole (RFC 2782, RFC 3597 §4) and nothing points
/// into them, so that the records of an SRV set can change places later.
#[derive(Debug)]
pub struct Encoder {
    bytes: Vec<u8>,
    suffixes: Vec<Suffix>,
}

/// A place of the message where a name, or the end of one, can be pointed to.
#[derive(Debug, Clone, Copy)]
struct Suffix {
    at: u16,
    hash: u32,
}

impl Encoder {
    /// Continues a message; nothing points into what is there already.
    pub fn after(bytes: Vec<u8>) -> Self {
        Self { bytes, suffixes: Vec::new() }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes back everything from `length` on.
    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
        self.suffixes.retain(|suffix| usize::from(suffix.at) < length);
    }

    /// Appends bytes that contain no name to point to.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn number(&mut self, number: u16) {
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }

    /// A name, the end of it replaced by a pointer where the message has that end already.
    pub fn name(&mut self, name: &Name) {
        let labels: Vec<&[u8]> = name.iter().collect();
        // Of each end of the name, the longest first.
        let mut hashes = vec![0_u32; labels.len()];
        let mut hash = 0;
        for (label, slot) in labels.iter().zip(&mut hashes).rev() {
            hash = extend(hash, label);
            *slot = hash;
        }
        for (index, label) in labels.iter().enumerate() {
            if let Some(at) = self.find(hashes[index], &labels[index..]) {
                self.number(0xc000 | at);
                return;
            }
            if self.bytes.len() <= FARTHEST && self.suffixes.len() < REMEMBERED {
                let at = u16::try_from(self.bytes.len()).expect("it is below the farthest");
                self.suffixes.push(Suffix { at, hash: hashes[index] });
            }
            self.label(label);
        }
        self.bytes.push(0);
    }

    /// A record as it is sent, its name and data compressed.
    pub fn record(&mut self, record: &Record) {
        self.name(&record.name);
        self.number(record.record_type().into());
        self.number(record.dns_class.into());
        self.raw(&record.ttl.to_be_bytes());
        let length_at = self.bytes.len();
        self.number(0);
        self.data(&record.data);
        let length = self.bytes.len() - length_at - 2;
        let length = u16::try_from(length).expect("data was read with a length of two bytes");
        self.bytes[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    fn data(&mut self, data: &RData) {
        match data {
            RData::A(address) => self.raw(&address.octets()),
            RData::AAAA(address) => self.raw(&address.octets()),
            RData::SRV(srv) => {
                self.number(srv.priority);
                self.number(srv.weight);
                self.number(srv.port);
                self.whole_name(&srv.target);
            }
            RData::NS(name) => self.name(&name.0),
            RData::CNAME(name) => self.name(&name.0),
            RData::PTR(name) => self.name(&name.0),
            RData::MX(mx) => {
                self.number(mx.preference);
                self.name(&mx.exchange);
            }
            RData::SOA(soa) => {
                self.name(&soa.mname);
                self.name(&soa.rname);
                self.raw(&soa.serial.to_be_bytes());
                for time in [soa.refresh, soa.retry, soa.expire] {
                    self.raw(&time.to_be_bytes());
                }
                self.raw(&soa.minimum.to_be_bytes());
            }
            // Their names are never compressed, so the data does not depend on where it stands.
            other => match other.to_bytes() {
                Ok(bytes) => self.raw(&bytes),
                Err(_too_long) => unreachable!("data that was read can be written"),
            },
        }
    }

    fn whole_name(&mut self, name: &Name) {
        for label in name {
            self.label(label);
        }
        self.bytes.push(0);
    }

    fn label(&mut self, label: &[u8]) {
        self.bytes.push(u8::try_from(label.len()).expect("labels have at most 63 bytes"));
        self.bytes.extend_from_slice(label);
    }

    fn find(&self, hash: u32, labels: &[&[u8]]) -> Option<u16> {
        let mut candidates = self.suffixes.iter().filter(|suffix| suffix.hash == hash);
        candidates.find(|suffix| self.has_at(suffix.at.into(), labels)).map(|suffix| suffix.at)
    }

    /// Whether the name at this place of the message is the one of these labels.
    fn has_at(&self, mut at: usize, labels: &[&[u8]]) -> bool {
        for label in labels {
            let mut length = usize::from(self.bytes[at]);
            // Pointers here are our own: they lead to a label further up.
            while length >= 0xc0 {
                at = (length & 0x3f) << 8 | usize::from(self.bytes[at + 1]);
                length = usize::from(self.bytes[at]);
            }
            if !self.bytes[at + 1..at + 1 + length].eq_ignore_ascii_case(label) {
                return false;
            }
            at += 1 + length;
        }
        let mut last = usize::from(self.bytes[at]);
        while last >= 0xc0 {
            at = (last & 0x3f) << 8 | usize::from(self.bytes[at + 1]);
            last = usize::from(self.bytes[at]);
        }
        last == 0
    }
}

/// The hash of a name from that of its parent; the letter case does not count.
fn extend(parent: u32, label: &[u8]) -> u32 {
    label.iter().fold(parent.wrapping_add(0x9e37_79b9), |hash, byte| {
        (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193).rotate_left(5)
    })
}
