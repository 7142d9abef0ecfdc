use std::time::Duration;

use prometheus::{
    Histogram, HistogramVec, Registry, exponential_buckets, register_histogram_vec_with_registry,
};

use crate::apply::{Error, Outcome};

/// How long requests take to be applied, by what they ask for and whether they get it. The apply thread owns it.
#[derive(Debug)]
pub(in crate::node) struct ApplyTimes {
    durations: HistogramVec,
    /// Looked up once: a series is there from its first request on, as in etcd.
    known: Vec<(&'static str, bool, Histogram)>,
}

impl ApplyTimes {
    pub(in crate::node) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let durations = register_histogram_vec_with_registry!(
            "etcd_server_apply_duration_seconds",
            "Time to apply a request that is committed.",
            &["version", "op", "success"],
            exponential_buckets(0.0001, 2.0, 20)?,
            registry
        )?;
        Ok(Self { durations, known: Vec::new() })
    }

    /// Notes one request. That a revision is compacted already is no failure, as in etcd.
    pub(in crate::node) fn observe(&mut self, outcome: &Outcome, took: Duration) {
        let success = matches!(outcome.response, Ok(_) | Err(Error::Compacted));
        let seconds = took.as_secs_f64();
        let same = |(op, done, _): &&(&str, bool, Histogram)| *op == outcome.op && *done == success;
        if let Some((_, _, histogram)) = self.known.iter().find(same) {
            histogram.observe(seconds);
            return;
        }
        let label = if success { "true" } else { "false" };
        let histogram = self.durations.with_label_values(&["v3", outcome.op, label]);
        histogram.observe(seconds);
        self.known.push((outcome.op, success, histogram));
    }
}
