//! Command lines.

pub mod lab;
