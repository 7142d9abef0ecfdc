//! The Watch service: one stream of requests and answers per client, many watchers on it.

mod encode;
mod session;

use std::pin::Pin;

use futures_util::stream::unfold;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use self::session::Session;
use super::caller::Claim;
use super::led::Led;
use super::{On, admit};
use crate::node::Handle;
use crate::proto::etcdserverpb as pb;

/// Events as they happen, and as they happened.
#[derive(Debug)]
pub(super) struct Watch(pub(super) Handle);

#[tonic::async_trait]
impl pb::watch_server::Watch for Watch {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        let led = Led::of(&self.0, request.metadata());
        let claim = Claim::of(&request);
        let session = Session::new(self.0.clone(), claim, request.into_inner(), led);
        // In a box, as it is handed on with every answer.
        let answers = unfold(Box::new(session), async |mut session| {
            let answer = session.next().await?;
            Some((answer, session))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
