//! The bootstrap service and the operator's tool.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Most of what a request allocates on one thread is freed by another.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    quorate::cli::quorate(std::env::args_os())
}
