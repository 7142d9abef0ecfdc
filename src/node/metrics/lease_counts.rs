use prometheus::{
    Histogram, IntCounter, Registry, exponential_buckets, register_histogram_with_registry,
    register_int_counter_with_registry,
};

/// What is counted of leases, under etcd's names.
#[derive(Debug)]
pub(in crate::node) struct LeaseCounts {
    granted: IntCounter,
    ttls: Histogram,
    pub(in crate::node) revoked: IntCounter,
    pub(in crate::node) renewed: IntCounter,
    pub(in crate::node) expired: IntCounter,
}

impl LeaseCounts {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter =
            |name: &str, help: &str| register_int_counter_with_registry!(name, help, registry);
        Ok(Self {
            granted: counter("etcd_debugging_lease_granted_total", "Leases granted.")?,
            ttls: register_histogram_with_registry!(
                "etcd_debugging_lease_ttl_total",
                "Seconds of leases granted.",
                exponential_buckets(1.0, 2.0, 24)?,
                registry
            )?,
            revoked: counter("etcd_debugging_lease_revoked_total", "Leases revoked.")?,
            renewed: counter("etcd_debugging_lease_renewed_total", "Renewals seen by the leader.")?,
            expired: counter(
                "etcd_debugging_server_lease_expired_total",
                "Leases revoked because their time was up.",
            )?,
        })
    }

    pub(in crate::node) fn granted(&self, ttl_seconds: i64) {
        self.granted.inc();
        self.ttls.observe(ttl_seconds as f64);
    }
}
