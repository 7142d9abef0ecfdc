use super::order::{Dice, shuffle};
use super::question::{Edns, HEADER, Question};

/// An OPT record: the root as its owner, then the type.
const OPT_TYPE: [u8; 3] = [0, 0, 41];
/// Sets of more servers keep their order here; sorting them would cost more than they are asked.
const SHUFFLED: usize = 16;

/// What the server can do for one client over one transport.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// Others can be asked (RA).
    pub recursion_available: bool,
    /// Bytes that a message may have without and with EDNS; a stream has one limit for both.
    pub plain_limit: u16,
    pub edns_limit: u16,
    /// The size in our OPT record.
    pub offered: u16,
}

/// The response codes of written answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rcode {
    NoError,
    NxDomain,
}

/// A question of the usual shape, and where its answer goes.
#[derive(Debug)]
pub struct Response<'a> {
    /// The message that `question` was read from.
    pub packet: &'a [u8],
    pub question: &'a Question,
    pub capabilities: Capabilities,
    pub dice: &'a mut Dice,
    /// The answer is appended as a whole or not at all.
    pub out: &'a mut Vec<u8>,
}

impl Response<'_> {
    /// Whether so many bytes of records may stand between the question and the OPT record.
    pub(super) fn has_room(&self, length: usize) -> bool {
        let Capabilities { plain_limit, edns_limit, .. } = self.capabilities;
        self.question.has_room(length, plain_limit, edns_limit)
    }

    /// Appends header and question. `counts` are those of the answer, the authority and the additional section,
    /// without the OPT record.
    pub(super) fn begin(&mut self, authoritative: bool, code: Rcode, counts: [u16; 3]) {
        let Self { packet, question, capabilities, out, .. } = self;
        let code = if code == Rcode::NxDomain { 3 } else { 0 };
        // QR and AA, RD as it came; RA, CD as it came.
        let high = 0x80 | u8::from(authoritative) << 2 | packet[2] & 0x01;
        let low = u8::from(capabilities.recursion_available) << 7 | packet[3] & 0x10 | code;
        out.extend_from_slice(&[packet[0], packet[1], high, low, 0, 1]);
        let [answers, authority, additional] = counts;
        for count in [answers, authority, additional + u16::from(question.edns.is_some())] {
            out.extend_from_slice(&count.to_be_bytes());
        }
        out.extend_from_slice(&packet[HEADER..question.end()]);
    }

    /// Appends records of which the first `count` are servers of the asked name, in changing order.
    pub(super) fn put_servers(&mut self, bytes: &[u8], count: usize) {
        if !(2..=SHUFFLED).contains(&count) {
            self.out.extend_from_slice(bytes);
            return;
        }
        // Nothing points into these records, so they can stand in any order.
        let mut records: [&[u8]; SHUFFLED] = [&[]; SHUFFLED];
        let mut rest = bytes;
        for record in &mut records[..count] {
            // Owner as a pointer, type, class, TTL, and the length of the data.
            let length = 12 + usize::from(u16::from_be_bytes([rest[10], rest[11]]));
            (*record, rest) = rest.split_at(length);
        }
        let number = |record: &[u8], at: usize| u16::from_be_bytes([record[at], record[at + 1]]);
        let rank = |record: &&[u8]| (number(record, 12), number(record, 14));
        shuffle(&mut records[..count], rank, self.dice);
        records[..count].iter().for_each(|record| self.out.extend_from_slice(record));
        self.out.extend_from_slice(rest);
    }

    /// Appends our own OPT record, if the question had one.
    pub(super) fn end(&mut self) {
        if let Some(Edns { dnssec_ok, .. }) = self.question.edns {
            let [size0, size1] = self.capabilities.offered.to_be_bytes();
            self.out.extend_from_slice(&OPT_TYPE);
            let flags = u8::from(dnssec_ok) << 7;
            self.out.extend_from_slice(&[size0, size1, 0, 0, flags, 0, 0, 0]);
        }
    }
}
