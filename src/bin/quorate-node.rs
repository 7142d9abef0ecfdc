//! The cluster node, with etcd's flags.

use std::process::ExitCode;

/// What a request needs is allocated where it is read and freed where it is applied, which costs the allocator of
/// the system a lock that all threads want.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    quorate::cli::node::main(std::env::args_os().skip(1))
}
