use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

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
/// Clients and servers share the cores, so what a client spends is missing from the rates of all. This one
/// writes HTTP/2 frames that were made beforehand and looks at the heads of what comes back (RFC 9113,
/// sections 4 and 6); it believes a message to be an answer, and an end without one to be a refusal.
pub(crate) async fn run<F>(endpoints: &[String], connections: usize, load: Load<F>) -> Sample
where
    F: Fn(usize, usize) -> Ask + Clone + Send + 'static,
{
    let count = endpoints.len() * connections;
    let mut opened = Vec::new();
    for at in 0..count.min(load.in_flight) {
        let address = endpoints[at % endpoints.len()].trim_start_matches("http://");
        let workers = (at..load.in_flight).step_by(count).map(|number| (number, 0)).collect();
        opened.push(Connection::open(address, load.clone(), workers).await);
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

mod frame {
    pub(super) const HEAD: usize = 9;
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const END_STREAM: u8 = 1;
    pub(super) const ACK: u8 = 1;
    pub(super) const END_HEADERS: u8 = 4;
}

/// The compression flag and the length before every gRPC message.
const PREFIX: usize = 5;
/// What a server may send on a stream before it is told to go on, and on a connection.
const STREAM_WINDOW: u32 = 64 << 20;
const CONNECTION_WINDOW: u32 = 1 << 30;
/// What every connection and stream may send at first (RFC 9113, section 6.9.2).
const FIRST_WINDOW: i64 = 65_535;

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
    stream: TcpStream,
    load: Load<F>,
    /// Workers that have nothing open, and how often they have asked.
    idle: Vec<(usize, usize)>,
    open: HashMap<u32, Open>,
    next_stream: u32,
    /// The header block of every request but the first.
    headers: Vec<u8>,
    window: i64,
    consumed: u32,
    out: Vec<u8>,
    received: Vec<u8>,
    sample: Sample,
}

impl<F> Connection<F>
where
    F: Fn(usize, usize) -> Ask + Clone + Send + 'static,
{
    async fn open(address: &str, load: Load<F>, idle: Vec<(usize, usize)>) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // INITIAL_WINDOW_SIZE, then the window of the connection.
        head(&mut out, 6, frame::SETTINGS, 0, 0);
        out.extend([0, 4]);
        out.extend(STREAM_WINDOW.to_be_bytes());
        head(&mut out, 4, frame::WINDOW_UPDATE, 0, 0);
        out.extend(CONNECTION_WINDOW.to_be_bytes());
        Self {
            headers: header_block(load.method, address),
            stream,
            load,
            idle,
            open: HashMap::new(),
            next_stream: 1,
            window: FIRST_WINDOW,
            consumed: 0,
            out,
            received: Vec::with_capacity(1 << 20),
            sample: Sample::default(),
        }
    }

    async fn run(mut self, begun: Instant) -> Sample {
        let end = begun + self.load.span;
        loop {
            if Instant::now() < end {
                self.ask();
            }
            if self.open.is_empty() || self.load.usage == Use::Streaming && Instant::now() > end {
                return self.sample;
            }
            self.stream.write_all(&self.out).await.unwrap();
            self.out.clear();
            self.stream.readable().await.unwrap();
            match self.stream.try_read_buf(&mut self.received) {
                Ok(0) => {
                    self.sample.failures += self.open.len();
                    return self.sample;
                }
                Ok(_) => self.take(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{}: {error}", self.load.method),
            }
        }
    }

    /// Sends what idle workers ask, as far as the server takes it.
    fn ask(&mut self) {
        while let Some(worker) = self.idle.pop() {
            let ask = (self.load.ask)(worker.0, worker.1);
            let length = PREFIX + ask.message.len();
            if self.window < i64::try_from(length).unwrap() {
                self.idle.push(worker);
                return;
            }
            let stream = self.next_stream;
            self.next_stream += 2;
            head(&mut self.out, self.headers.len(), frame::HEADERS, frame::END_HEADERS, stream);
            self.out.extend(&self.headers);
            if stream == 1 {
                // The four that the first request spelled out, the last one first.
                self.headers = vec![0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe];
            }
            self.open.insert(stream, Open { worker, sent: Instant::now(), least: 0, received: 0 });
            self.send(stream, &ask);
        }
    }

    fn send(&mut self, stream: u32, ask: &Ask) {
        let length = PREFIX + ask.message.len();
        let last = if self.load.usage == Use::Unary { frame::END_STREAM } else { 0 };
        head(&mut self.out, length, frame::DATA, last, stream);
        self.out.push(0);
        self.out.extend(u32::try_from(ask.message.len()).unwrap().to_be_bytes());
        self.out.extend(&ask.message);
        self.window -= i64::try_from(length).unwrap();
        let open = self.open.get_mut(&stream).unwrap();
        (open.least, open.sent, open.received) = (PREFIX + ask.least, Instant::now(), 0);
    }

    /// Takes all whole frames.
    fn take(&mut self) {
        let received = std::mem::take(&mut self.received);
        let mut rest = &received[..];
        while let Some((length, payload)) = rest.split_first_chunk::<3>() {
            let length = u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
            let Some((head, payload)) = payload.split_first_chunk::<{ frame::HEAD - 3 }>() else {
                break;
            };
            let Some((payload, after)) = payload.split_at_checked(length) else { break };
            let stream = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
            self.frame(head[0], head[1], stream, payload);
            rest = after;
        }
        let kept = received.len() - rest.len();
        self.received = received;
        self.received.drain(..kept);
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        match kind {
            frame::DATA => self.data(stream, payload.len()),
            frame::SETTINGS if flags & frame::ACK == 0 => {
                head(&mut self.out, 0, frame::SETTINGS, frame::ACK, 0);
            }
            frame::PING if flags & frame::ACK == 0 => {
                head(&mut self.out, payload.len(), frame::PING, frame::ACK, 0);
                self.out.extend(payload);
            }
            frame::WINDOW_UPDATE if stream == 0 => {
                let more = u32::from_be_bytes(payload.try_into().unwrap());
                self.window += i64::from(more);
            }
            frame::GOAWAY => panic!("{}: {}", self.load.method, payload.escape_ascii()),
            _ => {}
        }
        let ended = matches!(kind, frame::DATA | frame::HEADERS) && flags & frame::END_STREAM != 0;
        if (ended || kind == frame::RST_STREAM)
            && let Some(open) = self.open.remove(&stream)
        {
            self.idle.push((open.worker.0, open.worker.1 + 1));
            if kind == frame::HEADERS && open.received >= open.least {
                self.sample.note(open.sent.elapsed());
            } else {
                self.sample.failures += 1;
            }
        }
    }

    fn data(&mut self, stream: u32, length: usize) {
        self.consumed += u32::try_from(length).unwrap();
        if self.consumed > CONNECTION_WINDOW / 2 {
            head(&mut self.out, 4, frame::WINDOW_UPDATE, 0, 0);
            self.out.extend(self.consumed.to_be_bytes());
            self.consumed = 0;
        }
        let Some(open) = self.open.get_mut(&stream) else { return };
        open.received += length;
        if self.load.usage == Use::Streaming && open.received >= open.least {
            self.sample.note(open.sent.elapsed());
            open.worker.1 += 1;
            let ask = (self.load.ask)(open.worker.0, open.worker.1);
            self.send(stream, &ask);
        }
    }
}

fn head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    out.extend(&u32::try_from(length).unwrap().to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
}

/// The fields of the first request, of which the server keeps four (RFC 7541, section 6.2.1).
fn header_block(method: &str, authority: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86]; // POST, http
    let mut field = |name: &[u8], value: &str| {
        block.extend(name);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value.as_bytes());
    };
    field(&[0x44], &format!("/etcdserverpb.{method}"));
    field(&[0x41], authority);
    field(&[0x5f], "application/grpc");
    field(b"\x40\x02te", "trailers");
    block
}
