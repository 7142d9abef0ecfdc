use std::borrow::Cow;

use hickory_proto::op::{OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::TSIG;
use hickory_proto::rr::{Record, RecordType};
use hickory_proto::serialize::binary::BinEncodable;
use tracing::warn;

use crate::zone::{Answer, Encoder};

/// What is sent back for one message.
pub(super) enum Reply {
    /// Nothing: what came was no question.
    Silence,
    One(Vec<u8>),
    /// Several messages one after the other, over a stream only; made when the one before is sent.
    Many(Box<dyn Iterator<Item = Vec<u8>> + Send>),
}

/// What a reply has besides question and records.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) id: u16,
    pub(super) op_code: OpCode,
    pub(super) recursion_desired: bool,
    pub(super) checking_disabled: bool,
    pub(super) recursion_available: bool,
    pub(super) edns: Option<ReplyEdns>,
    pub(super) signature: Option<Box<Record<TSIG>>>,
    /// The most bytes the message may have.
    pub(super) limit: usize,
}

/// The OPT record of a reply (RFC 6891 §6.1.2).
#[derive(Debug, Default)]
pub(super) struct ReplyEdns {
    /// As it was asked (RFC 3225 §3); nothing else is copied.
    pub(super) dnssec_ok: bool,
    pub(super) options: Vec<(u16, Vec<u8>)>,
}

/// A message, and what the counters want to know of it.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) truncated: bool,
}

const HEADER: usize = 12;
/// TC, in the third byte of a header.
pub(super) const TRUNCATED: u8 = 0x02;

impl Frame {
    /// Only header, question and OPT record, with the request to come over TCP.
    pub(super) fn encode_slip(&self, question: Option<&Query>, code: ResponseCode) -> Vec<u8> {
        let mut bytes = self.encode(question, &Answer::bare(code)).bytes;
        bytes[2] |= TRUNCATED;
        bytes
    }

    /// Writes the message and keeps it within the limit.
    ///
    /// First sets go from the end of the additional section, whole ones and without a sign, unless
    /// they are glue (RFC 2181 §9, RFC 9471 §3.1). If that is not enough, the message says that it
    /// is truncated and has no records: a client may not use a part of a set anyway.
    pub(super) fn encode(&self, question: Option<&Query>, answer: &Answer<'_>) -> Encoded {
        let mut encoder = Encoder::after(vec![0; HEADER]);
        if let Some(question) = question {
            encoder.name(question.name());
            encoder.number(question.query_type().into());
            encoder.number(question.query_class().into());
        }
        let question_end = encoder.len();
        let (opt, signature) = (self.opt(answer.code), self.signature());
        let room = self.limit.saturating_sub(opt.len() + signature.len());
        let mut counts = [0_u16; 3];
        for record in &answer.answers {
            encoder.record(record);
        }
        for record in &answer.authority {
            encoder.record(record);
        }
        let mut truncated = encoder.len() > room;
        if truncated {
            encoder.truncate(question_end);
        } else {
            counts = [count(&answer.answers), count(&answer.authority), 0];
            for set in sets(&answer.additional) {
                let before = encoder.len();
                set.iter().for_each(|record| encoder.record(record));
                if encoder.len() > room {
                    encoder.truncate(before);
                    truncated = answer.needs_additional;
                    break;
                }
                counts[2] += count(set);
            }
        }
        encoder.raw(&opt);
        encoder.raw(&signature);
        counts[2] += u16::from(!opt.is_empty()) + u16::from(!signature.is_empty());
        let mut bytes = encoder.into_bytes();
        self.header(&mut bytes[..HEADER], answer, truncated, question.is_some(), counts);
        Encoded { bytes, truncated }
    }

    fn header(
        &self,
        out: &mut [u8],
        answer: &Answer<'_>,
        truncated: bool,
        has_question: bool,
        counts: [u16; 3],
    ) {
        let flag = |set: bool, bit: u32| u16::from(set) << bit;
        let flags = 0x8000
            | u16::from(u8::from(self.op_code)) << 11
            | flag(answer.authoritative, 10)
            | flag(truncated, 9)
            | flag(self.recursion_desired, 8)
            | flag(self.recursion_available, 7)
            | flag(self.checking_disabled, 4)
            | u16::from(answer.code) & 0xf;
        let numbers = [self.id, flags, u16::from(has_question), counts[0], counts[1], counts[2]];
        for (place, number) in out.chunks_exact_mut(2).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
    }

    pub(super) fn opt(&self, code: ResponseCode) -> Vec<u8> {
        let Some(edns) = &self.edns else {
            return Vec::new();
        };
        let mut bytes = vec![0];
        bytes.extend(u16::from(RecordType::OPT).to_be_bytes());
        bytes.extend(super::DATAGRAM_LIMIT.to_be_bytes());
        // The upper bits of the code, version 0, and the flags.
        let high = u8::try_from(u16::from(code) >> 4).unwrap_or_default();
        bytes.extend([high, 0, u8::from(edns.dnssec_ok) << 7, 0]);
        let length: usize = edns.options.iter().map(|(_, data)| 4 + data.len()).sum();
        bytes.extend(u16::try_from(length).expect("options are short").to_be_bytes());
        for (option, data) in &edns.options {
            bytes.extend(option.to_be_bytes());
            bytes.extend(u16::try_from(data.len()).expect("options are short").to_be_bytes());
            bytes.extend(data);
        }
        bytes
    }

    fn signature(&self) -> Vec<u8> {
        let Some(signature) = &self.signature else {
            return Vec::new();
        };
        signature.to_bytes().unwrap_or_else(|error| {
            warn!(error = %error, "signature cannot be written");
            Vec::new()
        })
    }
}

fn count(records: &[Cow<'_, Record>]) -> u16 {
    u16::try_from(records.len()).expect("so many records do not fit into a message")
}

/// Runs of records with one owner and type.
fn sets<'a, 'z>(records: &'a [Cow<'z, Record>]) -> impl Iterator<Item = &'a [Cow<'z, Record>]> {
    records
        .chunk_by(|one, other| one.name == other.name && one.record_type() == other.record_type())
}
