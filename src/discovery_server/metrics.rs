use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::admission::{Founding, Registered, codes};
use crate::registry::{Counts, Outcome};

/// The format that [`Metrics::print`] writes.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the service counts.
#[derive(Debug)]
pub(super) struct Metrics {
    all: Registry,
    tokens: IntGaugeVec,
    commits: IntGauge,
    writable: IntGauge,
    registrations: IntCounterVec,
    refusals: IntCounterVec,
    waiters: IntGauge,
    page_streams: IntGauge,
    requests: HistogramVec,
    time_to_first: Histogram,
    time_to_full: Histogram,
}

impl Metrics {
    pub(super) fn new(all: Registry, commit_time: &Histogram) -> Self {
        let valid = "the names and labels of our metrics are well-formed";
        let opts = |name: &str, help: &str| Opts::new(format!("quorate_{name}"), help);
        let tokens = opts("tokens", "Tokens by state.");
        let commits = opts("registry_commits", "Transactions written since the start.");
        let writable = opts("registry_writable", "Whether the last write worked.");
        let registrations = opts("registrations_total", "Registrations by what became of them.");
        let refusals = opts("refusals_total", "Refusals by code.");
        let waiters = opts("waiters", "Long polls that wait now.");
        let page_streams = opts("page_streams", "Pages that follow their events now.");
        let requests = HistogramOpts::new(
            "quorate_http_request_duration_seconds",
            "Time to the head of the answer, by route.",
        )
        .buckets(vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0]);
        // From the first second to the longest life of a token.
        let age = |name: &str, help: &str| {
            let buckets = vec![1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0];
            HistogramOpts::new(format!("quorate_{name}"), help).buckets(buckets)
        };
        let first = age("token_first_member_seconds", "Age of a token at its first registration.");
        let full = age("token_full_seconds", "Age of a token when its cluster is complete.");
        let metrics = Self {
            all,
            time_to_first: Histogram::with_opts(first).expect(valid),
            time_to_full: Histogram::with_opts(full).expect(valid),
            tokens: IntGaugeVec::new(tokens, &["state"]).expect(valid),
            commits: IntGauge::with_opts(commits).expect(valid),
            writable: IntGauge::with_opts(writable).expect(valid),
            registrations: IntCounterVec::new(registrations, &["outcome"]).expect(valid),
            refusals: IntCounterVec::new(refusals, &["code"]).expect(valid),
            waiters: IntGauge::with_opts(waiters).expect(valid),
            page_streams: IntGauge::with_opts(page_streams).expect(valid),
            requests: HistogramVec::new(requests, &["route"]).expect(valid),
        };
        let collectors: [Box<dyn prometheus::core::Collector>; 10] = [
            Box::new(metrics.time_to_first.clone()),
            Box::new(metrics.time_to_full.clone()),
            Box::new(metrics.tokens.clone()),
            Box::new(metrics.commits.clone()),
            Box::new(metrics.writable.clone()),
            Box::new(metrics.registrations.clone()),
            Box::new(metrics.refusals.clone()),
            Box::new(metrics.waiters.clone()),
            Box::new(metrics.page_streams.clone()),
            Box::new(metrics.requests.clone()),
        ];
        for collector in collectors {
            metrics.all.register(collector).expect("our metrics have different names");
        }
        // A series that begins with its first event has no increase that an alert could see.
        for code in codes::CODES {
            metrics.refusals.with_label_values(&[code.code]);
        }
        for outcome in ["founder", "resumed", "surplus"] {
            metrics.registrations.with_label_values(&[outcome]);
        }
        let commit_time = Box::new(commit_time.clone());
        metrics.all.register(commit_time).expect("our metrics have different names");
        let process = prometheus::process_collector::ProcessCollector::for_self();
        metrics.all.register(Box::new(process)).expect("our metrics have different names");
        metrics
    }

    pub(super) fn registered(&self, outcome: Outcome, founding: &Founding, held: &Registered) {
        let age = Duration::from_millis(held.at.0.saturating_sub(founding.created_at.0));
        if outcome == Outcome::Sealed {
            self.time_to_full.observe(age.as_secs_f64());
        }
        if matches!(outcome, Outcome::Founded | Outcome::Sealed) && founding.founders.len() == 1 {
            self.time_to_first.observe(age.as_secs_f64());
        }
        let outcome = match outcome {
            Outcome::Founded | Outcome::Sealed => "founder",
            Outcome::Resumed => "resumed",
            Outcome::Surplus => "surplus",
        };
        self.registrations.with_label_values(&[outcome]).inc();
    }

    pub(super) fn refused(&self, code: &str) {
        self.refusals.with_label_values(&[code]).inc();
    }

    /// How many long polls and watches wait now.
    pub(super) fn waiters(&self) -> &IntGauge {
        &self.waiters
    }

    pub(super) fn waiting(&self) -> u64 {
        u64::try_from(self.waiters.get()).unwrap_or(0)
    }

    pub(super) fn page_streams(&self) -> IntGauge {
        self.page_streams.clone()
    }

    pub(super) fn answered(&self, route: &str, took: Duration) {
        self.requests.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// All metrics in the text format.
    pub(super) fn print(&self, counts: Counts, writable: bool) -> String {
        self.writable.set(i64::from(writable));
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for (state, count) in [
            ("open", counts.open),
            ("full", counts.full),
            ("expired", counts.expired),
            ("revoked", counts.revoked),
        ] {
            self.tokens.with_label_values(&[state]).set(gauge(count));
        }
        self.commits.set(gauge(counts.commits));
        TextEncoder::new()
            .encode_to_string(&self.all.gather())
            .expect("the text encoder writes into memory")
    }
}
