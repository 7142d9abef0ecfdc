//! The cluster node, with etcd's flags.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Most of what a request allocates on one thread is freed by another.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    quorate::cli::node::main(std::env::args_os().skip(1))
}
