use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use axum::response::IntoResponse as _;
use serde::Serialize;

use super::accept::Wanted;
use super::answer::not_allowed;
use super::answer::{self, text};
use super::asked::Asked;
use super::gate::TurnedAway;
use super::joining::{self, Joining, Lines, Release};
use super::settings::{Format, Settings};
use super::{Service, admin, cluster, page};
use crate::admission::{ClusterSize, Founding, Label, Refusal, Ttl, codes};
use crate::registry::{self, NewToken};
use crate::token::{Token, TokenPath};

/// What may be asked for, each once.
const KNOWN: [&str; 6] = ["size", "name", "ttl", "client-port", "format", "etcd"];

/// `/new?size=N&name=LABEL&ttl=SPAN`: a fresh token, answered as its URL without a newline.
///
/// Who asks for JSON gets command lines too; a form in a browser is sent on to the page of the
/// token.
pub(super) async fn answer(service: &Service, asked: &Asked) -> Response<Body> {
    if !matches!(asked.method, Method::GET | Method::PUT | Method::POST) {
        return not_allowed("GET, PUT, POST", "ask for a new token with GET, PUT or POST");
    }
    let form = asked.method == Method::POST && asked.wanted == Wanted::Page;
    let mut response = match make(service, asked).await {
        Ok((founding, _)) if form => page::sent_on(service, &founding),
        Ok((founding, wanted)) => made(service, &founding, &wanted),
        Err(refused) if form => {
            page::start(service, asked, Some((refused.status, &refused.reason)))
        }
        Err(refused) => refused.response(asked),
    };
    // A token that a cache hands out twice is two clusters in one.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Why there is no token.
struct Refused {
    status: StatusCode,
    code: &'static str,
    reason: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, reason: impl Into<String>) -> Self {
        Self { status, code, reason: reason.into(), header: None }
    }

    /// A line for people, a problem for programs (RFC 9457).
    fn response(self, asked: &Asked) -> Response<Body> {
        let Self { status, code, reason, header } = self;
        let mut response = match asked.wanted {
            Wanted::Json => admin::Problem::new(status, code, reason).into_response(),
            _ => text(status, format!("{code}: {reason}\n")),
        };
        response.headers_mut().extend(header);
        response
    }
}

impl From<TurnedAway> for Refused {
    fn from(why: TurnedAway) -> Self {
        let header = Some(why.header());
        Self { header, ..Self::new(why.status(), why.code(), why.to_string()) }
    }
}

/// The answer to somebody who gets no token, here or by writing a size.
pub(super) fn turned_away(asked: &Asked, why: TurnedAway) -> Response<Body> {
    Refused::from(why).response(asked)
}

async fn make(service: &Service, asked: &Asked) -> Result<(Arc<Founding>, Shown), Refused> {
    let asker = service.asker(&asked.headers, asked.from, false)?;
    let wrong = |reason| Refused::new(StatusCode::BAD_REQUEST, codes::BAD_REQUEST, reason);
    let shown = Shown::read(asked).map_err(wrong);
    let token = wanted(service, asked, TokenPath::short(&Token::draw()));
    let (shown, token) = match (shown, token) {
        (Ok(shown), Ok(token)) => (shown, token),
        (Err(refused), _) | (_, Err(refused)) => {
            service.metrics().refused(refused.code);
            return Err(refused);
        }
    };
    // What could not be made costs nothing.
    service.spend(&asker)?;
    match service.create(token).await {
        Ok(created) => Ok((created.founding, shown)),
        Err(taken @ registry::Error::LabelTaken { .. }) => {
            Err(Refused::new(StatusCode::CONFLICT, codes::BAD_REQUEST, taken.to_string()))
        }
        Err(registry::Error::Refused(refusal)) => {
            Err(Refused::new(StatusCode::BAD_REQUEST, refusal.code(), refusal.to_string()))
        }
        Err(error) => {
            let (code, status) = answer::trouble(&error);
            service.metrics().refused(code);
            Err(Refused::new(status, code, format!("{error}, try again")))
        }
    }
}

fn wanted(service: &Service, asked: &Asked, path: TokenPath) -> Result<NewToken, Refused> {
    let given = |name| asked.parameters.text(name).filter(|text| !text.is_empty());
    let wrong = |reason| Refused::new(StatusCode::BAD_REQUEST, codes::BAD_REQUEST, reason);
    // One that is misspelled would be a token of another size than was asked for.
    if let Some(name) = asked.parameters.unknown(&KNOWN) {
        let known = KNOWN.join(", ");
        return Err(wrong(format!("the parameter `{name}` is unknown; /new takes {known}")));
    }
    let max = service.config().max_size;
    let size = asked.parameters.text("size").map(|text| ClusterSize::parse(text, max));
    let size = size.transpose().map_err(|error| {
        let refusal = Refusal::Size(error);
        Refused::new(StatusCode::BAD_REQUEST, refusal.code(), refusal.to_string())
    })?;
    let size = size.unwrap_or_else(|| ClusterSize::default_within(max));
    let label = given("name").map(str::parse::<Label>).transpose();
    let label = label.map_err(|error| wrong(error.to_string()))?;
    let ttl = given("ttl").map(str::parse::<Ttl>).transpose();
    let ttl = ttl.map_err(|error| wrong(format!("ttl {error}")))?;
    let client_port = given("client-port").map(joining::client_port).transpose().map_err(wrong)?;
    Ok(NewToken { path, size, label, ttl, client_port, from: asked.from })
}

/// How a token is to be shown to whoever asked for it.
struct Shown {
    format: Format,
    release: Release,
}

impl Shown {
    fn read(asked: &Asked) -> Result<Self, String> {
        let given = |name| asked.parameters.text(name).filter(|text| !text.is_empty());
        let preferred = if asked.wanted == Wanted::Json { Format::Json } else { Format::Text };
        Ok(Self {
            format: given("format").map_or(Ok(preferred), Format::parse)?,
            release: given("etcd").map_or(Ok(Release::Etcd35), Release::parse)?,
        })
    }
}

/// A new token, for programs.
#[derive(Debug, Serialize)]
struct Made<'a> {
    /// The discovery URL.
    url: &'a str,
    /// The secret in it.
    token: Option<&'a str>,
    /// What logs, metrics and titles show instead.
    id: String,
    /// The page for those who may look but not join.
    view_url: String,
    initial_cluster_url: String,
    size: u32,
    name: Option<&'a str>,
    expires_at: String,
    /// By release: how a member is started.
    start: BTreeMap<&'static str, Lines>,
}

fn made(service: &Service, founding: &Founding, shown: &Shown) -> Response<Body> {
    let public_url = &service.config().public_url;
    let path = &founding.path;
    let joining = Joining::new(path, public_url, founding.protocol());
    let url = joining.url();
    match shown.format {
        Format::Text => text(StatusCode::OK, url),
        Format::Json => {
            let name = joining::free_name(founding);
            let lines = |release: Release| {
                Some((release.name(), joining.lines(release, founding.client_port(), &name).ok()?))
            };
            let document = Made {
                url,
                token: path.token(),
                id: path.public_id().to_string(),
                view_url: format!("{public_url}/view/{}", path.view_id()),
                initial_cluster_url: format!("{url}/initial-cluster"),
                size: founding.size.get(),
                name: founding.label.as_ref().map(Label::as_str),
                expires_at: founding.expires_at.to_string(),
                start: Release::ALL.into_iter().filter_map(lines).collect(),
            };
            cluster::json(StatusCode::OK, &document)
        }
        format => {
            let settings: Result<Settings, String> = joining.settings(shown.release);
            let printed = settings.map_or_else(|reason| reason + "\n", |all| all.print(format));
            text(StatusCode::OK, printed)
        }
    }
}
