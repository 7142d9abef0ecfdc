//! Compiles the vendored `.proto` files with a compiler written in Rust, so nothing is installed.

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "proto/etcd/kv.proto",
        "proto/etcd/auth.proto",
        "proto/etcd/rpc.proto",
        "proto/etcd/lock.proto",
        "proto/etcd/election.proto",
        "proto/grpc/health/v1/health.proto",
        "proto/quorate/replica.proto",
        "proto/quorate/peer.proto",
    ];
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=migrations");
    let descriptors = protox::compile(files, ["proto"])?;
    // The JSON gateway and gRPC reflection read the same descriptors that the code is made from.
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(out, descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
