//! What the other end of a connection said when it ended it.
//!
//! The HTTP/2 library tells "transport error" and no more when a peer refuses a certificate after the
//! handshake, as TLS 1.3 has it, or when it does not speak HTTP/2 at all. An operator needs to know
//! which, so the bytes and errors are looked at where they come in.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::tls;

/// Why the other end closed a connection, shared by the dialer and whoever logs it. The last reason stands.
#[derive(Debug, Clone, Default)]
pub(super) struct CloseReason(Arc<Mutex<Option<String>>>);

impl CloseReason {
    /// Takes the reason, so that it is told of one connection only.
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().take()
    }

    fn note(&self, reason: String) {
        *self.0.lock() = Some(reason);
    }
}

/// A connection whose first bytes and errors are looked at for a [`CloseReason`].
#[derive(Debug)]
pub(super) struct Inspected<S> {
    stream: S,
    reason: CloseReason,
    /// Nothing has been received.
    fresh: bool,
    /// What speaks another protocol is an error of the connection, not only a reason.
    strict: bool,
}

impl<S> Inspected<S> {
    pub(super) fn new(stream: S, reason: CloseReason) -> Self {
        Self { stream, reason, fresh: true, strict: false }
    }

    /// A connection to which TLS spoken at the other end is an error that says so, where the library would tell of
    /// a wrong frame.
    pub(super) fn in_clear(stream: S) -> Self {
        Self { stream, reason: CloseReason::default(), fresh: true, strict: true }
    }
}

const SPEAKS_TLS: &str = "the other end speaks TLS: its URL should begin with https://";

/// What the first bytes of somebody who does not speak HTTP/2 mean.
fn stranger(first: &[u8]) -> Option<&'static str> {
    match first {
        // An alert, RFC 8446 §5.1.
        [0x15, 0x03, ..] => Some(SPEAKS_TLS),
        [b'H', b'T', b'T', b'P', b'/', b'1', ..] => Some(
            "the other end speaks HTTP/1.1 only, as the members of etcd do: they cannot be \
                  peers of this member",
        ),
        _ => None,
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Inspected<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        match &read {
            Err(error) if tls::is_tls(error) => self.reason.note(tls::words(error)),
            Ok(()) if self.fresh => {
                self.fresh = false;
                if let Some(reason) = stranger(&buffer.filled()[before..]) {
                    if self.strict && reason == SPEAKS_TLS {
                        // With an error nothing was read.
                        buffer.set_filled(before);
                        return Poll::Ready(Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            reason,
                        )));
                    }
                    self.reason.note(reason.to_owned());
                }
            }
            _ => {}
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Inspected<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn reason_of(received: &[u8]) -> Option<String> {
        let reason = CloseReason::default();
        let mut connection = Inspected::new(io::Cursor::new(received.to_vec()), reason.clone());
        let mut all = Vec::new();
        connection.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, received, "nothing is lost");
        reason.take()
    }

    #[tokio::test]
    async fn strangers_are_known_by_their_first_bytes() {
        assert!(reason_of(&[0x15, 3, 3, 0, 2, 2, 70]).await.unwrap().contains("https://"));
        assert!(
            reason_of(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap().contains("HTTP/1.1 only")
        );
        assert_eq!(reason_of(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await, None);
        assert_eq!(reason_of(b"").await, None);
    }

    #[tokio::test]
    async fn tls_where_none_was_expected_is_an_error() {
        let mut clear = Inspected::in_clear(io::Cursor::new(vec![0x15, 3, 3, 0, 2, 2, 70]));
        let error = clear.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.to_string(), SPEAKS_TLS);
        let mut clear = Inspected::in_clear(io::Cursor::new(b"HTTP/1.1 400".to_vec()));
        assert_eq!(clear.read_to_end(&mut Vec::new()).await.unwrap(), 12);
    }
}
