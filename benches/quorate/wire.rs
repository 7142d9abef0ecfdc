use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One connection of HTTP/1.1 that costs its machine little: on two cores a client library would take
/// as much as the service that is measured.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
}

/// The status and the body of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Where a URL leads: `host:port` and the path.
pub(crate) fn split(url: &str) -> (&str, &str) {
    let rest = url.trim_start_matches("http://");
    rest.split_at(rest.find('/').unwrap_or(rest.len()))
}

/// The bytes of a request without a body.
pub(crate) fn get(url: &str) -> Vec<u8> {
    let (host, path) = split(url);
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

/// The bytes of a write as etcd sends it.
pub(crate) fn put(url: &str, form: &str) -> Vec<u8> {
    let (host, path) = split(url);
    format!(
        "PUT {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    )
    .into_bytes()
}

impl Wire {
    /// Connects, again and again while the service has no room.
    pub(crate) async fn connect(url: &str) -> Self {
        loop {
            if let Ok(stream) = TcpStream::connect(split(url).0).await {
                stream.set_nodelay(true).unwrap();
                return Self { stream, received: Vec::new() };
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Sends a request and reads its whole answer; `None` if the connection ends.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Option<Answer> {
        let (status, head) = self.begin(request).await?;
        let fields = std::str::from_utf8(&self.received[..head]).ok()?;
        let length = fields.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim())
        });
        let body = match length.map(str::parse::<usize>) {
            Some(length) => {
                let end = head + length.ok()?;
                while self.received.len() < end {
                    self.read().await?;
                }
                self.received[head..end].to_vec()
            }
            // The one chunk of a long poll, and the last one.
            None => {
                while !self.received[head..].ends_with(b"0\r\n\r\n") {
                    self.read().await?;
                }
                self.received[head..].to_vec()
            }
        };
        self.received.clear();
        Some(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Sends a request and reads the head of its answer: the status, and where the body begins.
    pub(crate) async fn begin(&mut self, request: &[u8]) -> Option<(u16, usize)> {
        self.stream.write_all(request).await.ok()?;
        loop {
            let end = self.received.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let status = std::str::from_utf8(self.received.get(9..12)?).ok()?;
                return Some((status.parse().ok()?, end + 4));
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Option<()> {
        let mut chunk = [0; 4096];
        let read = self.stream.read(&mut chunk).await.ok()?;
        self.received.extend_from_slice(&chunk[..read]);
        (read > 0).then_some(())
    }
}
