//! gRPC reflection, by which tools like grpcurl learn the API from the server.

use tonic_reflection::server::{Builder, v1, v1alpha};

use crate::proto::DESCRIPTORS;

/// What is told of: what clients may call, and not the protocol between members.
const TOLD: [&str; 9] = [
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "etcdserverpb.Cluster",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Auth",
    "v3lockpb.Lock",
    "v3electionpb.Election",
    "grpc.health.v1.Health",
];
const WELL_FORMED: &str = "the descriptors are the ones that the code was made from";

fn builder() -> Builder<'static> {
    let builder = Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    TOLD.into_iter().fold(builder, Builder::with_service_name)
}

pub(super) fn v1() -> v1::ServerReflectionServer<impl v1::ServerReflection> {
    builder().build_v1().expect(WELL_FORMED)
}

/// The older version, which older tools ask for.
pub(super) fn v1alpha() -> v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection> {
    builder().build_v1alpha().expect(WELL_FORMED)
}
