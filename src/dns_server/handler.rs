use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::TSIG;
use hickory_proto::rr::rdata::tsig::TsigError;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::asker::{Asker, Transport};
use super::catalog::Catalog;
use super::forward::Forwarder;
use super::limit::{Limiter, Verdict};
use super::metrics::{Counters, Outcome};
use super::options::{self, Wanted};
use super::reply::{Frame, Reply, ReplyEdns, TRUNCATED};
use super::settings::Settings;
use super::{DATAGRAM_LIMIT, PLAIN_LIMIT};
use crate::local::{Found, Names};
use crate::zone::{Answer, Capabilities, Dice, Question, Rcode, Response, shuffle};

/// Answers messages from the catalog, whatever they came over.
#[derive(Debug)]
pub(super) struct Handler {
    pub(super) catalog: Arc<Catalog>,
    pub(super) counters: Counters,
    pub(super) settings: Settings,
    pub(super) limiter: Limiter,
}

/// What one thread or connection keeps from question to question.
#[derive(Debug)]
pub(super) struct Scratch {
    question: Question,
    dice: Dice,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { question: Question::new(), dice: Dice::new(rand::random()) }
    }
}

impl Handler {
    /// Appends the answer to `out`, if it is one of those that are written beforehand. Otherwise
    /// nothing is appended and [`reply`](Self::reply) has to be asked.
    pub(super) fn answer_at_once(
        &self,
        packet: &[u8],
        asker: Asker,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> bool {
        let Scratch { question, dice } = scratch;
        if !question.read(packet) {
            return false;
        }
        let client = asker.address.ip();
        let (plain_limit, edns_limit) = match asker.transport {
            Transport::Udp => (PLAIN_LIMIT, DATAGRAM_LIMIT),
            Transport::Tcp | Transport::Tls => (u16::MAX, u16::MAX),
        };
        let capabilities = Capabilities {
            recursion_available: self.forwarder(client).is_some(),
            plain_limit,
            edns_limit,
            offered: DATAGRAM_LIMIT,
        };
        let start = out.len();
        let mut response = Response { packet, question, capabilities, dice, out };
        let mut code = self.catalog.answer(&mut response);
        if code.is_none() && capabilities.recursion_available {
            code = self.catalog.answer_from_cache(&mut response);
        }
        let Some(code) = code else { return false };
        if asker.transport == Transport::Udp {
            match self.limiter.judge(client, packet.len(), out.len() - start) {
                Verdict::Send => {}
                verdict => {
                    self.counters.limited();
                    let slip = verdict == Verdict::Slip;
                    cut(&mut out[start..], question.end());
                    out.truncate(if slip { start + question.end() } else { start });
                }
            }
        }
        let code = match code {
            Rcode::NoError => ResponseCode::NoError,
            Rcode::NxDomain => ResponseCode::NXDomain,
        };
        let kind = Some(RecordType::from(question.kind()));
        self.counters.answered(asker.transport, Outcome { kind, code, truncated: false });
        self.note(asker, &out[start..]);
        true
    }

    /// What is sent back for the message `packet`. It waits only if others have to be asked.
    pub(super) async fn reply(&self, packet: &[u8], asker: Asker) -> Reply {
        let request = match read(packet) {
            Read::Request(request) => request,
            Read::Refused(bytes) => {
                let outcome = Outcome { kind: None, code: ResponseCode::FormErr, truncated: false };
                self.counters.answered(asker.transport, outcome);
                return self.send(asker, packet.len(), false, bytes, None);
            }
            Read::NoQuestion => return Reply::Silence,
        };
        if let Some(reply) = self.reply_to_server(&request, packet, asker).await {
            return reply;
        }
        let client = asker.address.ip();
        // Before anything is looked up, so that what changes meanwhile is seen as younger.
        let state = self.catalog.state();
        let forwarder = self.forwarder(client);
        let wanted = options::read(&request, asker, &self.settings.cookies);
        let mut frame = frame(&request, asker.transport, forwarder.is_some());
        // Who asks not to be led elsewhere is not.
        let asked_elsewhere = forwarder.filter(|_| request.metadata.recursion_desired);
        let judged = match wanted.malformed {
            true => Err(ResponseCode::FormErr),
            false => judge(&request),
        };
        let kind = judged.as_ref().ok().map(|(_, kind)| *kind);
        let zone = judged.as_ref().ok().and_then(|(name, _)| self.catalog.find(name));
        let local = self.catalog.local();
        let mut answer = match (judged, &zone) {
            (Err(code), _) => Answer::bare(code),
            (Ok((name, kind)), zone) => {
                let answer = zone.as_ref().map(|zone| zone.lookup(name, kind));
                zone.iter().for_each(|zone| self.catalog.count(zone));
                match self.with_reverse(name, kind, answer) {
                    Some(answer) => answer,
                    None => answer_outside_zones(&local, asked_elsewhere, state, name, kind).await,
                }
            }
        };
        let question = request.queries.first();
        if let Some(question) = question {
            mirror(question, &mut answer);
        }
        vary(&mut answer);
        self.add_options(&mut frame, wanted, &request, &answer, forwarder.is_some(), client);
        let encoded = frame.encode(question, &answer);
        let outcome = Outcome { kind, code: answer.code, truncated: encoded.truncated };
        self.counters.answered(asker.transport, outcome);
        let slip = || frame.encode_slip(question, answer.code);
        self.send(asker, packet.len(), wanted.known, encoded.bytes, Some(&slip))
    }

    fn forwarder(&self, client: IpAddr) -> Option<&Forwarder> {
        self.catalog.forwarder().filter(|forwarder| forwarder.allows(client))
    }

    /// Sends an answer, or what its client may have of it.
    pub(super) fn send(
        &self,
        asker: Asker,
        asked: usize,
        known: bool,
        bytes: Vec<u8>,
        slip: Option<&dyn Fn() -> Vec<u8>>,
    ) -> Reply {
        let verdict = match asker.transport {
            Transport::Udp if !known => self.limiter.judge(asker.address.ip(), asked, bytes.len()),
            _ => Verdict::Send,
        };
        let reply = match (verdict, slip) {
            (Verdict::Send, _) => Reply::One(bytes),
            (Verdict::Slip, Some(slip)) => Reply::One(slip()),
            _ => Reply::Silence,
        };
        if verdict != Verdict::Send {
            self.counters.limited();
        }
        match &reply {
            Reply::One(bytes) => self.note(asker, bytes),
            _ => self.note(asker, &[]),
        }
        reply
    }

    fn note(&self, asker: Asker, answer: &[u8]) {
        if let Some(log) = &self.settings.query_log {
            log.note(asker, answer);
        }
    }

    fn add_options(
        &self,
        frame: &mut Frame,
        wanted: Wanted<'_>,
        request: &Message,
        answer: &Answer<'_>,
        may_recurse: bool,
        client: IpAddr,
    ) {
        let Some(edns) = &mut frame.edns else { return };
        if let Some(cookie) = wanted.cookie {
            edns.options.push((options::COOKIE, self.settings.cookies.give(cookie, client)));
        }
        if let (true, Some(nsid)) = (wanted.nsid, &self.settings.nsid) {
            edns.options.push((options::NSID, nsid.as_bytes().to_vec()));
        }
        if wanted.keepalive {
            edns.options.push((options::KEEPALIVE, options::keepalive()));
        }
        edns.options.extend(options::explain(request, answer.code, may_recurse));
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

/// The answer about a name of no zone: from local names, or else from the upstream servers that may be asked.
///
/// `state` is that of the catalog before anything was looked up.
async fn answer_outside_zones<'n>(
    local: &'n Names,
    forwarder: Option<&Forwarder>,
    state: u64,
    name: &Name,
    kind: RecordType,
) -> Answer<'n> {
    let (known, addresses) = match local.lookup(name, kind) {
        Found::Answer(answer) => return answer,
        Found::Empty { addresses } => (true, addresses),
        Found::Unknown => (false, false),
    };
    let nothing = Answer { authoritative: true, ..Answer::bare(ResponseCode::NoError) };
    // The addresses of a name are here or nowhere: a half of them from elsewhere would be another host.
    let complete = match kind {
        RecordType::A | RecordType::AAAA => addresses,
        kind => known && kind == RecordType::ANY,
    };
    match forwarder {
        Some(forwarder) if !complete => {
            let answer =
                forwarder.ask(name, kind, local.servers(name), (!known).then_some(state)).await;
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

pub(super) fn frame(request: &Message, transport: Transport, recursion_available: bool) -> Frame {
    let offered = request.edns.as_ref().map(|edns| edns.max_payload());
    let limit = match transport {
        Transport::Udp => {
            offered.map_or(PLAIN_LIMIT, |size| size.clamp(PLAIN_LIMIT, DATAGRAM_LIMIT))
        }
        Transport::Tcp | Transport::Tls => u16::MAX,
    };
    // In other operations these bits have other meanings, or none.
    let query = request.metadata.op_code == OpCode::Query;
    Frame {
        id: request.metadata.id,
        op_code: request.metadata.op_code,
        recursion_desired: query && request.metadata.recursion_desired,
        checking_disabled: query && request.metadata.checking_disabled,
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
        // Who may have whole zones was answered before.
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

/// Puts servers into an order that spreads clients over them (RFC 2782).
fn vary(answer: &mut Answer<'_>) {
    let rank = |record: &Cow<'_, Record>| match &record.data {
        RData::SRV(srv) => (srv.priority, srv.weight),
        _ => (0, 0),
    };
    // A chain of aliases comes before them.
    let first = answer.answers.iter().position(|record| record.record_type() == RecordType::SRV);
    if let Some(first) = first.filter(|first| answer.answers.len() - first > 1) {
        shuffle(&mut answer.answers[first..], rank, &mut Dice::new(rand::random()));
    }
}

/// Makes an answer one that has only its header and question and asks for TCP.
fn cut(answer: &mut [u8], question_end: usize) {
    debug_assert!(answer.len() >= question_end);
    answer[2] |= TRUNCATED;
    answer[6..12].fill(0);
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
