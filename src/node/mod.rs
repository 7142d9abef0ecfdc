//! The running node: threads, queues and clocks around the replica and the state machine.
//!
//! ```text
//!            clients, peers, ticks
//!                     |  bounded queues
//!                  driver ---------------> peers (best effort)
//!      batches |     ^      | committed, in order
//!              v     |      v
//!        log thread  |   apply thread ---> waiters, watchers
//!        one sync    |      |
//!        per round --+--<---+   flush thread: state to disk, off the write path
//! ```
//!
//! The driver is no thread of its own: whoever brings an event steps the replica. It never touches the
//! disk. The replica thread serves the peers' connections and lets time pass. The log thread alone
//! syncs: what it acknowledged is what consensus counts. The apply thread alone writes the state; readers share a lock with it
//! that nobody holds for long. The flush thread moves applied state to the store and tells the log
//! what may be cut. Reads that must be linearizable queue for a read-index round.
//!
//! Services hold a [`Handle`] and nothing else of this module.

mod apply_loop;
mod arrival;
mod authenticate;
pub mod bootstrap;
mod compactor;
mod config;
mod corruption;
mod data_dir;
mod driver;
mod error;
mod flusher;
mod force;
mod handle;
mod leader_client;
mod lease_clock;
mod log_loop;
mod maintenance;
mod memory;
mod metrics;
mod open;
mod peer_service;
pub mod proxy;
mod publish;
pub mod quota;
mod reads;
mod reconfigure;
mod renewals;
mod requests;
mod running;
mod shared;
mod start;
#[cfg(test)]
mod tests;
mod timeouts;
mod tokens;
mod turns;
mod waiters;
pub mod watch;
mod work;

pub use bootstrap::Start;
pub use config::{AutoCompaction, Config, Feature, Founding, Limits, Upkeep};
pub use data_dir::{DataDir, DataDirError};
pub use error::{Error, StartError};
pub use handle::{Handle, Status};
pub use maintenance::HashKv;
pub use running::Running;
pub use start::start;
pub use tokens::{Credentials, Jwt, JwtError, OptionsError, TokenOptions, parse_options};

use crate::apply;
use crate::store::Store;

/// The state machine as a node runs it: over the store on disk.
pub type State = apply::State<Store>;
