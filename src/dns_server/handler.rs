use std::borrow::Cow;
use std::sync::Arc;

use hickory_proto::op::{Edns, Header, HeaderCounts, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::TSIG;
use hickory_proto::rr::rdata::tsig::TsigError;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::{MessageRequest, MessageResponseBuilder};
use tracing::debug;

use super::catalog::Catalog;
use super::fit::{Frame, fit};
use super::forward::Forwarder;
use super::metrics::Counters;
use crate::local::{Found, Names};
use crate::zone::Answer;

/// The largest datagram that is sent, and that we say we take: it passes every usual link
/// without being cut into fragments (RFC 9715).
const DATAGRAM_LIMIT: u16 = 1232;
/// What fits into a datagram for a client that does not say (RFC 1035 §4.2.1).
const PLAIN_LIMIT: u16 = 512;

/// Answers requests from the catalog.
#[derive(Debug)]
pub(super) struct Handler {
    pub(super) catalog: Arc<Catalog>,
    pub(super) counters: Arc<Counters>,
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut out: R,
    ) -> ResponseInfo {
        let client = request.src().ip();
        let forwarder = self.catalog.forwarder().filter(|forwarder| forwarder.allows(client));
        let mut frame = Frame {
            metadata: Metadata::response_from_request(&request.metadata),
            edns: request.edns.as_ref().map(reply_edns),
            limit: match request.protocol() {
                Protocol::Udp => request.edns.as_ref().map_or(PLAIN_LIMIT, |edns| {
                    edns.max_payload().clamp(PLAIN_LIMIT, DATAGRAM_LIMIT)
                }),
                _ => u16::MAX,
            },
        };
        frame.metadata.recursion_available = forwarder.is_some();
        // Who asks not to be led elsewhere is not.
        let forwarder = forwarder.filter(|_| request.metadata.recursion_desired);
        let question = judge(request);
        self.counters.asked(request.protocol(), question.as_ref().ok().map(|(_, kind)| *kind));
        let zone = match &question {
            Ok((name, _)) => self.catalog.find(name),
            Err(_) => None,
        };
        let local = self.catalog.local();
        let answer = match (question, &zone) {
            (Err(code), _) => Answer::bare(code),
            (Ok((name, kind)), zone) => {
                let answer = zone.as_ref().map(|zone| zone.lookup(name, kind));
                match self.with_reverse(name, kind, answer) {
                    Some(answer) => answer,
                    None => say(&local, forwarder, name, kind).await,
                }
            }
        };
        let (frame, answer) = fit(frame, answer, &request.queries);
        self.counters.answered(frame.metadata.response_code, frame.metadata.truncation);
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &frame.edns {
            builder.edns(edns);
        }
        let mut response = builder.build(
            frame.metadata,
            answer.answers.iter().map(Cow::as_ref),
            answer.authority.iter().map(Cow::as_ref),
            [],
            answer.additional.iter().map(Cow::as_ref),
        );
        if let Some(signature) = unknown_key(request) {
            response.set_signature(signature);
        }
        match out.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                // The client is gone; there is nobody to tell.
                debug!(client = %request.src(), error = %error, "answer not sent");
                Header { metadata: frame.metadata, counts: HeaderCounts::default() }.into()
            }
        }
    }
}

impl Handler {
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

/// The one question of a request that we answer, or the code that says why not.
fn judge(request: &MessageRequest) -> Result<(&Name, RecordType), ResponseCode> {
    if request.version() > 0 {
        return Err(ResponseCode::BADVERS);
    }
    match request.metadata.op_code {
        OpCode::Query => {}
        OpCode::Notify | OpCode::Update => return Err(ResponseCode::Refused),
        _ => return Err(ResponseCode::NotImp),
    }
    let [question] = request.queries.queries() else {
        return Err(ResponseCode::FormErr);
    };
    if request.additionals.iter().any(is_tsig) {
        return Err(ResponseCode::NotAuth);
    }
    if !matches!(question.query_class(), DNSClass::IN | DNSClass::ANY) {
        return Err(ResponseCode::Refused);
    }
    match question.query_type() {
        // Zones are not handed out.
        RecordType::AXFR | RecordType::IXFR => Err(ResponseCode::Refused),
        RecordType::OPT | RecordType::ZERO => Err(ResponseCode::FormErr),
        kind => Ok((question.original().name(), kind)),
    }
}

/// Version 0, our own size, DO as it was asked (RFC 3225 §3), nothing else copied.
fn reply_edns(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(DATAGRAM_LIMIT).set_dnssec_ok(asked.flags().dnssec_ok);
    edns
}

fn is_tsig(record: &Record) -> bool {
    matches!(record.data, RData::TSIG(_))
}

/// The signature record that says we have no such key (RFC 8945 §5.2.1); itself unsigned.
fn unknown_key(request: &MessageRequest) -> Option<Box<Record<TSIG>>> {
    let record = request.additionals.iter().find(|record| is_tsig(record))?;
    let RData::TSIG(asked) = &record.data else {
        return None;
    };
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
