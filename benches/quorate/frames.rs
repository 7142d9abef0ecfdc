use std::ops::Range;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

const HEAD: usize = 9;
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
pub(crate) const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The compression flag and the length before every gRPC message.
pub(crate) const PREFIX: usize = 5;
/// What a server may send on a stream before it is told to go on, and on a connection.
const STREAM_WINDOW: u32 = 1 << 30;
const CONNECTION_WINDOW: u32 = 1 << 30;
/// What every connection and stream may send at first (RFC 9113, section 6.9.2).
const FIRST_WINDOW: i64 = 65_535;

/// One connection for calls of one gRPC method, by hand.
///
/// Clients and servers share the cores, so what a client spends is missing from the rates of all. This one
/// writes HTTP/2 frames that were made beforehand and looks at the heads of what comes back (RFC 9113,
/// sections 4 and 6).
#[derive(Debug)]
pub(crate) struct Frames {
    method: &'static str,
    socket: TcpStream,
    next_stream: u32,
    /// The header block of every request but the first.
    headers: Vec<u8>,
    /// What may be sent.
    window: i64,
    consumed: u32,
    out: Vec<u8>,
    received: Vec<u8>,
    /// How much of that was looked at.
    seen: usize,
}

/// What a server says on a stream.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    /// Nothing comes behind it.
    pub(crate) last: bool,
    payload: Range<usize>,
}

impl Frame {
    pub(crate) fn len(&self) -> usize {
        self.payload.len()
    }
}

impl Frames {
    /// `method` is one such as `KV/Put`.
    pub(crate) async fn open(endpoint: &str, method: &'static str) -> Self {
        let address = endpoint.trim_start_matches("http://");
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // INITIAL_WINDOW_SIZE, then the window of the connection.
        head(&mut out, 6, SETTINGS, 0, 0);
        out.extend([0, 4]);
        out.extend(STREAM_WINDOW.to_be_bytes());
        head(&mut out, 4, WINDOW_UPDATE, 0, 0);
        out.extend(CONNECTION_WINDOW.to_be_bytes());
        Self {
            method,
            socket,
            next_stream: 1,
            headers: header_block(method, address),
            window: FIRST_WINDOW,
            consumed: 0,
            out,
            received: Vec::with_capacity(1 << 20),
            seen: 0,
        }
    }

    /// Begins a call with one message, if the server takes so much now; tells its stream.
    pub(crate) fn call(&mut self, message: &[u8], last: bool) -> Option<u32> {
        if self.window < i64::try_from(PREFIX + message.len()).unwrap() {
            return None;
        }
        let stream = self.next_stream;
        self.next_stream += 2;
        head(&mut self.out, self.headers.len(), HEADERS, END_HEADERS, stream);
        self.out.extend(&self.headers);
        if stream == 1 {
            // The four that the first request spelled out, the last one first.
            self.headers = vec![0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe];
        }
        self.send(stream, message, last);
        Some(stream)
    }

    /// Sends another message of a call.
    pub(crate) fn send(&mut self, stream: u32, message: &[u8], last: bool) {
        let length = PREFIX + message.len();
        head(&mut self.out, length, DATA, if last { END_STREAM } else { 0 }, stream);
        self.out.push(0);
        self.out.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        self.out.extend(message);
        self.window -= i64::try_from(length).unwrap();
    }

    /// Writes what is to be sent.
    pub(crate) async fn flush(&mut self) {
        self.socket.write_all(&self.out).await.unwrap();
        self.out.clear();
    }

    /// Reads some of what the server says; false when it has ended. May be given up at any time.
    pub(crate) async fn read(&mut self) -> bool {
        self.received.drain(..self.seen);
        self.seen = 0;
        self.socket.readable().await.unwrap();
        match self.socket.try_read_buf(&mut self.received) {
            Ok(read) => read > 0,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => true,
            Err(error) => panic!("{}: {error}", self.method),
        }
    }

    /// The next whole frame of a stream, of what was read.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            let (head, rest) = self.received[self.seen..].split_first_chunk::<HEAD>()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            if rest.len() < length {
                return None;
            }
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let payload = self.seen + HEAD..self.seen + HEAD + length;
            self.seen = payload.end;
            if matches!(kind, DATA | HEADERS | RST_STREAM) {
                self.consume(kind, length);
                let ends = kind != RST_STREAM && flags & END_STREAM != 0;
                return Some(Frame { kind, stream, last: ends || kind == RST_STREAM, payload });
            }
            self.control(kind, flags, stream, payload);
        }
    }

    pub(crate) fn payload(&self, frame: &Frame) -> &[u8] {
        &self.received[frame.payload.clone()]
    }

    fn control(&mut self, kind: u8, flags: u8, stream: u32, payload: Range<usize>) {
        let payload = &self.received[payload];
        match kind {
            SETTINGS if flags & ACK == 0 => head(&mut self.out, 0, SETTINGS, ACK, 0),
            PING if flags & ACK == 0 => {
                head(&mut self.out, payload.len(), PING, ACK, 0);
                self.out.extend(payload);
            }
            WINDOW_UPDATE if stream == 0 => {
                let more = u32::from_be_bytes(payload.try_into().unwrap());
                self.window += i64::from(more);
            }
            GOAWAY => panic!("{}: {}", self.method, payload.escape_ascii()),
            _ => {}
        }
    }

    fn consume(&mut self, kind: u8, length: usize) {
        if kind == DATA {
            self.consumed += u32::try_from(length).unwrap();
        }
        if self.consumed > CONNECTION_WINDOW / 2 {
            head(&mut self.out, 4, WINDOW_UPDATE, 0, 0);
            self.out.extend(self.consumed.to_be_bytes());
            self.consumed = 0;
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
