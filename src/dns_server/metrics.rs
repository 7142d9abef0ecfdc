use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};
use prometheus::{IntCounterVec, Opts, Registry};

use super::asker::Transport;

/// Threads that count in places of their own, so that none waits for another's cache line. More
/// threads share them.
const LANES: usize = 16;
const TRANSPORTS: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];
/// Clients choose types freely, so only the usual ones get a series.
const KINDS: [(&str, RecordType); 10] = [
    ("A", RecordType::A),
    ("AAAA", RecordType::AAAA),
    ("ANY", RecordType::ANY),
    ("CNAME", RecordType::CNAME),
    ("MX", RecordType::MX),
    ("NS", RecordType::NS),
    ("PTR", RecordType::PTR),
    ("SOA", RecordType::SOA),
    ("SRV", RecordType::SRV),
    ("TXT", RecordType::TXT),
];
/// What comes after the types in a row of counters.
const OTHER_KIND: usize = KINDS.len();
const NO_KIND: usize = KINDS.len() + 1;
const CODES: [(&str, ResponseCode); 8] = [
    ("NOERROR", ResponseCode::NoError),
    ("FORMERR", ResponseCode::FormErr),
    ("SERVFAIL", ResponseCode::ServFail),
    ("NXDOMAIN", ResponseCode::NXDomain),
    ("NOTIMP", ResponseCode::NotImp),
    ("REFUSED", ResponseCode::Refused),
    ("NOTAUTH", ResponseCode::NotAuth),
    ("BADVERS", ResponseCode::BADVERS),
];
/// Upper bounds of the time from a question to its answer, in microseconds.
const BOUNDS: [u64; 11] = [10, 25, 50, 100, 250, 500, 1_000, 5_000, 25_000, 100_000, 1_000_000];

/// What the service counts: questions, answers and the time between.
#[derive(Debug, Clone)]
pub struct Counters(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lanes: Vec<Lane>,
    zones: Mutex<BTreeMap<String, ZoneCount>>,
    descriptions: Vec<Desc>,
}

/// The counters of one thread.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane {
    requests: [[AtomicU64; KINDS.len() + 2]; TRANSPORTS.len()],
    codes: [AtomicU64; CODES.len() + 1],
    truncated: AtomicU64,
    limited: AtomicU64,
    times: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

/// How many questions one zone has answered.
#[derive(Debug, Clone, Default)]
pub(super) struct ZoneCount(Arc<[Spread; LANES]>);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Spread(AtomicU64);

/// What is counted of one answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// None for a message without a question that can be answered.
    pub(super) kind: Option<RecordType>,
    pub(super) code: ResponseCode,
    pub(super) truncated: bool,
}

fn lane() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % LANES;
    }
    OWN.with(|own| *own)
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

impl ZoneCount {
    pub(super) fn add(&self) {
        add(&self.0[lane()].0, 1);
    }

    fn sum(&self) -> u64 {
        self.0.iter().map(|spread| spread.0.load(Ordering::Relaxed)).sum()
    }
}

impl Counters {
    pub fn new() -> Self {
        let names = |name: &str, help: &str| {
            Desc::new(name.into(), help.into(), vec![], BTreeMap::new().into_iter().collect())
        };
        let descriptions = [names("quorate_dns", "DNS service.").expect("the name is legal")];
        Self(Arc::new(Inner {
            lanes: std::iter::repeat_with(Lane::default).take(LANES).collect(),
            zones: Mutex::default(),
            descriptions: descriptions.into(),
        }))
    }

    /// Shows the counters in a registry; fails only if they are in it already.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.clone()))
    }

    pub(super) fn zone(&self, origin: &str) -> ZoneCount {
        let mut zones = self.0.zones.lock();
        zones.entry(origin.to_owned()).or_default().clone()
    }

    pub(super) fn answered(&self, transport: Transport, outcome: Outcome) {
        let lane = &self.0.lanes[lane()];
        let row = TRANSPORTS.iter().position(|known| *known == transport).unwrap_or_default();
        let kind = match outcome.kind {
            Some(kind) => KINDS.iter().position(|(_, known)| *known == kind).unwrap_or(OTHER_KIND),
            None => NO_KIND,
        };
        add(&lane.requests[row][kind], 1);
        let code = CODES.iter().position(|(_, known)| *known == outcome.code);
        add(&lane.codes[code.unwrap_or(CODES.len())], 1);
        if outcome.truncated {
            add(&lane.truncated, 1);
        }
    }

    /// An answer was dropped or cut short, because its client has had too many.
    pub(super) fn limited(&self) {
        add(&self.0.lanes[lane()].limited, 1);
    }

    /// So many questions that came together were answered in this time each.
    pub(super) fn took(&self, time: Duration, questions: usize) {
        let lane = &self.0.lanes[lane()];
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let questions = questions as u64;
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        add(&lane.times[bucket], questions);
        add(&lane.microseconds, micros.saturating_mul(questions));
    }

    fn sum(&self, counter: impl Fn(&Lane) -> &AtomicU64) -> u64 {
        self.0.lanes.iter().map(|lane| counter(lane).load(Ordering::Relaxed)).sum()
    }

    fn times(&self) -> MetricFamily {
        let counts: Vec<u64> =
            (0..=BOUNDS.len()).map(|index| self.sum(|lane| &lane.times[index])).collect();
        let mut so_far = 0;
        let mut bucket = |(bound, count): (&u64, &u64)| {
            so_far += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / 1e6);
            bucket.set_cumulative_count(so_far);
            bucket
        };
        let mut histogram = Histogram::default();
        histogram.set_bucket(BOUNDS.iter().zip(&counts).map(&mut bucket).collect());
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(self.sum(|lane| &lane.microseconds) as f64 / 1e6);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        let mut family = MetricFamily::default();
        family.set_name("quorate_dns_duration_seconds".to_owned());
        family.set_help("Time from a DNS request to its response.".to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        family
    }
}

/// Counters with labels, as they are now; those that never counted are left out.
fn family(
    name: &str,
    help: &str,
    labels: &[&str],
    counted: impl Iterator<Item = (Vec<String>, u64)>,
) -> Vec<MetricFamily> {
    let vector =
        IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels are legal");
    for (values, count) in counted.filter(|(_, count)| *count > 0) {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        vector.with_label_values(&values).inc_by(count);
    }
    vector.collect()
}

impl Collector for Counters {
    fn desc(&self) -> Vec<&Desc> {
        self.0.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let kinds = || KINDS.iter().map(|(label, _)| *label).chain(["other", "none"]).enumerate();
        let requests = TRANSPORTS.iter().enumerate().flat_map(|(row, transport)| {
            kinds().map(move |(kind, label)| {
                let labels = vec![transport.label().to_owned(), label.to_owned()];
                (labels, self.sum(|lane| &lane.requests[row][kind]))
            })
        });
        let codes = CODES.iter().map(|(label, _)| *label).chain(["other"]).enumerate();
        let codes = codes
            .map(|(index, label)| (vec![label.to_owned()], self.sum(|lane| &lane.codes[index])));
        let zones = self.0.zones.lock();
        let zones = zones.iter().map(|(origin, count)| (vec![origin.clone()], count.sum()));
        let zones: Vec<_> = zones.collect();
        let alone = |count| std::iter::once((Vec::new(), count));
        let mut families = Vec::new();
        families.extend(family(
            "quorate_dns_requests_total",
            "DNS requests by transport and question type.",
            &["transport", "type"],
            requests,
        ));
        families.extend(family(
            "quorate_dns_responses_total",
            "DNS responses by response code.",
            &["code"],
            codes,
        ));
        families.extend(family(
            "quorate_dns_zone_requests_total",
            "DNS requests by the zone that answered.",
            &["zone"],
            zones.into_iter(),
        ));
        families.extend(family(
            "quorate_dns_truncated_total",
            "DNS responses that sent the client to TCP.",
            &[],
            alone(self.sum(|lane| &lane.truncated)),
        ));
        families.extend(family(
            "quorate_dns_limited_total",
            "DNS responses that were dropped or cut short because one client asked too much.",
            &[],
            alone(self.sum(|lane| &lane.limited)),
        ));
        families.push(self.times());
        families
    }
}

pub(super) fn code_label(code: ResponseCode) -> &'static str {
    CODES.iter().find(|(_, known)| *known == code).map_or("other", |(label, _)| label)
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}
