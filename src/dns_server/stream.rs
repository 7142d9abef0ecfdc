use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::asker::Asker;
use super::connections::Admission;
use super::handler::{Handler, Scratch};
use super::options::IDLE;
use super::reply::Reply;

/// A client that takes nothing for so long is cut off.
const STALLED: Duration = Duration::from_secs(10);
/// Questions of one connection that wait for other servers; while there are so many no more are read.
const WAITING: usize = 128;
/// Bytes read at a time. Answers to what they ask are written together.
const READ: usize = 16 << 10;
/// Answers are handed to the connection at the latest when they have so many bytes.
const WRITE: usize = 64 << 10;

type Waiting = FuturesUnordered<Pin<Box<dyn Future<Output = Reply> + Send>>>;

/// Answers the questions of one stream until its end, in any order (RFC 7766 §6.2.1.1).
///
/// Whatever is a stream of bytes will do; `asker` tells who is at its other end. Idle time does not
/// count while an answer is outstanding. When the admission ends, what has been asked is still
/// answered.
pub(super) async fn converse<S>(
    stream: S,
    asker: Asker,
    handler: Arc<Handler>,
    admission: &Admission,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (mut read, mut write) = tokio::io::split(stream);
    let mut input: Vec<u8> = Vec::with_capacity(READ);
    let mut output: Vec<u8> = Vec::new();
    let mut waiting = Waiting::new();
    let mut scratch = Scratch::new();
    loop {
        let now = (&mut scratch, &mut output, &mut waiting);
        let taken = answer_all(&input, asker, &handler, now, &mut write).await?;
        input.drain(..taken);
        flush(&mut write, &mut output).await?;
        let more = waiting.len() < WAITING;
        admission.touch(waiting.is_empty());
        tokio::select! {
            biased;
            Some(reply) = waiting.next(), if !waiting.is_empty() => {
                put(reply, &mut output, &mut write).await?;
                continue;
            }
            got = timeout(IDLE, read.read_buf(&mut input)), if more => match got {
                Ok(Ok(0)) => break,
                Ok(got) => drop(got?),
                Err(_idle) if waiting.is_empty() => return Ok(()),
                Err(_idle) => {}
            },
            () = admission.ended() => break,
        }
    }
    // The other end may have closed only its own half (RFC 7766 §6.2.4).
    while let Some(reply) = waiting.next().await {
        put(reply, &mut output, &mut write).await?;
    }
    flush(&mut write, &mut output).await?;
    timeout(STALLED, write.shutdown()).await?
}

/// Answers each whole message of `input`, as far as it can be at once; how many bytes they had.
async fn answer_all<W: AsyncWrite + Unpin>(
    input: &[u8],
    asker: Asker,
    handler: &Arc<Handler>,
    (scratch, output, waiting): (&mut Scratch, &mut Vec<u8>, &mut Waiting),
    write: &mut W,
) -> io::Result<usize> {
    let mut taken = 0;
    while waiting.len() < WAITING {
        let rest = &input[taken..];
        let Some((length, rest)) = rest.split_first_chunk() else { break };
        let length = usize::from(u16::from_be_bytes(*length));
        let Some(packet) = rest.get(..length) else { break };
        taken += 2 + length;
        let start = Instant::now();
        let before = output.len();
        output.extend_from_slice(&[0; 2]);
        if handler.answer_at_once(packet, asker, scratch, output) {
            let length = length_of(&output[before + 2..]);
            output[before..before + 2].copy_from_slice(&length);
            handler.counters.took(start.elapsed(), 1);
        } else {
            output.truncate(before);
            let (handler, packet) = (Arc::clone(handler), packet.to_vec());
            let mut reply = Box::pin(async move {
                let reply = handler.reply(&packet, asker).await;
                handler.counters.took(start.elapsed(), 1);
                reply
            });
            match poll_fn(|context| Poll::Ready(reply.as_mut().poll(context))).await {
                Poll::Ready(reply) => put(reply, output, write).await?,
                Poll::Pending => waiting.push(reply),
            }
        }
        if output.len() >= WRITE {
            flush(write, output).await?;
        }
    }
    Ok(taken)
}

async fn put<W: AsyncWrite + Unpin>(
    reply: Reply,
    output: &mut Vec<u8>,
    write: &mut W,
) -> io::Result<()> {
    match reply {
        Reply::Silence => {}
        Reply::One(message) => frame(&message, output),
        Reply::Many(messages) => {
            for message in messages {
                frame(&message, output);
                if output.len() >= WRITE {
                    flush(write, output).await?;
                }
            }
        }
    }
    Ok(())
}

/// Puts a message behind its length (RFC 1035 §4.2.2).
fn frame(message: &[u8], output: &mut Vec<u8>) {
    output.extend_from_slice(&length_of(message));
    output.extend_from_slice(message);
}

fn length_of(message: &[u8]) -> [u8; 2] {
    let length = u16::try_from(message.len());
    length.expect("messages are kept within two bytes of length").to_be_bytes()
}

async fn flush<W: AsyncWrite + Unpin>(write: &mut W, output: &mut Vec<u8>) -> io::Result<()> {
    if !output.is_empty() {
        timeout(STALLED, write.write_all(output)).await??;
        timeout(STALLED, write.flush()).await??;
        output.clear();
    }
    Ok(())
}
