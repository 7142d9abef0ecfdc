use std::time::Duration;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{DNSClass, RecordType};

use super::asker::{Asker, Transport};
use super::cookies::{Cookies, Standing};

/// A connection without a question for so long is closed (RFC 7766 §6.2.3).
pub(super) const IDLE: Duration = Duration::from_secs(10);
pub(super) const NSID: u16 = 3;
pub(super) const COOKIE: u16 = 10;
pub(super) const KEEPALIVE: u16 = 11;
/// Why an answer is what it is (RFC 8914).
const EXPLANATION: u16 = 15;

/// Codes of explanations (RFC 8914 §4).
const PROHIBITED: u16 = 18;
const NOT_AUTHORITATIVE: u16 = 20;
const NOT_SUPPORTED: u16 = 21;
const NO_REACHABLE_AUTHORITY: u16 = 22;

/// What the options of a request ask for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted<'r> {
    pub(super) cookie: Option<&'r [u8]>,
    /// The client has shown a cookie that it got at its address.
    pub(super) known: bool,
    /// An option has a length that it cannot have.
    pub(super) malformed: bool,
    pub(super) nsid: bool,
    /// Only streams are kept alive (RFC 7828 §3.2.1).
    pub(super) keepalive: bool,
}

/// Reads the options that mean something here; others are passed over (RFC 6891 §6.1.2).
pub(super) fn read<'r>(request: &'r Message, asker: Asker, cookies: &Cookies) -> Wanted<'r> {
    let mut wanted = Wanted::default();
    let Some(edns) = &request.edns else { return wanted };
    for (code, option) in edns.options().as_ref() {
        match (code, option) {
            (EdnsCode::Cookie, EdnsOption::Unknown(_, cookie)) => {
                match cookies.judge(cookie, asker.address.ip()) {
                    Standing::Malformed => wanted.malformed = true,
                    standing => {
                        wanted.cookie = Some(cookie);
                        wanted.known = standing == Standing::Good;
                    }
                }
            }
            (EdnsCode::NSID, _) => wanted.nsid = true,
            (EdnsCode::Keepalive, EdnsOption::Unknown(_, time)) => {
                // A client has no time-out to tell (RFC 7828 §3.2.1).
                let stream = asker.transport != Transport::Udp;
                wanted.malformed |= stream && !time.is_empty();
                wanted.keepalive = stream;
            }
            _ => {}
        }
    }
    wanted
}

/// How long a stream may be idle, in tenths of a second.
pub(super) fn keepalive() -> Vec<u8> {
    let tenths = u16::try_from(IDLE.as_millis() / 100).expect("idle time is a matter of seconds");
    tenths.to_be_bytes().to_vec()
}

/// The reason of a refusal, for people who read what `dig` prints.
pub(super) fn explain(
    request: &Message,
    code: ResponseCode,
    may_recurse: bool,
) -> Option<(u16, Vec<u8>)> {
    let foreign_class = request
        .queries
        .iter()
        .any(|query| !matches!(query.query_class(), DNSClass::IN | DNSClass::ANY));
    let query = request.metadata.op_code == OpCode::Query;
    let transfer = request
        .queries
        .iter()
        .any(|query| matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR));
    let (number, text) = match code {
        ResponseCode::Refused if !query => (PROHIBITED, "zones are not changed from outside"),
        ResponseCode::Refused if transfer => (PROHIBITED, "zones are not handed out to you"),
        ResponseCode::Refused if foreign_class => (NOT_SUPPORTED, "only class IN is served"),
        ResponseCode::Refused if request.metadata.recursion_desired && !may_recurse => {
            (NOT_AUTHORITATIVE, "no zone here, and other servers are not asked for you")
        }
        ResponseCode::Refused => (NOT_AUTHORITATIVE, "no zone here has this name"),
        ResponseCode::NotImp => (NOT_SUPPORTED, "this operation is not served"),
        ResponseCode::ServFail => (NO_REACHABLE_AUTHORITY, "no upstream server answers"),
        _ => return None,
    };
    Some((EXPLANATION, [&number.to_be_bytes()[..], text.as_bytes()].concat()))
}
