use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::frames::{DATA, Frame, Frames, HEADERS, PREFIX};
use super::load::Sample;

/// What one worker asks.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) message: Vec<u8>,
    /// An answer of fewer bytes is none.
    pub(crate) least: usize,
}

/// How a stream is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// A call for every message.
    Unary,
    /// One call of a worker for all of its messages.
    Streaming,
}

/// A method under load.
#[derive(Debug, Clone)]
pub(crate) struct Load<F> {
    /// Such as `KV/Put`.
    pub(crate) method: &'static str,
    pub(crate) usage: Use,
    pub(crate) in_flight: usize,
    pub(crate) span: Duration,
    /// From the number of a worker and how often it has asked.
    pub(crate) ask: F,
}

/// Keeps `in_flight` requests open for `span`, on `connections` for each endpoint.
///
/// Believes a message to be an answer, and an end without one to be a refusal.
pub(crate) async fn run<F>(endpoints: &[String], connections: usize, load: Load<F>) -> Sample
where
    F: Fn(usize, usize) -> Ask + Clone + Send + 'static,
{
    let count = endpoints.len() * connections;
    let mut opened = Vec::new();
    for at in 0..count.min(load.in_flight) {
        let frames = Frames::open(&endpoints[at % endpoints.len()], load.method).await;
        let idle = (at..load.in_flight).step_by(count).map(|number| (number, 0)).collect();
        let (load, open, sample) = (load.clone(), HashMap::new(), Sample::default());
        opened.push(Connection { frames, load, idle, open, sample });
    }
    let begun = Instant::now();
    let mut running: JoinSet<Sample> =
        opened.into_iter().map(|connection| connection.run(begun)).collect();
    let mut total = Sample::default();
    while let Some(sample) = running.join_next().await {
        total.add(sample.unwrap());
    }
    total.seconds = begun.elapsed().as_secs_f64();
    total
}

/// An open request.
#[derive(Debug)]
struct Open {
    /// The worker and how often it has asked.
    worker: (usize, usize),
    sent: Instant,
    least: usize,
    /// Bytes of the answer, with what is before the message.
    received: usize,
}

struct Connection<F> {
    frames: Frames,
    load: Load<F>,
    /// Workers that have nothing open, and how often they have asked.
    idle: Vec<(usize, usize)>,
    open: HashMap<u32, Open>,
    sample: Sample,
}

impl<F> Connection<F>
where
    F: Fn(usize, usize) -> Ask + Clone + Send + 'static,
{
    async fn run(mut self, begun: Instant) -> Sample {
        let end = begun + self.load.span;
        loop {
            if Instant::now() < end {
                self.ask();
            }
            if self.open.is_empty() || self.load.usage == Use::Streaming && Instant::now() > end {
                return self.sample;
            }
            self.frames.flush().await;
            if !self.frames.read().await {
                self.sample.failures += self.open.len();
                return self.sample;
            }
            while let Some(frame) = self.frames.next() {
                self.take(&frame);
            }
        }
    }

    /// Sends what idle workers ask, as far as the server takes it.
    fn ask(&mut self) {
        while let Some(worker) = self.idle.pop() {
            let ask = (self.load.ask)(worker.0, worker.1);
            let last = self.load.usage == Use::Unary;
            let Some(stream) = self.frames.call(&ask.message, last) else {
                self.idle.push(worker);
                return;
            };
            let (sent, least) = (Instant::now(), PREFIX + ask.least);
            self.open.insert(stream, Open { worker, sent, least, received: 0 });
        }
    }

    fn take(&mut self, frame: &Frame) {
        if frame.kind == DATA {
            self.data(frame);
        }
        if frame.last
            && let Some(open) = self.open.remove(&frame.stream)
        {
            self.idle.push((open.worker.0, open.worker.1 + 1));
            if frame.kind == HEADERS && open.received >= open.least {
                self.sample.note(open.sent.elapsed());
            } else {
                self.sample.failures += 1;
            }
        }
    }

    fn data(&mut self, frame: &Frame) {
        let Some(open) = self.open.get_mut(&frame.stream) else { return };
        open.received += frame.len();
        if self.load.usage == Use::Streaming && open.received >= open.least {
            self.sample.note(open.sent.elapsed());
            open.worker.1 += 1;
            let ask = (self.load.ask)(open.worker.0, open.worker.1);
            self.frames.send(frame.stream, &ask.message, false);
            (open.least, open.sent, open.received) = (PREFIX + ask.least, Instant::now(), 0);
        }
    }
}
