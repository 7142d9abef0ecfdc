//! Sockets: the HTTP listener that every service shares, and the streams between peers.

mod listen;

pub use listen::{Bound, ListenError, serve};
