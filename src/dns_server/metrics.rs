use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::handler::Transport;

/// What the service counts. Questions without a well-formed message are not among them.
#[derive(Debug)]
pub struct Counters {
    requests: IntCounterVec,
    responses: IntCounterVec,
    truncated: IntCounter,
}

impl Counters {
    pub fn new() -> Self {
        let vector = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels are legal")
        };
        Self {
            requests: vector(
                "quorate_dns_requests_total",
                "DNS requests by transport and question type.",
                &["transport", "type"],
            ),
            responses: vector(
                "quorate_dns_responses_total",
                "DNS responses by response code.",
                &["code"],
            ),
            truncated: IntCounter::new(
                "quorate_dns_truncated_total",
                "DNS responses that sent the client to TCP.",
            )
            .expect("the name is legal"),
        }
    }

    /// Shows the counters in a registry; fails only if they are in it already.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.requests.clone()))?;
        registry.register(Box::new(self.responses.clone()))?;
        registry.register(Box::new(self.truncated.clone()))
    }

    pub(super) fn asked(&self, transport: Transport, kind: Option<RecordType>) {
        self.requests.with_label_values(&[transport.label(), label(kind)]).inc();
    }

    pub(super) fn answered(&self, code: ResponseCode, truncated: bool) {
        let code = match code {
            ResponseCode::NoError => "NOERROR",
            ResponseCode::ServFail => "SERVFAIL",
            ResponseCode::NXDomain => "NXDOMAIN",
            ResponseCode::Refused => "REFUSED",
            ResponseCode::FormErr => "FORMERR",
            ResponseCode::NotImp => "NOTIMP",
            ResponseCode::NotAuth => "NOTAUTH",
            ResponseCode::BADVERS => "BADVERS",
            _ => "other",
        };
        self.responses.with_label_values(&[code]).inc();
        if truncated {
            self.truncated.inc();
        }
    }
}

/// Clients choose types freely, so only the usual ones get a series.
fn label(kind: Option<RecordType>) -> &'static str {
    match kind {
        Some(RecordType::A) => "A",
        Some(RecordType::AAAA) => "AAAA",
        Some(RecordType::SRV) => "SRV",
        Some(RecordType::CNAME) => "CNAME",
        Some(RecordType::TXT) => "TXT",
        Some(RecordType::PTR) => "PTR",
        Some(RecordType::NS) => "NS",
        Some(RecordType::SOA) => "SOA",
        Some(RecordType::MX) => "MX",
        Some(RecordType::ANY) => "ANY",
        Some(_) => "other",
        None => "none",
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}
