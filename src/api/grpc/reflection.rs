//! gRPC reflection, by which tools like grpcurl learn the API from the server.

use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use axum::extract::Request;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::codegen::Service;
use tonic::server::NamedService;
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
    let builder = Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
    TOLD.into_iter().fold(builder, Builder::with_service_name)
}

pub(super) fn v1() -> OnceAsked<v1::ServerReflectionServer<impl v1::ServerReflection>> {
    OnceAsked::new(|| {
        builder().build_v1().expect(WELL_FORMED).accept_compressed(Gzip).send_compressed(Gzip)
    })
}

/// The older version, which older tools ask for.
pub(super) fn v1alpha() -> OnceAsked<v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection>>
{
    OnceAsked::new(|| {
        builder().build_v1alpha().expect(WELL_FORMED).accept_compressed(Gzip).send_compressed(Gzip)
    })
}

/// A service that is made when somebody calls it for the first time: descriptors take a megabyte, and hardly
/// any node is ever asked for them.
#[derive(Debug)]
pub(super) struct OnceAsked<S>(Arc<LazyLock<S>>);

impl<S> OnceAsked<S> {
    fn new(make: fn() -> S) -> Self {
        Self(Arc::new(LazyLock::new(make)))
    }
}

impl<S> Clone for OnceAsked<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: NamedService> NamedService for OnceAsked<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<Request> + Clone> Service<Request> for OnceAsked<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // As of all services that the library generates.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> S::Future {
        S::clone(&self.0).call(request)
    }
}
