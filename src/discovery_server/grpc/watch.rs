use std::pin::Pin;

use futures_util::StreamExt as _;
use futures_util::stream::unfold;
use tokio_stream::{Stream, StreamMap};
use tonic::{Request, Response, Status, Streaming};

use super::keys::Scope;
use super::{Service, refuse};
use crate::admission::{State, codes};
use crate::discovery_server::POLL_LIMIT;
use crate::discovery_server::gate::Waiter;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::watch_create_request::FilterType;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::mvccpb::{Event, event::EventType};
use crate::registry;
use crate::token::TokenPath;

/// The most watches on one stream; further ones end it.
const MAX_WATCHES: usize = 64;
/// The id of answers that belong to no watch.
const NO_WATCH: i64 = -1;

type Answer = Result<pb::WatchResponse, Status>;
type Answers = Pin<Box<dyn Stream<Item = Answer> + Send>>;

/// Registrations as they happen, and as they happened.
#[derive(Debug)]
pub(super) struct Watch(pub(super) Service);

#[tonic::async_trait]
impl pb::watch_server::Watch for Watch {
    type WatchStream = Answers;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.0.admit(request.metadata())?;
        let session = Session {
            service: self.0.clone(),
            requests: request.into_inner(),
            watches: StreamMap::new(),
            ended: false,
        };
        let answers = unfold(session, async |mut session| {
            let answer = session.next().await?;
            Some((answer, session))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// One client's stream with all its watches.
struct Session {
    service: Service,
    requests: Streaming<pb::WatchRequest>,
    watches: StreamMap<i64, Answers>,
    ended: bool,
}

impl Session {
    async fn next(&mut self) -> Option<Answer> {
        if self.ended {
            return None;
        }
        let stop = self.service.0.stop.clone();
        let answer = loop {
            tokio::select! {
                request = self.requests.message() => match request {
                    Ok(Some(request)) => if let Some(answer) = self.asked(request).await {
                        break answer;
                    },
                    Ok(None) => return None,
                    Err(status) => break Err(status),
                },
                Some((_, answer)) = self.watches.next(), if !self.watches.is_empty() => {
                    break answer;
                }
                () = stop.cancelled() => break Err(refuse::stopping()),
            }
        };
        // A status is the last word on a stream.
        self.ended = answer.is_err();
        Some(answer)
    }

    async fn asked(&mut self, request: pb::WatchRequest) -> Option<Answer> {
        match request.request_union? {
            RequestUnion::CreateRequest(request) => Some(self.create(&request).await),
            RequestUnion::CancelRequest(request) => {
                let id = request.watch_id;
                drop(self.watches.remove(&id)?);
                let answer = pb::WatchResponse { watch_id: id, canceled: true, ..self.empty() };
                Some(Ok(answer))
            }
            RequestUnion::ProgressRequest(_) => {
                Some(Ok(pb::WatchResponse { watch_id: NO_WATCH, ..self.empty() }))
            }
        }
    }

    async fn create(&mut self, request: &pb::WatchCreateRequest) -> Answer {
        let scope = Scope::of(&request.key, &request.range_end)?;
        if self.watches.len() >= MAX_WATCHES {
            let text = format!("a stream has at most {MAX_WATCHES} watches");
            return Err(Status::resource_exhausted(text));
        }
        let id = match request.watch_id {
            0 => (0..).find(|id| !self.watches.contains_key(id)).unwrap_or_default(),
            id if self.watches.contains_key(&id) => {
                return Err(Status::invalid_argument(format!("watch {id} exists on this stream")));
            }
            id => id,
        };
        let created = pb::WatchResponse { watch_id: id, created: true, ..self.empty() };
        let next = match u64::try_from(request.start_revision) {
            Ok(from) if from > 0 => from,
            _ => self.service.snapshot(scope.token()).revision + 1,
        };
        // A watch of no token never has anything to say, and counts as one of a token without name.
        let path = scope.token().cloned().unwrap_or_else(|| TokenPath::stored(String::new()));
        let Some(waiter) = self.service.waiter(&path).await else {
            let text = format!("{}: too many nodes wait for this", codes::TOO_MANY_WAITERS);
            return Err(Status::unavailable(text));
        };
        let watching = Watching {
            service: self.service.clone(),
            scope,
            next,
            id,
            lived: false,
            silent: request.filters().any(|filter| filter == FilterType::Noput),
        };
        let _replaced = self.watches.insert(id, watching.answers(waiter));
        Ok(created)
    }

    fn empty(&self) -> pb::WatchResponse {
        let revision = self.service.registry().index();
        pb::WatchResponse { header: self.service.header(revision), ..pb::WatchResponse::default() }
    }
}

/// One watch.
struct Watching {
    service: Service,
    scope: Scope,
    /// The first revision that was not told yet.
    next: u64,
    id: i64,
    /// The client asked for deletions only, which there are none of.
    silent: bool,
    /// The token was there when this watch began.
    lived: bool,
}

impl Watching {
    fn answers(self, waiter: Waiter) -> Answers {
        Box::pin(unfold((self, waiter), async |(mut watching, waiter)| {
            let answer = watching.next().await;
            Some((answer, (watching, waiter)))
        }))
    }

    /// The next events, or the end when the token is no more.
    ///
    /// A node whose watch ends asks again at once, however often; so the end of a token, and a
    /// token that never was, are told after as long as a poll is held.
    async fn next(&mut self) -> Answer {
        loop {
            let Some(token) = self.scope.token() else {
                tokio::time::sleep(POLL_LIMIT).await;
                return Err(refuse::unknown());
            };
            self.lived |= self.service.registry().founding(token).is_some();
            let (scope, from, silent) = (&self.scope, self.next, self.silent);
            let events = self.service.registry().wait(token, |founding| {
                let expired = founding.state(registry::now()) == State::Expired;
                let events = scope.since(founding, from);
                let some = !expired && !silent && !events.is_empty();
                some.then_some((events, founding.index))
            });
            match tokio::time::timeout(POLL_LIMIT, events).await {
                Ok(Some((kvs, index))) => {
                    self.next = index + 1;
                    let event =
                        |kv| Event { r#type: EventType::Put as i32, kv: Some(kv), prev_kv: None };
                    return Ok(pb::WatchResponse {
                        header: self.service.header(index),
                        watch_id: self.id,
                        events: kvs.into_iter().map(event).collect(),
                        ..pb::WatchResponse::default()
                    });
                }
                // It was revoked, or its time is long over: whoever watched it learns that at once.
                Ok(None) if self.lived => {}
                Ok(None) => tokio::time::sleep(POLL_LIMIT).await,
                Err(_elapsed) => {}
            }
            if self.service.snapshot(Some(token)).founding.is_none() {
                return Err(refuse::unknown());
            }
        }
    }
}
