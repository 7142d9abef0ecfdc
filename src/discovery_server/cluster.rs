use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, Response, StatusCode};
use serde::Serialize;

use super::Service;
use super::accept::Wanted;
use super::answer::not_allowed;
use super::answer::text;
use super::asked::Asked;
use super::joining::{self, Joining, Lines, Release};
use super::settings::{Format, Settings};
use crate::admission::{Founding, Label, Registered};
use crate::membership::{ClusterId, InitialCluster};
use crate::token::TokenPath;

/// `/<token>/initial-cluster`: the member list as `--initial-cluster` takes it, once it is complete.
///
/// `format` chooses flags, an environment file, YAML or JSON; `member` adds what that member needs
/// besides; `etcd` says for which release, which matters while members are missing.
pub(super) fn answer(service: &Service, token: &TokenPath, asked: &Asked) -> Response<Body> {
    if !matches!(asked.method, Method::GET | Method::HEAD) {
        return not_allowed("GET, HEAD", "the list can only be read");
    }
    let wanted = match Query::read(asked) {
        Ok(wanted) => wanted,
        Err(reason) => return text(StatusCode::BAD_REQUEST, format!("{reason}\n")),
    };
    let founding = match service.living(token) {
        Ok(founding) => founding,
        Err(absent) => return *absent,
    };
    let public_url = &service.config().public_url;
    let mut response = match founding.initial_cluster() {
        Some(whole) => complete(&founding, &whole, public_url, &wanted),
        None => incomplete(&founding, public_url, &wanted),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What was asked for.
struct Query<'a> {
    format: Format,
    release: Option<Release>,
    member: Option<&'a str>,
    /// Instead of what the token was made with.
    client_port: Option<u16>,
}

impl<'a> Query<'a> {
    fn read(asked: &'a Asked) -> Result<Self, String> {
        let given = |name| asked.parameters.text(name).filter(|text| !text.is_empty());
        let preferred = if asked.wanted == Wanted::Json { Format::Json } else { Format::Text };
        Ok(Self {
            format: given("format").map_or(Ok(preferred), Format::parse)?,
            release: given("etcd").map(Release::parse).transpose()?,
            member: given("member"),
            client_port: given("client-port").map(joining::client_port).transpose()?,
        })
    }
}

impl Query<'_> {
    fn client_port(&self, founding: &Founding) -> u16 {
        self.client_port.unwrap_or_else(|| founding.client_port())
    }
}

/// A cluster whose members are known.
#[derive(Debug, Serialize)]
struct Complete<'a> {
    id: String,
    name: Option<&'a str>,
    state: &'static str,
    size: u32,
    cluster_id: String,
    initial_cluster: String,
    initial_cluster_token: String,
    members: Vec<Member<'a>>,
}

/// A cluster that waits for members.
#[derive(Debug, Serialize)]
struct Incomplete<'a> {
    id: String,
    name: Option<&'a str>,
    state: &'static str,
    size: u32,
    missing: u32,
    members: Vec<Member<'a>>,
    message: String,
    /// How one of the missing members is started.
    join: Option<Lines>,
}

#[derive(Debug, Serialize)]
struct Member<'a> {
    id: String,
    name: &'a str,
    peer_urls: Vec<&'a str>,
}

impl<'a> Member<'a> {
    fn all(founding: &'a Founding) -> Vec<Self> {
        let member = |held: &'a std::sync::Arc<Registered>| Self {
            id: held.key.to_string(),
            name: held.name(),
            peer_urls: held.urls().collect(),
        };
        founding.founders.iter().map(member).collect()
    }
}

fn complete(
    founding: &Founding,
    whole: &InitialCluster,
    public_url: &str,
    wanted: &Query<'_>,
) -> Response<Body> {
    // With this token the static list makes the ids that the members have.
    let token = founding.protocol().unwrap_or_default().salt(&founding.path, public_url);
    let own = match wanted.member {
        None => Settings::default(),
        Some(name) => match whole.urls(name) {
            Some(urls) => {
                Settings::of_member(name, urls, ("http", wanted.client_port(founding)), None)
            }
            None => {
                let names: Vec<&str> = whole.members().map(|(name, _)| name).collect();
                let names = names.join(", ");
                let line = format!(
                    "member `{}` is not in this cluster; its members are {names}\n",
                    super::settings::head(name)
                );
                return text(StatusCode::NOT_FOUND, line);
            }
        },
    };
    let settings = |token: String| {
        let mut settings = own;
        settings.extend([
            ("initial-cluster", whole.to_string()),
            ("initial-cluster-token", token),
            ("initial-cluster-state", "new".to_owned()),
        ]);
        settings
    };
    match wanted.format {
        Format::Text => text(StatusCode::OK, format!("{whole}\n")),
        Format::Json => json(
            StatusCode::OK,
            &Complete {
                id: founding.path.public_id().to_string(),
                name: founding.label.as_ref().map(Label::as_str),
                state: "full",
                size: founding.size.get(),
                cluster_id: ClusterId::derive(founding.founders.iter().map(|held| held.key))
                    .to_string(),
                initial_cluster: whole.to_string(),
                initial_cluster_token: token,
                members: Member::all(founding),
            },
        ),
        format => text(StatusCode::OK, settings(token).print(format)),
    }
}

fn incomplete(founding: &Founding, public_url: &str, wanted: &Query<'_>) -> Response<Body> {
    let have = founding.founders.len();
    let missing = founding.size.get() - u32::try_from(have).unwrap_or(u32::MAX);
    let names: Vec<&str> = founding.founders.iter().map(|held| held.name()).collect();
    let present = match names.len() {
        0 => String::new(),
        _ => format!(" ({})", names.join(", ")),
    };
    let are = if missing == 1 { "is" } else { "are" };
    let message = format!(
        "{have} of {} members have registered{present}; {missing} {are} missing; the list is here \
         when all have",
        founding.size
    );
    let joining = Joining::new(&founding.path, public_url, founding.protocol());
    let join = wanted.release.map(|release| {
        joining.lines(release, wanted.client_port(founding), &joining::free_name(founding))
    });
    let mut response = if wanted.format == Format::Json {
        let join = join.and_then(Result::ok);
        json(
            StatusCode::CONFLICT,
            &Incomplete {
                id: founding.path.public_id().to_string(),
                name: founding.label.as_ref().map(Label::as_str),
                state: "open",
                size: founding.size.get(),
                missing,
                members: Member::all(founding),
                message,
                join,
            },
        )
    } else {
        let how = match join {
            None => String::new(),
            Some(Ok(lines)) => format!("start a missing member with:\n{}\n", lines.command),
            Some(Err(reason)) => format!("{reason}\n"),
        };
        text(StatusCode::CONFLICT, format!("{message}\n{how}"))
    };
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// A JSON document for people and programs.
pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Response<Body> {
    let document =
        serde_json::to_string_pretty(document).expect("documents have string keys only") + "\n";
    let mut response = text(status, document);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
