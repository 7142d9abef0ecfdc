//! The heads of HTTP/2's frames (RFC 9113 §4.1), for what is looked at on its way to the library.

use super::pieces::Pieces;

/// How a client begins (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const HEAD_BYTES: usize = 9;

// Types and flags of frames (RFC 9113 §6).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const END_STREAM: u8 = 0x01;
pub(super) const ACK: u8 = 0x01;
pub(super) const PADDED: u8 = 0x08;
pub(super) const PRIORITY: u8 = 0x20;

/// What stands before a payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    /// Of the payload.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    pub(super) fn read(bytes: [u8; HEAD_BYTES]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        Self { length, kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff }
    }
}

/// The heads of frames in one direction.
#[derive(Debug)]
pub(super) struct Frames(Pieces<HEAD_BYTES>);

impl Frames {
    /// Frames that begin behind so many bytes.
    pub(super) fn behind(left: usize) -> Self {
        Self(Pieces::behind(left))
    }

    /// Calls `each` with the heads that end within these bytes.
    pub(super) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Head)) {
        self.0.feed(bytes, |head| {
            let head = Head::read(head);
            each(head);
            head.length
        });
    }

    /// Whether the next byte begins a frame.
    pub(super) fn between_frames(&self) -> bool {
        self.0.is_between()
    }
}
