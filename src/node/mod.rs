//! The running node: threads, queues and clocks around the replica and the state machine.
//!
//! Services hold a [`Handle`] and nothing else of this module.

mod config;
mod error;
mod handle;
pub mod watch;

pub use config::{Config, Founding, Limits};
pub use error::Error;
pub use handle::{Handle, Status};

use crate::apply;
use crate::store::Store;

/// The state machine as a node runs it: over the store on disk.
pub type State = apply::State<Store>;
