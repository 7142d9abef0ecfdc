use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode};
use futures_util::StreamExt;
use futures_util::stream;

use super::target::Leaf;
use super::{POLL_LIMIT, Service, answer};
use crate::admission::{Founding, codes};
use crate::membership::MemberId;

/// What a long poll waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Polled {
    /// The next founder, whoever it is.
    AnyFounder,
    /// The registration with this key.
    Member(MemberId),
    /// Something that never changes: a size, a directory itself, a name that is no id.
    Never,
}

impl Polled {
    pub(super) fn of(leaf: Leaf, recursive: bool) -> Self {
        match leaf {
            Leaf::Directory if recursive => Self::AnyFounder,
            Leaf::Member(id) => id.parse().map_or(Self::Never, Self::Member),
            Leaf::Directory | Leaf::ConfigDirectory | Leaf::Size => Self::Never,
        }
    }

    /// The first event of this kind at `index` or later, as a body.
    fn event(&self, founding: &Founding, index: u64) -> Option<Bytes> {
        let found = match self {
            Self::AnyFounder => founding.event_since(index),
            // A late comer reads its own registration back before it learns that it is one.
            Self::Member(key) => founding.registered(*key).filter(|held| held.index >= index),
            Self::Never => None,
        };
        found.map(|held| Bytes::from(answer::created_event(founding, held)))
    }
}

/// Holds the request until the event comes, the limit is over or the service stops.
///
/// The head of the answer goes out at once, with the index of the state in which waiting began. A
/// poll without an index waits for what comes after that.
pub(super) async fn answer(
    service: &Service,
    founding: &Founding,
    polled: Polled,
    wait_index: u64,
) -> Response<Body> {
    let index = if wait_index == 0 { founding.index + 1 } else { wait_index };
    let path = founding.path.clone();
    let waiting = service.clone();
    let Some(waiter) = service.waiter(&path).await else {
        let cause = format!("{}: too many nodes wait for this", codes::TOO_MANY_WAITERS);
        return service.busy(StatusCode::SERVICE_UNAVAILABLE, &cause);
    };
    let event = async move {
        let _waiter = waiter;
        let event = waiting.registry().wait(&path, |founding| polled.event(founding, index));
        tokio::select! {
            // The event first: one that is there already must not lose against a stop.
            biased;
            event = event => event,
            () = waiting.0.stop.cancelled() => None,
            () = tokio::time::sleep(POLL_LIMIT) => None,
        }
    };
    let body = stream::once(event).filter_map(async |event| event.map(Ok::<_, std::io::Error>));
    service.indexed(Body::from_stream(body), founding.index)
}
