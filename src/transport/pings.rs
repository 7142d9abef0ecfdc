//! Ends connections of clients that ping too often, as gRPC servers do (`--grpc-keepalive-min-time`).
//!
//! A ping is an offence when it comes sooner after the one before than the floor, or than two hours while no
//! request is open (grpc-go `internal/transport/http2_server.go`, `handlePing`). Whatever is answered
//! between two pings wipes the slate clean. The third offence is answered with `GOAWAY`, `ENHANCE_YOUR_CALM` and
//! `too_many_pings`, after which grpc clients ping half as often.
//!
//! The HTTP/2 library answers pings and tells nobody, so the heads of the frames are read on their way.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame::{ACK, DATA, END_STREAM, Frames, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM};

/// Offences that are forgiven (grpc-go `maxPingStrikes`).
const FORGIVEN: u32 = 2;
/// The floor while no request is open (grpc-go `defaultPingTimeout`).
const IDLE_FLOOR: Duration = Duration::from_secs(2 * 60 * 60);
const DEBUG_DATA: &[u8] = b"too_many_pings";
const ENHANCE_YOUR_CALM: u8 = 11;

/// A connection whose pings are counted, if there is a floor.
#[derive(Debug)]
pub(super) struct Policed<S> {
    stream: S,
    police: Option<Box<Police>>,
}

/// What is known of a connection of HTTP/2.
#[derive(Debug)]
struct Police {
    floor: Duration,
    /// Bytes of the preface that have come.
    preface: usize,
    received: Frames,
    sent: Frames,
    /// Requests that are not answered to the end.
    open: HashSet<u32>,
    /// The newest request.
    newest: u32,
    last_ping: Option<Instant>,
    /// Whether something was answered since then.
    answered: bool,
    offences: u32,
    /// The last word, from here on still to be written.
    farewell: Option<(Vec<u8>, usize)>,
}

impl<S> Policed<S> {
    pub(super) fn new(stream: S, floor: Option<Duration>) -> Self {
        Self { stream, police: floor.map(|floor| Box::new(Police::new(floor))) }
    }
}

impl Police {
    fn new(floor: Duration) -> Self {
        Self {
            floor,
            preface: 0,
            received: Frames::behind(0),
            sent: Frames::behind(0),
            open: HashSet::new(),
            newest: 0,
            last_ping: None,
            answered: false,
            offences: 0,
            farewell: None,
        }
    }

    /// Whether this is HTTP/2, as far as it can be told.
    fn received(&mut self, mut bytes: &[u8], now: Instant) -> bool {
        let missing = &PREFACE[self.preface..];
        let here = missing.len().min(bytes.len());
        if bytes[..here] != missing[..here] {
            return false;
        }
        self.preface += here;
        bytes = &bytes[here..];
        let Self { received, open, newest, .. } = self;
        let mut pings = Vec::new();
        received.feed(bytes, |head| match head.kind {
            HEADERS if head.stream > *newest => {
                *newest = head.stream;
                open.insert(head.stream);
            }
            RST_STREAM => {
                open.remove(&head.stream);
            }
            PING if head.flags & ACK == 0 => pings.push(open.is_empty()),
            _ => {}
        });
        pings.into_iter().for_each(|idle| self.ping(idle, now));
        true
    }

    fn sent(&mut self, bytes: &[u8]) {
        let Self { sent, open, answered, .. } = self;
        sent.feed(bytes, |head| {
            let ends = match head.kind {
                DATA | HEADERS => {
                    *answered = true;
                    head.flags & END_STREAM != 0
                }
                kind => kind == RST_STREAM,
            };
            if ends {
                open.remove(&head.stream);
            }
        });
    }

    fn ping(&mut self, idle: bool, now: Instant) {
        let floor = if idle { IDLE_FLOOR } else { self.floor };
        let early = self.last_ping.is_some_and(|last| now < last + floor);
        self.last_ping = Some(now);
        if std::mem::take(&mut self.answered) {
            self.offences = 0;
        } else if early {
            self.offences += 1;
        }
        if self.offences > FORGIVEN && self.farewell.is_none() {
            let length = u8::try_from(8 + DEBUG_DATA.len()).expect("a few bytes");
            let mut frame = vec![0, 0, length, GOAWAY, 0, 0, 0, 0, 0];
            frame.extend(self.newest.to_be_bytes());
            frame.extend([0, 0, 0, ENHANCE_YOUR_CALM]);
            frame.extend(DEBUG_DATA);
            self.farewell = Some((frame, 0));
        }
    }

    /// Writes the last word as soon as nobody else's is half said; whether it is time and all of it is out.
    fn say_farewell<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        let Some((frame, done)) = &mut self.farewell else { return Poll::Ready(Ok(false)) };
        if !self.sent.between_frames() {
            return Poll::Ready(Ok(false));
        }
        while *done < frame.len() {
            match Pin::new(&mut *stream).poll_write(context, &frame[*done..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => *done += written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(true))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Policed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, police: known } = self.get_mut();
        let Some(police) = known else { return Pin::new(stream).poll_read(context, buffer) };
        if police.farewell.is_some() {
            // Nothing is heard any more: to the library the client has gone.
            return police.say_farewell(stream, context).map_ok(drop);
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut *stream).poll_read(context, buffer);
        if matches!(read, Poll::Ready(Ok(())))
            && !police.received(&buffer.filled()[before..], Instant::now())
        {
            *known = None;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Policed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, police } = self.get_mut();
        let Some(police) = police else {
            return Pin::new(stream).poll_write_vectored(context, slices);
        };
        match police.say_farewell(stream, context) {
            Poll::Ready(Ok(true)) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Poll::Ready(Ok(false)) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        let written = Pin::new(stream).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(written)) = written {
            let mut left = written;
            for slice in slices {
                let here = slice.len().min(left);
                police.sent(&slice[..here]);
                left -= here;
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Duration = Duration::from_secs(5);
    const PING_FRAME: [u8; 17] = [0, 0, 8, PING, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream][..], payload].concat()
    }

    fn met() -> Police {
        let mut police = Police::new(FLOOR);
        hear(&mut police, PREFACE);
        hear(&mut police, &frame(4, 0, 0, &[]));
        police
    }

    fn hear(police: &mut Police, bytes: &[u8]) {
        assert!(police.received(bytes, Instant::now()));
    }

    /// How many pings at this interval are heard before the connection ends, ten at most.
    fn pings(police: &mut Police, interval: Duration) -> usize {
        let begun = police.last_ping.map_or_else(Instant::now, |last| last + interval);
        for number in 0..10_u32 {
            if police.farewell.is_some() {
                return number as usize;
            }
            assert!(police.received(&PING_FRAME, begun + number * interval));
        }
        10
    }

    #[test]
    fn the_third_early_ping_ends_the_connection() {
        let mut police = met();
        hear(&mut police, &frame(HEADERS, 4, 1, b"x"));
        assert_eq!(pings(&mut police, FLOOR), 10, "as often as is allowed");
        assert_eq!(pings(&mut police, FLOOR / 2), 3);
    }

    #[test]
    fn without_a_request_the_floor_is_two_hours() {
        assert_eq!(pings(&mut met(), Duration::from_secs(60)), 4);
        assert_eq!(pings(&mut met(), IDLE_FLOOR), 10);
        // It was answered, or taken back.
        for end in [frame(HEADERS, END_STREAM | 4, 1, b"x"), frame(RST_STREAM, 0, 1, &[0; 4])] {
            let mut police = met();
            hear(&mut police, &frame(HEADERS, 5, 1, b"x"));
            police.sent(&end);
            police.answered = false;
            assert_eq!(pings(&mut police, FLOOR), 4);
        }
        let mut police = met();
        hear(&mut police, &frame(HEADERS, 5, 1, b"x"));
        hear(&mut police, &frame(RST_STREAM, 0, 1, &[0; 4]));
        assert_eq!(pings(&mut police, FLOOR), 4);
    }

    #[test]
    fn what_is_answered_in_between_wipes_the_slate_clean() {
        let mut police = met();
        hear(&mut police, &frame(HEADERS, 4, 1, b"x"));
        for _ in 0..20 {
            hear(&mut police, &PING_FRAME);
            police.sent(&frame(DATA, 0, 1, b"event"));
        }
        assert!(police.farewell.is_none());
        // The answer to a ping is none.
        police.sent(&frame(PING, ACK, 0, &[0; 8]));
        assert_eq!(pings(&mut police, FLOOR / 2), 4);
    }

    #[test]
    fn frames_are_found_in_whatever_pieces_they_come() {
        let mut police = Police::new(FLOOR);
        let whole = [PREFACE, &frame(HEADERS, 4, 7, b"headers"), &PING_FRAME].concat();
        for piece in whole.chunks(1) {
            hear(&mut police, piece);
        }
        assert_eq!((police.newest, police.open.len()), (7, 1));
        assert!(police.last_ping.is_some() && police.received.between_frames());
        assert!(!Police::new(FLOOR).received(b"GET / HTTP/1.1", Instant::now()));
    }

    #[tokio::test]
    async fn the_farewell_comes_between_two_frames() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let mut connection = Policed::new(ours, Some(FLOOR));
        theirs.write_all(PREFACE).await.unwrap();
        theirs.write_all(&PING_FRAME.repeat(4)).await.unwrap();
        let half = frame(DATA, 0, 1, b"12345678");
        connection.write_all(&half[..12]).await.unwrap();
        let mut heard = vec![0; PREFACE.len() + 4 * PING_FRAME.len()];
        connection.read_exact(&mut heard).await.unwrap();
        assert_eq!(connection.read(&mut heard).await.unwrap(), 0, "nothing is heard any more");
        connection.write_all(&half[12..]).await.unwrap();
        let refused = connection.write_all(&half).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
        drop(connection);
        let mut seen = Vec::new();
        theirs.read_to_end(&mut seen).await.unwrap();
        let goaway = seen.strip_prefix(&half[..]).unwrap();
        assert_eq!(goaway[..9], [0, 0, 22, GOAWAY, 0, 0, 0, 0, 0]);
        assert_eq!(goaway[13..], [&[0, 0, 0, ENHANCE_YOUR_CALM], DEBUG_DATA].concat());
    }
}
