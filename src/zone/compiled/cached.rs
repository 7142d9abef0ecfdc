use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, Record, RecordType};

use super::question::HEADER;
use super::response::{Rcode, Response};
use crate::zone::encode::Encoder;
use crate::zone::lookup::Answer;

/// What others answered to one question of the usual shape, as bytes; its times count down.
#[derive(Debug, Clone)]
pub struct Cached {
    code: Rcode,
    answers: u16,
    authority: u16,
    /// All answers are servers of the asked name, so they can stand in any order.
    servers: bool,
    bytes: Box<[u8]>,
}

impl Cached {
    /// The answer and for how many seconds it may be given; none for one that is not to be kept.
    pub fn of(name: &Name, kind: RecordType, answer: &Answer<'_>) -> Option<(Self, u32)> {
        let code = match answer.code {
            ResponseCode::NoError => Rcode::NoError,
            ResponseCode::NXDomain => Rcode::NxDomain,
            _ => return None,
        };
        let records = || answer.answers.iter().chain(&answer.authority);
        let life = records().map(|record| record.ttl).min().filter(|life| *life > 0)?;
        let mut encoder = Encoder::after(vec![0; HEADER]);
        encoder.name(name);
        encoder.number(kind.into());
        encoder.number(1);
        let start = encoder.len();
        records().for_each(|record| encoder.record(record));
        // What does not fit into a message would have to be cut each time.
        u16::try_from(encoder.len()).ok()?;
        let servers =
            |record: &Record| record.record_type() == RecordType::SRV && record.name == *name;
        let cached = Self {
            code,
            answers: u16::try_from(answer.answers.len()).ok()?,
            authority: u16::try_from(answer.authority.len()).ok()?,
            servers: answer.answers.iter().all(|record| servers(record)),
            bytes: encoder.bytes()[start..].into(),
        };
        Some((cached, life))
    }

    /// Writes the answer as it is after `age` seconds; none if it is too long.
    pub fn answer(&self, age: u32, response: &mut Response<'_>) -> Option<Rcode> {
        if !response.has_room(self.bytes.len()) {
            return None;
        }
        response.begin(false, self.code, [self.answers, self.authority, 0]);
        let start = response.out.len();
        match self.servers {
            true => response.put_servers(&self.bytes, self.answers.into()),
            false => response.out.extend_from_slice(&self.bytes),
        }
        grow_older(&mut response.out[start..], age);
        response.end();
        Some(self.code)
    }
}

/// Takes `age` from the TTL of each of these records.
fn grow_older(records: &mut [u8], age: u32) {
    let mut at = 0;
    while at < records.len() {
        at = after_name(records, at);
        let (head, _) = records[at..].split_at_mut(10);
        if let [_, _, _, _, ttl @ .., length0, length1] = head {
            let left = ttl.iter().fold(0, |ttl, byte| ttl << 8 | u32::from(*byte));
            ttl.copy_from_slice(&left.saturating_sub(age).to_be_bytes());
            at += 10 + usize::from(u16::from_be_bytes([*length0, *length1]));
        }
    }
}

/// Where the name that begins `at` ends; these are our own bytes, and whole.
fn after_name(bytes: &[u8], mut at: usize) -> usize {
    loop {
        match bytes[at] {
            0 => return at + 1,
            0xc0.. => return at + 2,
            length => at += 1 + usize::from(length),
        }
    }
}
