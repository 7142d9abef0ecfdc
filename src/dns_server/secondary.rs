//! What secondary servers ask besides questions: whole zones, notices, and signed messages.

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_proto::serialize::binary::BinEncodable;
use tracing::info;

use super::asker::{Asker, Transport};
use super::handler::{Handler, frame};
use super::metrics::Outcome;
use super::reply::{Reply, TRUNCATED};
use super::transfer::{self, Messages, Transfers};
use super::tsig::{self, Signed, Signer};
use crate::zone::Answer;

impl Handler {
    /// The reply, if the request is one of another server, or signed, and not a plain question.
    /// Unless other servers were named nothing is: then these requests are refused like others.
    pub(super) async fn reply_to_server(
        &self,
        request: &Message,
        packet: &[u8],
        asker: Asker,
    ) -> Option<Reply> {
        let transfers = self.catalog.transfers()?;
        let keys = transfers.keys.as_slice();
        // Without keys nobody's signature is known, which is said where questions are judged.
        let signed = match keys {
            [] if request.signature.is_some() => return None,
            keys => tsig::verify(keys, request, packet),
        };
        let signer = match signed {
            Signed::Not => None,
            Signed::By(signer) => Some(signer),
            Signed::Late(signer) => {
                let bytes = code_only(request, asker, ResponseCode::NotAuth);
                return Some(self.tell(request, packet, asker, sign(bytes, Some(signer))));
            }
            Signed::Wrong(context) => {
                let mut bytes = code_only(request, asker, ResponseCode::NotAuth);
                tsig::refuse(context, &mut bytes);
                return Some(self.tell(request, packet, asker, bytes));
            }
        };
        if let (OpCode::Query, [query]) = (request.metadata.op_code, request.queries.as_slice())
            && matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR)
        {
            return Some(self.transfer(request, packet, query, asker, (transfers, signer)));
        }
        if request.metadata.op_code == OpCode::Notify {
            let bytes = self.notice(request, asker, transfers, signer.is_some());
            return Some(self.tell(request, packet, asker, sign(bytes, signer)));
        }
        let signer = signer?;
        let mut plain = request.clone();
        plain.signature = None;
        let plain = plain.to_bytes().ok()?;
        let Reply::One(bytes) = Box::pin(self.reply(&plain, asker)).await else {
            return Some(Reply::Silence);
        };
        let limit = frame(request, asker.transport, false).limit;
        let mut bytes = sign(bytes, Some(signer.clone()));
        if bytes.len() > limit {
            // Asked again over a stream, where there is room for the signature.
            bytes = code_only(request, asker, ResponseCode::NoError);
            bytes[2] |= TRUNCATED;
            bytes = sign(bytes, Some(signer));
        }
        Some(Reply::One(bytes))
    }

    /// Counts an answer of one message, and sends it as far as its client may have more.
    fn tell(&self, request: &Message, packet: &[u8], asker: Asker, bytes: Vec<u8>) -> Reply {
        let kind = request.queries.first().map(Query::query_type);
        let code = ResponseCode::from(0, bytes[3] & 0xf);
        self.counters.answered(asker.transport, Outcome { kind, code, truncated: false });
        self.send(asker, packet.len(), false, bytes, None)
    }

    fn transfer(
        &self,
        request: &Message,
        packet: &[u8],
        query: &Query,
        asker: Asker,
        (transfers, signer): (&Transfers, Option<Box<Signer>>),
    ) -> Reply {
        let stream = asker.transport != Transport::Udp;
        let may = transfers.allows(asker.address.ip(), signer.is_some());
        let zone = self.catalog.zone_of_file(query.name());
        let zone = match zone {
            // A datagram has no room for a zone (RFC 5936 §4.2).
            _ if !may || !stream && query.query_type() == RecordType::AXFR => {
                Err(ResponseCode::Refused)
            }
            Some(zone) => Ok(zone),
            None => Err(ResponseCode::NotAuth),
        };
        let zone = match zone {
            Ok(zone) => zone,
            Err(code) => {
                let bytes = sign(code_only(request, asker, code), signer);
                return self.tell(request, packet, asker, bytes);
            }
        };
        let records = transfer::records(&zone, request, stream, self.catalog.journal());
        info!(
            client = %asker.address,
            zone.origin = %zone.origin(),
            zone.serial = zone.serial(),
            records = records.len(),
            "zone transferred"
        );
        let opt = frame(request, asker.transport, false).opt(ResponseCode::NoError);
        let mut messages = Messages::new(request, records, opt, signer);
        if !stream {
            let bytes = messages.next().unwrap_or_default();
            return self.tell(request, packet, asker, bytes);
        }
        let outcome = Outcome {
            kind: Some(query.query_type()),
            code: ResponseCode::NoError,
            truncated: false,
        };
        self.counters.answered(asker.transport, outcome);
        Reply::Many(Box::new(messages))
    }

    /// A notice is answered and does nothing: what is served here comes from files, which are looked
    /// at all the time (RFC 1996 §3.7).
    fn notice(
        &self,
        request: &Message,
        asker: Asker,
        transfers: &Transfers,
        signed: bool,
    ) -> Vec<u8> {
        let client = asker.address.ip();
        let known = transfers.allows(client, signed)
            || transfers.notify.iter().any(|server| server.ip() == client);
        match request.queries.as_slice() {
            _ if !known => code_only(request, asker, ResponseCode::Refused),
            [query] if self.catalog.zone_of_file(query.name()).is_some() => {
                let mut bytes = code_only(request, asker, ResponseCode::NoError);
                bytes[2] |= AUTHORITATIVE;
                bytes
            }
            [_] => code_only(request, asker, ResponseCode::NotAuth),
            _ => code_only(request, asker, ResponseCode::FormErr),
        }
    }
}

/// AA, in the third byte of a header.
const AUTHORITATIVE: u8 = 0x04;

fn sign(mut bytes: Vec<u8>, signer: Option<Box<Signer>>) -> Vec<u8> {
    if let Some(mut signer) = signer {
        signer.sign(&mut bytes);
    }
    bytes
}

/// Header, question and OPT record.
fn code_only(request: &Message, asker: Asker, code: ResponseCode) -> Vec<u8> {
    let mut frame = frame(request, asker.transport, false);
    frame.signature = None;
    frame.encode(request.queries.first(), &Answer::bare(code)).bytes
}
