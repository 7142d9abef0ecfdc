//! Local names: what files that are no zones say about names, and the answers that follow.
//!
//! ```text
//! hosts text --read--> Host* --add_host--> Names --lookup(name, type)--> Found
//! ```
//!
//! Pure, as [`crate::zone`] is. A zone knows that a name does not exist; local names know only what
//! does, and leave the rest to whoever is asked next.
//!
//! Properties of [`Names`]:
//! 1. An owner has no record twice.
//! 2. An address leads back to one name, the first one that it was given.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod hosts;
mod names;
mod text;

pub use names::{Found, Names};
pub use text::{Fault, Finding};

#[cfg(test)]
mod tests;
