use hickory_proto::rr::Record;

use super::question::HEADER;
use super::response::Response;
use crate::zone::encode::Encoder;

/// The SOA record as it stands in the authority section, written for the apex as the question.
#[derive(Debug, Clone)]
pub(super) struct Negative {
    bytes: Vec<u8>,
    /// Where pointers are; they move with the length of the question.
    pointers: Vec<usize>,
}

impl Negative {
    pub(super) fn of(soa: &Record) -> Self {
        let mut encoder = Encoder::after(vec![0; HEADER]);
        encoder.name(&soa.name);
        encoder.raw(&[0; 4]);
        let start = encoder.len();
        encoder.record(soa);
        let bytes = encoder.bytes()[start..].to_vec();
        Self { pointers: pointers(&bytes), bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends the record; the zone's name has `apex` bytes.
    pub(super) fn put(&self, apex: usize, response: &mut Response<'_>) {
        let out = &mut *response.out;
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let moved = response.question.name().len() - apex;
        let moved = u16::try_from(moved).expect("names have at most 255 bytes");
        for at in &self.pointers {
            let pointer = &mut out[start + at..start + at + 2];
            let target = u16::from_be_bytes([pointer[0], pointer[1]]) + moved;
            pointer.copy_from_slice(&target.to_be_bytes());
        }
    }
}

/// Where the pointers of an SOA record are: in its owner and in the two names of its data.
fn pointers(bytes: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut name = |mut at: usize| loop {
        match bytes[at] {
            0 => return at + 1,
            length @ 0..0xc0 => at += 1 + usize::from(length),
            _ => {
                found.push(at);
                return at + 2;
            }
        }
    };
    let data = name(0) + 10;
    let second = name(data);
    name(second);
    found
}
