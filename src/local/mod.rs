//! Local names: what files that are no zones say about names, and the answers that follow.
//!
//! ```text
//! hosts text ----read--> Host* ----\
//! dnsmasq text --read--> Setting* ---add--> Names --lookup(name, type)--> Found
//! ```
//!
//! Pure, as [`crate::zone`] is. A zone knows that a name does not exist; local names know only what
//! does, and leave the rest to whoever is asked next.
//!
//! Properties of [`Names`]:
//! 1. An owner has no record twice.
//! 2. An address leads back to one name, the first one that it was given.
//! 3. What is said about a name itself comes before what is said about a domain it is in, and a
//!    nearer domain before one further up.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod dnsmasq;
pub mod hosts;
mod names;
pub mod resolv;
mod text;

pub use names::{Found, Names, Suffixes};
pub use text::{Fault, Finding};

#[cfg(test)]
mod tests;
