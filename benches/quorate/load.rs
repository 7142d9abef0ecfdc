use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

/// What one measurement saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    pub(crate) requests: usize,
    pub(crate) failures: usize,
    pub(crate) seconds: f64,
    /// Of the server.
    pub(crate) cpu_seconds: f64,
    latencies: Vec<Duration>,
}

impl Sample {
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    pub(crate) fn cpu_micros(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.requests.max(1) as f64
    }

    /// In milliseconds.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        #[expect(clippy::cast_possible_truncation, reason = "an index below the length")]
        let at = (sorted.len() as f64 * share) as usize;
        sorted.get(at.min(sorted.len().saturating_sub(1))).map_or(0.0, |d| d.as_secs_f64() * 1e3)
    }

    /// Counts one more, which took that long.
    pub(crate) fn note(&mut self, took: Duration) {
        self.requests += 1;
        self.latencies.push(took);
    }

    /// Adds what others saw at that time, or what came after it.
    pub(crate) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.failures += other.failures;
        self.seconds += other.seconds;
        self.cpu_seconds += other.cpu_seconds;
        self.latencies.extend(other.latencies);
    }
}

/// Keeps `in_flight` requests open for `span`; `request` gets its worker's number and a counter.
pub(crate) async fn run<F, Fut>(in_flight: usize, span: Duration, request: F) -> Sample
where
    F: Fn(usize, usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = bool> + Send,
{
    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = JoinSet::new();
    let started = Instant::now();
    for worker in 0..in_flight {
        let (stop, request) = (Arc::clone(&stop), request.clone());
        workers.spawn(async move {
            let mut sample = Sample::default();
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let sent = Instant::now();
                if request(worker, number).await {
                    sample.requests += 1;
                    sample.latencies.push(sent.elapsed());
                } else {
                    sample.failures += 1;
                }
            }
            sample
        });
    }
    tokio::time::sleep(span).await;
    stop.store(true, Ordering::Relaxed);
    let mut total = Sample::default();
    while let Some(sample) = workers.join_next().await {
        total.add(sample.unwrap());
    }
    total.seconds = started.elapsed().as_secs_f64();
    total
}

/// The same until `disturbing` has ended and `span` has passed after that; also gives its answer.
pub(crate) async fn run_while<T, F, Fut>(
    in_flight: usize,
    span: Duration,
    disturbing: tokio::task::JoinHandle<T>,
    request: F,
) -> (Sample, T)
where
    F: Fn(usize, usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = bool> + Send,
{
    let mut total = Sample::default();
    let mut disturbing = disturbing;
    loop {
        let ended = disturbing.is_finished();
        total.add(run(in_flight, span, request.clone()).await);
        if ended {
            return (total, (&mut disturbing).await.unwrap());
        }
    }
}

pub(crate) fn http_client() -> reqwest::Client {
    // Installed once; later calls find it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().pool_max_idle_per_host(256).build().unwrap()
}
