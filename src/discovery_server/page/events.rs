use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use axum::http::{Response, StatusCode};
use futures_util::stream;
use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::super::Service;
use super::super::answer::not_allowed;
use super::super::answer::text;
use super::super::asked::Asked;
use super::{Looker, alive, guarded, is_read, rendered, state, templates};
use crate::registry;
use crate::token::TokenPath;

/// Pages that may follow events at a time. Others look again by themselves.
const MAX_STREAMS: usize = 1024;

/// A sign of life this often, so that proxies do not cut a quiet stream.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// Places for streams of events, counted.
#[derive(Debug)]
pub(in crate::discovery_server) struct Streams {
    places: Arc<Semaphore>,
    open: IntGauge,
}

/// One place, given back when the stream ends.
struct Place {
    open: IntGauge,
    _permit: OwnedSemaphorePermit,
}

impl Streams {
    pub(in crate::discovery_server) fn new(open: IntGauge) -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_STREAMS)), open }
    }

    fn place(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        self.open.inc();
        Some(Place { open: self.open.clone(), _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// `/<token>/events`: the changing part of the page, whenever it changes (WHATWG HTML §9.2).
///
/// `state` brings it anew, `gone` says that there is nothing to see any more. The stream ends when
/// the service stops; browsers come again by themselves.
pub(in crate::discovery_server) fn events(
    service: &Service,
    path: Option<&TokenPath>,
    looker: Looker,
    asked: &Asked,
) -> Response<Body> {
    if !is_read(&asked.method) {
        return not_allowed("GET, HEAD", "events can only be read");
    }
    let Some(path) = path.filter(|path| alive(service, path).is_some()) else {
        return super::nothing(service);
    };
    let Some(place) = service.streams().place() else {
        let mut response =
            text(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open, reload this one\n");
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("30"));
        return response;
    };
    let following = Following {
        service: service.clone(),
        path: path.clone(),
        looker,
        changes: service.recent().changes(),
        last: Last::Nothing,
        _place: place,
    };
    let body = Body::from_stream(stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok::<_, std::io::Error>(event), following))
    }));
    let mut response = guarded(Response::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    // Front proxies that gather answers would hold events back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// One open page.
struct Following {
    service: Service,
    path: TokenPath,
    looker: Looker,
    changes: watch::Receiver<u64>,
    last: Last,
    _place: Place,
}

/// What the page shows.
enum Last {
    Nothing,
    /// The state of this index, with what was noted beside it, without the time that goes by.
    State {
        index: u64,
        key: String,
    },
    Gone,
}

impl Following {
    /// The next event, once there is one; nothing when the stream is to end.
    async fn next(&mut self) -> Option<String> {
        loop {
            let index = match &self.last {
                Last::Gone => return None,
                Last::Nothing => None,
                Last::State { index, .. } => Some(*index),
            };
            if let Some(shown) = index {
                let registry = self.service.registry().clone();
                let changed = registry.wait(&self.path, |now| (now.index != shown).then_some(()));
                let noted = self.changes.changed();
                // Nothing else says that a token has expired.
                let quiet = alive(&self.service, &self.path).map_or(Duration::ZERO, |founding| {
                    let left = founding.expires_at.0.saturating_sub(registry::now().0) + 1;
                    SIGN_OF_LIFE.min(Duration::from_millis(left))
                });
                tokio::select! {
                    biased;
                    () = self.service.stopping() => return None,
                    _ = changed => {}
                    Ok(()) = noted => {}
                    () = tokio::time::sleep(quiet) => {
                        if alive(&self.service, &self.path).is_some() {
                            return Some(": still here\n\n".to_owned());
                        }
                    }
                }
            }
            if let Some(event) = self.next_change() {
                return Some(event);
            }
        }
    }

    /// Looks at the token; an event if the page has to change.
    fn next_change(&mut self) -> Option<String> {
        let Some(founding) = alive(&self.service, &self.path) else {
            self.last = Last::Gone;
            return Some("event: gone\ndata: gone\n\n".to_owned());
        };
        let now = registry::now();
        let shown = state::Shown::new(&self.service, &founding, self.looker, now);
        let refusals = shown.refusals.iter().map(|turned| (turned.times, &turned.at.iso));
        let key = format!("{} {:?}", shown.expires.iso, refusals.collect::<Vec<_>>());
        let index = founding.index;
        if matches!(&self.last, Last::State { index: i, key: k } if *i == index && *k == key) {
            return None;
        }
        self.last = Last::State { index, key };
        let content = rendered(&templates::Changing { shown: &shown });
        let mut event = String::from("retry: 2000\nevent: state\n");
        for line in content.lines() {
            event.push_str("data: ");
            event.push_str(line);
            event.push('\n');
        }
        event.push('\n');
        Some(event)
    }
}
