use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::TSIG;
use hickory_proto::rr::rdata::tsig::TsigError;
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::catalog::Catalog;
use super::forward::Forwarder;
use super::metrics::Counters;
use super::reply::{Frame, Reply, ReplyEdns};
use super::{DATAGRAM_LIMIT, PLAIN_LIMIT};
use crate::local::{Found, Names};
use crate::zone::Answer;

/// Answers messages from the catalog, whatever they came over.
#[derive(Debug)]
pub(super) struct Handler {
    pub(super) catalog: Arc<Catalog>,
    pub(super) counters: Arc<Counters>,
}

/// Who asks, and over what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) address: SocketAddr,
    pub(super) transport: Transport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

impl Handler {
    /// What is sent back for the message `packet`. It waits only if others have to be asked.
    pub(super) async fn reply(&self, packet: &[u8], asker: Asker) -> Reply {
        let request = match read(packet) {
            Read::Request(request) => request,
            Read::Refused(bytes) => {
                self.counters.asked(asker.transport, None);
                self.counters.answered(ResponseCode::FormErr, false);
                return Reply::One(bytes);
            }
            Read::NoQuestion => return Reply::Silence,
        };
        let client = asker.address.ip();
        let forwarder = self.catalog.forwarder().filter(|forwarder| forwarder.allows(client));
        let frame = frame(&request, asker.transport, forwarder.is_some());
        // Who asks not to be led elsewhere is not.
        let forwarder = forwarder.filter(|_| request.metadata.recursion_desired);
        let question = judge(&request);
        self.counters.asked(asker.transport, question.as_ref().ok().map(|(_, kind)| *kind));
        let zone = match &question {
            Ok((name, _)) => self.catalog.find(name),
            Err(_) => None,
        };
        let local = self.catalog.local();
        let mut answer = match (question, &zone) {
            (Err(code), _) => Answer::bare(code),
            (Ok((name, kind)), zone) => {
                let answer = zone.as_ref().map(|zone| zone.lookup(name, kind));
                match self.with_reverse(name, kind, answer) {
                    Some(answer) => answer,
                    None => say(&local, forwarder, name, kind).await,
                }
            }
        };
        let question = request.queries.first();
        if let Some(question) = question {
            mirror(question, &mut answer);
        }
        let encoded = frame.encode(question, &answer);
        self.counters.answered(answer.code, encoded.truncated);
        Reply::One(encoded.bytes)
    }

    /// Adds what published clusters know about an address, if no zone file has it. None if neither
    /// has to do with the name.
    fn with_reverse<'z>(
        &self,
        name: &Name,
        kind: RecordType,
        answer: Option<Answer<'z>>,
    ) -> Option<Answer<'z>> {
        let known = answer
            .as_ref()
            .is_some_and(|answer| !answer.answers.is_empty() || !answer.authoritative);
        let pointers = if known { Vec::new() } else { self.catalog.reverse(name, kind) };
        if pointers.is_empty() {
            return answer;
        }
        Some(Answer {
            authoritative: true,
            answers: pointers.into_iter().map(Cow::Owned).collect(),
            ..Answer::bare(ResponseCode::NoError)
        })
    }
}

/// What local names say, or else the servers that may be asked.
async fn say<'n>(
    local: &'n Names,
    forwarder: Option<&Forwarder>,
    name: &Name,
    kind: RecordType,
) -> Answer<'n> {
    let known = match local.lookup(name, kind) {
        Found::Answer(answer) => return answer,
        Found::Empty => true,
        Found::Unknown => false,
    };
    let nothing = Answer { authoritative: true, ..Answer::bare(ResponseCode::NoError) };
    // The addresses of a name are here or nowhere: a half of them from elsewhere would be another host.
    let complete = known && matches!(kind, RecordType::A | RecordType::AAAA | RecordType::ANY);
    match forwarder {
        Some(forwarder) if !complete => {
            let answer = forwarder.ask(name, kind, local.servers(name)).await;
            match answer.code {
                ResponseCode::NXDomain | ResponseCode::Refused if known => nothing,
                _ => answer,
            }
        }
        _ if known => nothing,
        _ => Answer::bare(ResponseCode::Refused),
    }
}

enum Read {
    Request(Message),
    /// It cannot be read further than its header; this is what is sent back.
    Refused(Vec<u8>),
    /// Too short for a header, or itself a response: an answer could go back and forth forever.
    NoQuestion,
}

fn read(packet: &[u8]) -> Read {
    const HEADER: usize = 12;
    let Some(&[id0, id1, flags, _, queries0, queries1, ..]) = packet.get(..HEADER) else {
        return Read::NoQuestion;
    };
    if flags & 0x80 != 0 {
        return Read::NoQuestion;
    }
    let code_only = |code: ResponseCode| {
        let code = u8::try_from(u16::from(code)).unwrap_or_default();
        let mut bytes = vec![id0, id1, 0x80 | flags & 0x79, code];
        bytes.resize(HEADER, 0);
        Read::Refused(bytes)
    };
    // So many questions are not even read.
    if queries0 > 0 || queries1 > 1 {
        return code_only(ResponseCode::FormErr);
    }
    match Message::read(&mut BinDecoder::new(packet)) {
        Ok(message) if message.metadata.message_type == MessageType::Query => {
            Read::Request(message)
        }
        Ok(_) => Read::NoQuestion,
        Err(_malformed) => code_only(ResponseCode::FormErr),
    }
}

fn frame(request: &Message, transport: Transport, recursion_available: bool) -> Frame {
    let offered = request.edns.as_ref().map(|edns| edns.max_payload());
    let limit = match transport {
        Transport::Udp => {
            offered.map_or(PLAIN_LIMIT, |size| size.clamp(PLAIN_LIMIT, DATAGRAM_LIMIT))
        }
        Transport::Tcp => u16::MAX,
    };
    Frame {
        id: request.metadata.id,
        op_code: request.metadata.op_code,
        recursion_desired: request.metadata.recursion_desired,
        checking_disabled: request.metadata.checking_disabled,
        recursion_available,
        edns: request
            .edns
            .as_ref()
            .map(|edns| ReplyEdns { dnssec_ok: edns.flags().dnssec_ok, options: Vec::new() }),
        signature: unknown_key(request),
        limit: limit.into(),
    }
}

/// The one question of a request that we answer, or the code that says why not.
fn judge(request: &Message) -> Result<(&Name, RecordType), ResponseCode> {
    if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return Err(ResponseCode::BADVERS);
    }
    match request.metadata.op_code {
        OpCode::Query => {}
        OpCode::Notify | OpCode::Update => return Err(ResponseCode::Refused),
        _ => return Err(ResponseCode::NotImp),
    }
    let [question] = request.queries.as_slice() else {
        return Err(ResponseCode::FormErr);
    };
    if request.signature.is_some() {
        return Err(ResponseCode::NotAuth);
    }
    if !matches!(question.query_class(), DNSClass::IN | DNSClass::ANY) {
        return Err(ResponseCode::Refused);
    }
    match question.query_type() {
        // Zones are not handed out.
        RecordType::AXFR | RecordType::IXFR => Err(ResponseCode::Refused),
        RecordType::OPT | RecordType::ZERO => Err(ResponseCode::FormErr),
        kind => Ok((question.name(), kind)),
    }
}

/// Gives the owners that were asked for the letter case of the question, so that they become a
/// pointer to it.
fn mirror(question: &Query, answer: &mut Answer<'_>) {
    let asked = question.name();
    for record in &mut answer.answers {
        if record.name == *asked && !record.name.eq_case(asked) {
            record.to_mut().name = asked.clone();
        }
    }
}

/// The signature record that says we have no such key (RFC 8945 §5.2.1); itself unsigned.
fn unknown_key(request: &Message) -> Option<Box<Record<TSIG>>> {
    let record = request.signature.as_ref()?;
    let asked = &record.data;
    let answer = TSIG::new(
        asked.algorithm.clone(),
        asked.time,
        asked.fudge,
        Vec::new(),
        request.metadata.id,
        Some(TsigError::BadKey),
        Vec::new(),
    );
    let mut record = Record::from_rdata(record.name.clone(), 0, answer);
    record.dns_class = DNSClass::ANY;
    Some(Box::new(record))
}
