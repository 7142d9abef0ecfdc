use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, Method, Response, StatusCode};
use serde::Serialize;

use super::accept::Wanted;
use super::answer::{self, text};
use super::joining::{self, Joining, Lines, Release, client_port_of};
use super::router::{Asked, not_allowed};
use super::settings::{Format, Settings};
use super::{Service, cluster, page};
use crate::admission::{ClusterSize, Founding, Label, Ttl};
use crate::registry::{self, NewToken};
use crate::token::{Token, TokenPath};

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
        Err((status, reason)) if form => page::start(service, asked, Some((status, &reason))),
        Err((status, reason)) => text(status, format!("{reason}\n")),
    };
    // A token that a cache hands out twice is two clusters in one.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn make(
    service: &Service,
    asked: &Asked,
) -> Result<(std::sync::Arc<Founding>, Shown), (StatusCode, String)> {
    let refused = |reason: String| (StatusCode::BAD_REQUEST, reason);
    let path = TokenPath::short(&Token::draw());
    let shown = Shown::read(asked).map_err(refused)?;
    let token = wanted(service, asked, path).map_err(refused)?;
    match service.create(token).await {
        Ok(created) => Ok((created.founding, shown)),
        Err(taken @ registry::Error::LabelTaken { .. }) => {
            Err((StatusCode::CONFLICT, taken.to_string()))
        }
        Err(registry::Error::Refused(refusal)) => Err(refused(refusal.to_string())),
        Err(error) => Err(trouble(service, &error)),
    }
}

/// Trouble of ours.
fn trouble(service: &Service, error: &registry::Error) -> (StatusCode, String) {
    let (code, status) = answer::trouble(error);
    service.metrics().refused(code);
    (status, format!("{code}: {error}, try again"))
}

fn wanted(service: &Service, asked: &Asked, path: TokenPath) -> Result<NewToken, String> {
    let given = |name| asked.parameters.text(name).filter(|text| !text.is_empty());
    let size = match asked.parameters.text("size") {
        Some(text) => ClusterSize::parse(text, service.config().max_size)
            .map_err(|error| error.to_string())?,
        None => ClusterSize::default_within(service.config().max_size),
    };
    let label = given("name").map(str::parse::<Label>).transpose();
    let label = label.map_err(|error| error.to_string())?;
    let ttl = given("ttl").map(str::parse::<Ttl>).transpose();
    let ttl = ttl.map_err(|error| format!("ttl {error}"))?;
    let client_port = given("client-port").map(joining::client_port).transpose()?;
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
            let lines = |release: Release| {
                Some((release.name(), joining.lines(release, client_port_of(founding)).ok()?))
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
