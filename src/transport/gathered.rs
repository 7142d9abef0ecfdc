//! What a connection of HTTP/2 has to say, said at once.
//!
//! The library flushes behind every frame of more than a few hundred bytes, and it runs as soon as the first of many
//! requests is answered. Each time that is a system call, a packet and a client that wakes up, which together
//! cost more than most answers. So whatever is written is kept until the library has nothing more to write; and a
//! connection on which several messages wait for their answers lets everything go first that can run, since
//! some of that are the answers.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame::{DATA, Frames, PREFACE};

/// With so many bytes kept, no more are taken before some are out.
const FULL: usize = 64 << 10;

/// The stream below a connection, for the library and for the [`Paced`] around it.
#[derive(Debug)]
pub(super) struct Gathered<S>(Arc<Mutex<Line<S>>>);

#[derive(Debug)]
struct Line<S> {
    stream: S,
    received: Frames,
    sent: Frames,
    /// Messages that came and are not answered. An estimate: one may come in several frames, and some are answered by
    /// a status alone.
    open: usize,
    /// Whether one was answered since the last look.
    answered: bool,
    /// To be sent, from `done` on.
    kept: Vec<u8>,
    done: usize,
    /// Whether the stream may hold something back itself.
    unflushed: bool,
    failed: Option<io::ErrorKind>,
}

impl<S> Gathered<S> {
    /// For a stream that begins with the preface.
    pub(super) fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Line {
            stream,
            received: Frames::behind(PREFACE.len()),
            sent: Frames::behind(0),
            open: 0,
            answered: false,
            kept: Vec::new(),
            done: 0,
            unflushed: false,
            failed: None,
        })))
    }
}

impl<S> Clone for Gathered<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: AsyncWrite + Unpin> Line<S> {
    /// Keeps as much as there is room for.
    fn keep(&mut self, slices: &[io::IoSlice<'_>]) -> usize {
        let mut taken = 0;
        for slice in slices {
            let here = slice.len().min(FULL.saturating_sub(self.kept.len()));
            self.kept.extend_from_slice(&slice[..here]);
            let Self { sent, open, answered, .. } = self;
            sent.feed(&slice[..here], |head| {
                if head.kind == DATA {
                    *open = open.saturating_sub(1);
                    *answered = true;
                }
            });
            taken += here;
        }
        taken
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(failed) = self.failed {
            return Poll::Ready(Err(failed.into()));
        }
        let sent = self.poll_send_kept(context);
        if let Poll::Ready(Err(error)) = &sent {
            self.failed = Some(error.kind());
        }
        sent
    }

    fn poll_send_kept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.done < self.kept.len() {
            let kept = &self.kept[self.done..];
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, kept))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.done += written;
            self.unflushed = true;
        }
        // Connections that are silent need no room.
        (self.kept, self.done) = (Vec::new(), 0);
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut line = self.0.lock();
        let Line { stream, received, open, failed, .. } = &mut *line;
        if let Some(failed) = *failed {
            return Poll::Ready(Err(failed.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(stream).poll_read(context, buffer))?;
        received.feed(&buffer.filled()[before..], |head| {
            *open += usize::from(head.kind == DATA && head.length > 0);
        });
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
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
        let mut line = self.0.lock();
        if line.kept.len() >= FULL || line.failed.is_some() {
            ready!(line.poll_send(context))?;
        }
        Poll::Ready(Ok(line.keep(slices)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// That is for [`Paced`] to do.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.lock().failed.map_or(Ok(()), |failed| Err(failed.into())))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut line = self.0.lock();
        ready!(line.poll_send(context))?;
        Pin::new(&mut line.stream).poll_shutdown(context)
    }
}

/// A connection over a [`Gathered`] stream.
pub(super) struct Paced<C, S> {
    connection: Pin<Box<C>>,
    stream: Gathered<S>,
    /// Whether what comes is answered.
    answers: bool,
    /// It is this connection's turn: it has let others go first.
    waited: bool,
}

impl<C, S> Paced<C, S> {
    pub(super) fn new(connection: C, stream: Gathered<S>, answers: bool) -> Self {
        Self { connection: Box::pin(connection), stream, answers, waited: false }
    }

    /// The library's connection.
    pub(super) fn connection(&mut self) -> Pin<&mut C> {
        self.connection.as_mut()
    }
}

impl<C: Future, S: AsyncWrite + Unpin> Future for Paced<C, S> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<C::Output> {
        let Self { connection, stream, answers, waited } = self.get_mut();
        if *answers && !*waited && stream.0.lock().open > 1 {
            *waited = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let ended = connection.as_mut().poll(context);
        let mut line = stream.0.lock();
        if std::mem::take(waited) && !line.answered {
            // Who waits in vain again and again expects what will not come.
            line.open = line.open.saturating_sub(1);
        }
        line.answered = false;
        let known = line.failed.is_some();
        if let Poll::Ready(Err(_)) = line.poll_send(context)
            && !known
        {
            // The library hears of it when it reads next.
            context.waker().wake_by_ref();
        }
        ended
    }
}

#[cfg(test)]
mod tests;
