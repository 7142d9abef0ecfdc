use std::pin::Pin;

use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::node::Handle;
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::health_server::Health as Service;
use crate::proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};

/// `grpc.health.v1.Health`: the member as a whole is the only service, and it serves until it begins to stop.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) handle: Handle,
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

impl Health {
    fn now(&self) -> HealthCheckResponse {
        let stops = self.handle.is_stopping();
        answer(if stops { ServingStatus::NotServing } else { ServingStatus::Serving })
    }
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
        Ok(Response::new(self.now()))
    }

    /// The member as a whole, which has no name.
    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        let statuses = [(String::new(), self.now())].into();
        Ok(Response::new(HealthListResponse { statuses }))
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
