//! Watchers of one member: who wants which events, and who lags behind.
//!
//! A watcher is *in step* or *behind*. In step, the [`Hub`] puts every matching event into the bounded
//! queue of the watcher's [`Subscription`] while it is published. When the queue is full the watcher
//! falls behind: it gets a [`Delivery::Behind`] after everything queued for it before, reads what it missed from the
//! store at its own pace, and joins again.
//!
//! Invariants:
//! 1. A watcher that joined at `from` gets every matching event of every revision `>= from` exactly
//!    once, in order, until it leaves or is told that it is behind.
//! 2. [`Subscription::join`] refuses a watcher when something `>= from` was published already. The
//!    caller has read the store up to `from - 1`, so it reads on and asks again: no gap, no duplicate.
//! 3. Publishing never waits for a watcher. The hub's lock is held for map look-ups and queue pushes only.
//!
//! Reading the store, and everything a client sees of watching, is the API's.

mod hub;
mod index;
mod interest;
mod queue;
#[cfg(test)]
mod tests;

pub use hub::{Hub, Subscription};
pub use interest::Interest;
pub use queue::{Batch, Delivery};
