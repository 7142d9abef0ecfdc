//! What people see: the start page, the page of a token, and the plain paths beside them.
//!
//! Nodes and curl never get HTML; only who names `text/html` does. Everything works without a script:
//! forms post, pages reload themselves; with it, the page of a token follows its
//! server-sent events. No asset comes from elsewhere, nothing is inline, and every text that
//! somebody sent is escaped by the templates.
//!
//! The token is a secret. It stands in the address of its page and in the commands on it, never in a
//! title, and `no-referrer` keeps it out of what links tell others. The read-only page has everything
//! else under an address from which the token does not follow.

mod assets;
mod events;
mod plain;
mod state;
mod templates;

use askama::Template;
use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION, REFERRER_POLICY,
    VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, Response, StatusCode};

use super::Service;
use super::answer::not_allowed;
use super::answer::text;
use super::asked::Asked;
use crate::admission::{Founding, State};
use crate::registry;
use crate::token::{TokenPath, ViewId};

pub(super) use assets::asset;
pub(super) use events::{Streams, events};
pub(super) use plain::{health, metrics, robots};

/// Nothing but our own files; no frame, no base, no form to elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// `/`: what this is, how to use it, and a form for browsers.
pub(super) fn index(service: &Service, asked: &Asked) -> Response<Body> {
    if !is_read(&asked.method) {
        return not_allowed("GET, HEAD", "this page can only be read");
    }
    if asked.wanted == super::accept::Wanted::Page {
        return start(service, asked, None);
    }
    let page = templates::StartText {
        url: &service.config().public_url,
        max: service.config().max_size,
        version: env!("CARGO_PKG_VERSION"),
    };
    text(StatusCode::OK, rendered(&page))
}

/// The form for a new token, with what was wrong with the one that was sent, if one was.
pub(super) fn start(
    service: &Service,
    asked: &Asked,
    wrong: Option<(StatusCode, &str)>,
) -> Response<Body> {
    let given = |name| asked.parameters.text(name).unwrap_or_default();
    let max = service.config().max_size;
    let size = match given("size") {
        "" => 3.min(max).to_string(),
        size => size.to_owned(),
    };
    let page = templates::Start {
        url: &service.config().public_url,
        base: base(service),
        max,
        size,
        name: given("name"),
        ttl: given("ttl"),
        needs_key: service.config().new_keys.is_some(),
        wrong: wrong.map(|(_, reason)| reason),
    };
    let status = wrong.map_or(StatusCode::OK, |(status, _)| status);
    html(service, status, "Quorate: cluster discovery", None, &rendered(&page))
}

/// A browser that made a token goes on to its page.
pub(super) fn sent_on(service: &Service, founding: &Founding) -> Response<Body> {
    let page = format!("{}{}", base(service), founding.path.as_str());
    let mut response = text(StatusCode::SEE_OTHER, format!("see {page}\n"));
    let location = HeaderValue::from_str(&page).expect("paths of tokens are plain ASCII");
    response.headers_mut().insert(LOCATION, location);
    guarded(response)
}

/// Who looks: somebody with the token, or with the read-only address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looker {
    Joiner,
    Viewer,
}

/// The page of a token for who knows it.
pub(super) fn token(service: &Service, path: &TokenPath) -> Response<Body> {
    page(service, Some(path), Looker::Joiner)
}

/// The page of a token for who knows its read-only address.
pub(super) fn view(service: &Service, asked: &Asked, view: &ViewId) -> Response<Body> {
    if !is_read(&asked.method) {
        return not_allowed("GET, HEAD", "this page can only be read");
    }
    page(service, service.viewed(view).as_ref(), Looker::Viewer)
}

fn page(service: &Service, path: Option<&TokenPath>, looker: Looker) -> Response<Body> {
    let Some(founding) = path.and_then(|path| alive(service, path)) else {
        return nothing(service);
    };
    let shown = state::Shown::new(service, &founding, looker, registry::now());
    let title = shown.title();
    let content = rendered(&templates::Page { shown: &shown });
    html(service, StatusCode::OK, &title, Some(shown.refresh_seconds()), &content)
}

impl Service {
    /// The token whose read-only page this is.
    pub(super) fn viewed(&self, view: &ViewId) -> Option<TokenPath> {
        let found = self.registry().find(view.public_id().as_str())?;
        (found.path.view_id() == *view).then(|| found.path.clone())
    }
}

/// A token that may be shown. One that expired looks to strangers as if it had never been.
fn alive(service: &Service, path: &TokenPath) -> Option<std::sync::Arc<Founding>> {
    let founding = service.registry().founding(path)?;
    matches!(founding.state(registry::now()), State::Open | State::Full).then_some(founding)
}

/// The one page for tokens that are unknown, expired or somebody else's.
pub(super) fn nothing(service: &Service) -> Response<Body> {
    let content = rendered(&templates::Nothing { base: base(service) });
    html(service, StatusCode::NOT_FOUND, "Quorate: nothing here", None, &content)
}

/// What stands in front of our paths, if the public URL has a path of its own.
fn base(service: &Service) -> &str {
    let url = &service.config().public_url;
    let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    rest.find('/').map_or("", |at| &rest[at..])
}

fn html(
    service: &Service,
    status: StatusCode,
    title: &str,
    refresh: Option<u32>,
    content: &str,
) -> Response<Body> {
    let layout = templates::Layout {
        title,
        base: base(service),
        style: assets::STYLE.name(),
        script: assets::SCRIPT.name(),
        mark: assets::MARK.name(),
        refresh,
        content,
        version: env!("CARGO_PKG_VERSION"),
    };
    let mut response = text(status, rendered(&layout));
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    guarded(response)
}

/// The headers of everything that a browser shows.
fn guarded(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-store"),
        (VARY, "Accept"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn rendered(template: &impl Template) -> String {
    template.render().expect("templates write into memory, from values that print")
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests;
