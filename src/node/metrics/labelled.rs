use prometheus::{
    IntCounterVec, IntGaugeVec, Registry, register_int_counter_vec_with_registry,
    register_int_gauge_vec_with_registry,
};

use crate::proto::etcdserverpb as pb;

/// etcd's words for a learner that is not promoted.
const NOT_READY: &str =
    "etcdserver: can only promote a learner member which is in sync with leader";

/// What happens seldom, by its labels, under etcd's names: a series is there once it has happened.
#[derive(Debug)]
pub struct Labelled {
    checks: IntGaugeVec,
    checks_done: IntCounterVec,
    alarms: IntGaugeVec,
    promotions_failed: IntCounterVec,
    stream_failures: IntCounterVec,
    known_peers: IntGaugeVec,
}

impl Labelled {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            register_int_gauge_vec_with_registry!(name, help, labels, registry)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register_int_counter_vec_with_registry!(name, help, labels, registry)
        };
        Ok(Self {
            checks: gauges(
                "etcd_server_healthcheck",
                "1 if the check passed when it was last asked for.",
                &["type", "name"],
            )?,
            checks_done: counters(
                "etcd_server_healthchecks_total",
                "Checks that were asked for.",
                &["type", "name", "status"],
            )?,
            alarms: gauges(
                "etcd_debugging_server_alarms",
                "1 for each alarm that is on.",
                &["server_id", "alarm_type"],
            )?,
            promotions_failed: counters(
                "etcd_server_learner_promote_failures",
                "Learners that this member, which led, found not ready to be promoted.",
                &["Reason"],
            )?,
            stream_failures: counters(
                "etcd_network_server_stream_failures_total",
                "Streams of clients that ended at a message that makes no sense.",
                &["Type", "API"],
            )?,
            known_peers: gauges(
                "etcd_network_known_peers",
                "Members that this member knows.",
                &["Local", "Remote"],
            )?,
        })
    }

    /// Notes a check of `/livez` or `/readyz`.
    pub fn checked(&self, page: &str, name: &str, passed: bool) {
        self.checks.with_label_values(&[page, name]).set(i64::from(passed));
        let status = if passed { "success" } else { "error" };
        self.checks_done.with_label_values(&[page, name, status]).inc();
    }

    /// Notes a stream of clients that broke off at what could not be read.
    pub fn stream_failed(&self, api: &str) {
        self.stream_failures.with_label_values(&["receive", api]).inc();
    }

    /// Notes that this member, which leads, refused to promote a learner.
    pub(in crate::node) fn learner_not_ready(&self) {
        self.promotions_failed.with_label_values(&[NOT_READY]).inc();
    }

    /// Fills in the alarms that are on and the members that are known; this one is among them, as in etcd.
    pub(in crate::node) fn refresh(
        &self,
        alarms: &[pb::AlarmMember],
        local: &str,
        members: &[String],
    ) {
        self.alarms.reset();
        for alarm in alarms {
            let member = format!("{:x}", alarm.member_id);
            self.alarms.with_label_values(&[&*member, alarm.alarm().as_str_name()]).set(1);
        }
        self.known_peers.reset();
        for member in members {
            self.known_peers.with_label_values(&[local, member]).set(1);
        }
    }
}
