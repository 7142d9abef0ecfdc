use prometheus::IntGauge;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::TlsServer;

/// When the certificate of a port ends, as a metric.
#[derive(Debug)]
pub struct Expiry {
    gauge: IntGauge,
    server: TlsServer,
}

impl Expiry {
    pub fn new(name: &str, server: TlsServer) -> Self {
        let help = "When the certificate in use ends, in seconds since 1970.";
        let gauge = IntGauge::new(name, help).expect("the caller names the metric by its rules");
        Self { gauge, server }
    }
}

impl Collector for Expiry {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauge.set(self.server.not_after());
        self.gauge.collect()
    }
}
