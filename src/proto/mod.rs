//! Generated protobuf code: etcd's public API, gRPC's health and our own peer and log formats. No logic.
#![allow(
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::doc_markdown,
    clippy::use_self,
    clippy::str_to_string,
    clippy::too_many_lines,
    unused_qualifications,
    reason = "generated code"
)]

pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}
pub mod authpb {
    tonic::include_proto!("authpb");
}
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}
pub mod quorate {
    pub mod replica {
        tonic::include_proto!("quorate.replica");
    }
    pub mod peer {
        tonic::include_proto!("quorate.peer");
    }
}

/// The descriptors that this code was made from, as an encoded `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
