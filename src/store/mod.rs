//! Revisions on disk.

/// The store on disk.
#[derive(Debug)]
pub struct Store {}
