//! Flags, environment and file of each binary, made into one checked `Config`.
//!
//! Nothing is opened or bound here. Every problem of a configuration is reported, not the first.

pub(crate) mod nearest;
pub mod node;
pub mod serve;
