//! Lets in clients whose `:authority` is a whole URL, the path of a Unix socket, or a list of addresses.
//!
//! `etcdctl --endpoints http://HOST:PORT endpoint status`, and every client library of that
//! generation in its maintenance calls, sends `:authority: http://HOST:PORT`; with `unix:///run/etcd.sock` all calls send
//! `/run/etcd.sock` or the whole. gRPC for Python, C++ and others sends all addresses of `ipv4:HOST:PORT,HOST:PORT`, with
//! commas or `%2C` between them. etcd does not look at it; our HTTP/2 library ends the stream before any of our
//! code sees the request. So the slashes of such a value, the colon before two of them, and what divides the addresses
//! behind the first are overwritten before the library reads it. The new text has as many characters and as many bits in HPACK's Huffman code: neither
//! lengths nor the compression table of the connection change.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame::{HEAD_BYTES, HEADERS, Head, PADDED, PREFACE, PRIORITY};

/// The largest frame that a client may send us unasked (RFC 9113 §4.2).
const LARGEST: usize = 16_384;
/// Place of `:authority` in the static table (RFC 7541, appendix A).
const AUTHORITY: usize = 1;

// What is overwritten, and by what, in Huffman code: bits and their number (RFC 7541, appendix B).
const SLASH: (u8, usize) = (0x18, 6);
const DASH: (u8, usize) = (0x16, 6);
const COLON: (u8, usize) = (0x5c, 7);
const LETTER_C: (u8, usize) = (0x5e, 7);
const COMMA: (u8, usize) = (0xfa, 8);

/// A connection whose inbound bytes are looked at until it is clear that nothing needs mending.
#[derive(Debug)]
pub(super) struct Tolerant<S> {
    stream: S,
    state: State,
    is_http2: bool,
    /// Received, and not a whole header frame yet.
    held: Vec<u8>,
    /// To be read by the library, from `given` on.
    ready: Vec<u8>,
    given: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It may be HTTP/1.1.
    Preface,
    /// No request has come yet; this many bytes of the present frame are still to come.
    First(usize),
    /// A client of that kind: all its requests are mended.
    Mending(usize),
    /// Nothing is looked at any more.
    Through,
}

impl<S> Tolerant<S> {
    pub(super) fn new(stream: S) -> Self {
        let (held, ready) = (Vec::new(), Vec::new());
        Self { stream, state: State::Preface, is_http2: false, held, ready, given: 0 }
    }

    /// Moves what the library may see from `held` to `ready`.
    fn sort(&mut self) {
        let mut done = 0;
        loop {
            let held = &mut self.held[done..];
            match self.state {
                State::Preface if held.starts_with(PREFACE) => {
                    done += PREFACE.len();
                    self.is_http2 = true;
                    self.state = State::First(0);
                }
                State::Preface if PREFACE.starts_with(held) => break,
                State::Preface => self.state = State::Through,
                State::Through => {
                    done = self.held.len();
                    break;
                }
                State::First(0) | State::Mending(0) => {
                    let Some(head) = held.first_chunk::<HEAD_BYTES>() else { break };
                    let head = Head::read(*head);
                    let whole = HEAD_BYTES + head.length;
                    if head.kind != HEADERS || head.length > LARGEST {
                        self.state = self.state.within(whole);
                    } else if held.len() < whole {
                        break;
                    } else {
                        let mended = mend(head.flags, &mut held[HEAD_BYTES..whole]);
                        done += whole;
                        self.state = match self.state {
                            State::First(_) if !mended => State::Through,
                            _ => State::Mending(0),
                        };
                    }
                }
                State::First(left) | State::Mending(left) => {
                    let here = left.min(held.len());
                    done += here;
                    self.state = self.state.within(left - here);
                    if left > here {
                        break;
                    }
                }
            }
        }
        self.ready.extend(self.held.drain(..done));
    }
}

impl<S: AsyncRead + Unpin> Tolerant<S> {
    /// Reads until it is clear which version of HTTP this is; an error when the client leaves first.
    pub(super) async fn recognized(&mut self) -> io::Result<()> {
        while self.state == State::Preface {
            // Not in this future, which every connection keeps.
            self.held.reserve(1024);
            let read = tokio::io::AsyncReadExt::read_buf(&mut self.stream, &mut self.held).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.sort();
        }
        Ok(())
    }

    /// Whether the client began with the preface of HTTP/2, once it is recognized.
    pub(super) fn is_http2(&self) -> bool {
        self.is_http2
    }
}

impl State {
    fn within(self, left: usize) -> Self {
        if matches!(self, Self::First(_)) { Self::First(left) } else { Self::Mending(left) }
    }
}

/// Overwrites what the authority must not have, in the payload of a header frame; whether there was any.
fn mend(flags: u8, payload: &mut [u8]) -> bool {
    let skipped = usize::from(flags & PADDED != 0) + if flags & PRIORITY == 0 { 0 } else { 5 };
    let mut block = payload.get_mut(skipped..).unwrap_or_default();
    let mut mended = false;
    // Whatever cannot be read is left for the library to refuse.
    while let Some((value, rest)) = next_authority(block) {
        let (huffman, text) = value;
        mended |= if huffman { replace_huffman(text) } else { replace(text) };
        block = rest;
    }
    mended
}

type Text<'a> = (bool, &'a mut [u8]);

/// The next literal value of `:authority` and the block behind it (RFC 7541 §6).
fn next_authority(mut block: &mut [u8]) -> Option<(Text<'_>, &mut [u8])> {
    loop {
        let first = *block.first()?;
        let bits = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let (name, used) = integer(block, bits)?;
        block = block.get_mut(used..)?;
        if matches!(bits, 5 | 7) {
            continue;
        }
        let mut wanted = name == AUTHORITY;
        if name == 0 {
            let ((huffman, text), rest) = string(block)?;
            wanted = !huffman && text == b":authority";
            block = rest;
        }
        let (value, rest) = string(block)?;
        if wanted {
            return Some((value, rest));
        }
        block = rest;
    }
}

/// A string and what follows it (RFC 7541 §5.2).
fn string(block: &mut [u8]) -> Option<(Text<'_>, &mut [u8])> {
    let huffman = block.first()? & 0x80 != 0;
    let (length, used) = integer(block, 7)?;
    let (text, rest) = block.get_mut(used..)?.split_at_mut_checked(length)?;
    Some(((huffman, text), rest))
}

/// An integer and the bytes it takes (RFC 7541 §5.1).
fn integer(block: &[u8], bits: u32) -> Option<(usize, usize)> {
    let most = (1_usize << bits) - 1;
    let first = usize::from(*block.first()?) & most;
    if first < most {
        return Some((first, 1));
    }
    let mut value = most;
    // Three further bytes are more than any frame is long.
    for (at, byte) in block.iter().enumerate().skip(1).take(3) {
        value += usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// `http://h` becomes `httpC--h`, and `h:1,h:2` becomes `h:1,hC2`.
fn replace(text: &mut [u8]) -> bool {
    let mut found = false;
    let mut list = false;
    for at in 0..text.len() {
        match text[at..] {
            [b'%', b'2', b'C', ..] => {
                text[at] = b'-';
                list = true;
            }
            [b',', ..] => list = true,
            [b':', ..] if list => text[at] = b'C',
            [b'[' | b']', ..] if list => text[at] = b'-',
            [b':', b'/', b'/', ..] => text[at] = b'C',
            [b'/', ..] => {
                text[at] = b'-';
                found = true;
            }
            _ => {}
        }
    }
    found || list
}

fn replace_huffman(text: &mut [u8]) -> bool {
    let mut found = false;
    let mut list = false;
    let mut at = 0;
    while let Some(code) = code_at(text, at) {
        let (_, length) = code;
        let behind = at + length;
        let slash_at = |at| code_at(text, at) == Some(SLASH);
        if code == SLASH {
            set_code(text, at, DASH);
            found = true;
        } else if code == COMMA {
            list = true;
        } else if code == COLON && (list || slash_at(behind) && slash_at(behind + SLASH.1)) {
            set_code(text, at, LETTER_C);
        }
        at = behind;
    }
    found || list
}

/// The code that begins at this bit; `None` at the end, and at characters that no address has: their codes are longer
/// than a byte.
fn code_at(text: &[u8], at: usize) -> Option<(u8, usize)> {
    let first = *text.get(at / 8)?;
    let second = text.get(at / 8 + 1).copied().unwrap_or(0xff);
    let [window, _] = (u16::from_be_bytes([first, second]) << (at % 8)).to_be_bytes();
    let length = match window {
        0x00..=0x4f => 5,
        0x50..=0xb7 => 6,
        0xb8..=0xf7 => 7,
        0xf8..=0xfd => 8,
        0xfe.. => return None,
    };
    Some((window >> (8 - length), length))
}

/// Writes a code over one that is as long.
fn set_code(text: &mut [u8], at: usize, (bits, length): (u8, usize)) {
    for place in 0..length {
        let mask = 0x80 >> ((at + place) % 8);
        let byte = &mut text[(at + place) / 8];
        if bits >> (length - 1 - place) & 1 == 1 { *byte |= mask } else { *byte &= !mask }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tolerant<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.given < this.ready.len() {
                let waiting = &this.ready[this.given..];
                let now = waiting.len().min(buffer.remaining());
                buffer.put_slice(&waiting[..now]);
                this.given += now;
                return Poll::Ready(Ok(()));
            }
            this.ready.clear();
            this.given = 0;
            if this.state == State::Through {
                (this.held, this.ready) = (Vec::new(), Vec::new());
                return Pin::new(&mut this.stream).poll_read(context, buffer);
            }
            let mut chunk = [0; 4096];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut chunk))?;
            if chunk.filled().is_empty() {
                // The end; the library judges what came before it.
                this.state = State::Through;
            }
            this.held.extend_from_slice(chunk.filled());
            this.sort();
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tolerant<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
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

    /// A header frame with `:method: POST` by index and `:authority` as a literal.
    fn headers(huffman: bool, authority: &[u8]) -> Vec<u8> {
        let length = u8::try_from(authority.len()).unwrap();
        let mut frame = vec![0, 0, length + 3, HEADERS, 4, 0, 0, 0, 1, 0x83, 0x41];
        frame.push(length | if huffman { 0x80 } else { 0 });
        frame.extend_from_slice(authority);
        frame
    }

    fn read(pieces: &[&[u8]]) -> Vec<u8> {
        let mut connection = Tolerant::new(());
        for piece in pieces {
            connection.held.extend_from_slice(piece);
            connection.sort();
        }
        connection.ready
    }

    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

    #[test]
    fn an_authority_that_is_a_url_is_overwritten() {
        let bad = headers(false, b"http://127.0.0.1:2379");
        let good = headers(false, b"httpC--127.0.0.1:2379");
        let whole = [PREFACE, &SETTINGS, &bad, &SETTINGS, &bad].concat();
        let mended = [PREFACE, &SETTINGS, &good, &SETTINGS, &good].concat();
        assert_eq!(read(&[&whole]), mended);
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(read(&bytes), mended);
        for authority in ["httpC--127.0.0.1:2379", "httpC--[::1]:2379", "httpC--etcd1:2379"] {
            assert!(http::uri::Authority::try_from(authority).is_ok(), "{authority}");
        }
    }

    #[test]
    fn the_huffman_code_is_overwritten_bit_for_bit() {
        // RFC 7541 has `https://` in C.6.1; `http://` differs in one code.
        let bad = headers(true, &[0x9d, 0x29, 0xae, 0xe3, 0x0c, 0x44, 0x01]);
        let good = headers(true, &[0x9d, 0x29, 0xae, 0xf2, 0xcb, 0x44, 0x01]);
        assert_eq!(read(&[&[PREFACE, &bad].concat()]), [PREFACE, &good].concat());
    }

    /// What `etcdctl` 3.4 and 3.5 send for `unix:///tmp/dt2.sock` and `unix://127.0.0.1:3456`.
    #[test]
    fn the_path_of_a_socket_is_overwritten() {
        for (bad, good) in [
            ("/tmp/dt2.sock", "-tmp-dt2.sock"),
            ("unix:///tmp/dt2.sock", "unixC---tmp-dt2.sock"),
            ("unix://127.0.0.1:3456", "unixC--127.0.0.1:3456"),
        ] {
            let mended = [PREFACE, &headers(false, good.as_bytes())].concat();
            assert_eq!(read(&[&[PREFACE, &headers(false, bad.as_bytes())].concat()]), mended);
            assert!(http::uri::Authority::try_from(good).is_ok(), "{good}");
        }
        // `/a/b` and `:a/`, with the padding of ones.
        let bad = headers(true, &[0x60, 0x6c, 0x47]);
        let good = headers(true, &[0x58, 0x6b, 0x47]);
        assert_eq!(read(&[&[PREFACE, &bad].concat()]), [PREFACE, &good].concat());
        let bad = headers(true, &[0xb8, 0x36, 0x3f]);
        let good = headers(true, &[0xb8, 0x35, 0xbf]);
        assert_eq!(read(&[&[PREFACE, &bad].concat()]), [PREFACE, &good].concat());
    }

    /// What gRPC for Python sends when it was given all members, older releases with `%2C`. The name is spelled out.
    #[test]
    fn the_addresses_of_a_list_become_one() {
        let request = |authority: &str| {
            let mut block = vec![0x83, 0x40, 10];
            block.extend_from_slice(b":authority");
            block.push(u8::try_from(authority.len()).unwrap());
            block.extend_from_slice(authority.as_bytes());
            let length = u8::try_from(block.len()).unwrap();
            [PREFACE, &[0, 0, length, HEADERS, 4, 0, 0, 0, 1], &block].concat()
        };
        for (bad, good) in [
            ("127.0.0.1:2379,127.0.0.1:22379", "127.0.0.1:2379,127.0.0.1C22379"),
            ("10.0.0.1:2379%2C10.0.0.2:2379", "10.0.0.1:2379-2C10.0.0.2C2379"),
            ("[::1]:2379,[::2]:2379", "[::1]:2379,-CC2-C2379"),
        ] {
            assert!(http::uri::Authority::try_from(bad).is_err(), "{bad}");
            assert!(http::uri::Authority::try_from(good).is_ok(), "{good}");
            assert_eq!(read(&[&request(bad)]), request(good));
        }
        // `1:0,1:0`, with the padding of ones.
        let bad = headers(true, &[0x0d, 0xc0, 0x7d, 0x06, 0xe0, 0x3f]);
        let good = headers(true, &[0x0d, 0xc0, 0x7d, 0x06, 0xf0, 0x3f]);
        assert_eq!(read(&[&[PREFACE, &bad].concat()]), [PREFACE, &good].concat());
    }

    #[test]
    fn everything_else_passes_as_it_is() {
        let usual = headers(false, b"http:2379");
        for whole in [
            b"GET http://127.0.0.1/ HTTP/1.1\r\n\r\n".to_vec(),
            b"PRI * HTTP/1.1\r\n\r\n".to_vec(),
            [PREFACE, &SETTINGS, &usual, &headers(false, b"http://later")].concat(),
            [PREFACE, &[0xff; 64]].concat(),
            [PREFACE, &headers(true, &[0x9d, 0x29, 0xae])].concat(),
            [PREFACE, &[0, 0, 3, HEADERS, 4, 0, 0, 0, 1, 0x41, 0xff, 0xff]].concat(),
        ] {
            assert_eq!(read(&[&whole]), whole);
            assert_eq!(read(&whole.chunks(1).collect::<Vec<_>>()), whole);
        }
    }

    #[test]
    fn a_frame_without_headers_is_not_held_back() {
        // The client waits for our settings before it asks anything.
        let first = [PREFACE, &SETTINGS].concat();
        assert_eq!(read(&[&first]), first);
        let data = [PREFACE, &[0, 0, 9, 0, 0, 0, 0, 0, 1, 7, 7]].concat();
        assert_eq!(read(&[&data]), data);
    }
}
