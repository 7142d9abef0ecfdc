//! The cluster node, with etcd's flags.

use std::process::ExitCode;

fn main() -> ExitCode {
    quorate::cli::node::main(std::env::args_os().skip(1))
}
