use std::pin::Pin;

use tokio_stream::Stream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health as Service;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::node::Handle;

/// `grpc.health.v1.Health`: the member as a whole is the only service, and it serves until it begins to stop.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) handle: Handle,
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Service for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !request.get_ref().service.is_empty() {
            return Err(Status::not_found("unknown service"));
        }
        let stops = self.handle.is_stopping();
        let status = if stops { ServingStatus::NotServing } else { ServingStatus::Serving };
        Ok(Response::new(answer(status)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// Every change from now on, what holds now first. It does not end before the client does.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = request.get_ref().service.is_empty();
        let first = if known { ServingStatus::Serving } else { ServingStatus::ServiceUnknown };
        let handle = self.handle.clone();
        let stopped = futures_util::stream::once(async move {
            handle.stopping().await;
            Ok(answer(ServingStatus::NotServing))
        });
        let first = tokio_stream::once(Ok(answer(first)));
        if !known {
            let silence = futures_util::stream::pending();
            return Ok(Response::new(Box::pin(futures_util::StreamExt::chain(first, silence))));
        }
        Ok(Response::new(Box::pin(futures_util::StreamExt::chain(first, stopped))))
    }
}
