use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admission::codes;
use crate::discovery_server::answer;
use crate::discovery_server::request_id;
use crate::registry;

/// Why a request was not answered as asked (RFC 9457).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(in crate::discovery_server) struct Problem {
    /// `urn:quorate:` and the code.
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) title: String,
    pub(super) status: u16,
    pub(super) detail: String,
    /// The code that `quorate explain` knows.
    pub(super) code: String,
    /// The id of the request, which the log of the service has too.
    pub(super) instance: String,
}

impl From<Box<Self>> for Problem {
    fn from(boxed: Box<Self>) -> Self {
        *boxed
    }
}

impl Problem {
    pub(in crate::discovery_server) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let title = codes::find(code).map_or("", |known| known.title);
        Self {
            kind: format!("urn:quorate:{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.to_owned(),
            instance: request_id::current().unwrap_or_default(),
        }
    }

    pub(super) fn unauthorized() -> Self {
        let detail = "send a key of --admin-key-file as `Authorization: Bearer KEY`";
        Self::new(StatusCode::UNAUTHORIZED, codes::UNAUTHORIZED, detail)
    }

    pub(super) fn no_certificate() -> Self {
        let detail = "show a client certificate that --tls-client-ca has signed, beside the key; \
                      `quorate certs client NAME` makes one, --cert and --key show it";
        Self::new(StatusCode::UNAUTHORIZED, codes::UNAUTHORIZED, detail)
    }

    pub(super) fn unknown() -> Self {
        let detail = "no token has this id; `quorate token ls` shows those there are";
        Self::new(StatusCode::NOT_FOUND, codes::UNKNOWN_TOKEN, detail)
    }

    pub(super) fn no_such_path() -> Self {
        let detail = "the API of operators has no such path; /openapi.json describes it";
        Self::new(StatusCode::NOT_FOUND, codes::BAD_REQUEST, detail)
    }

    pub(super) fn no_such_method() -> Self {
        let detail = "this path has another method; /openapi.json tells which";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, codes::BAD_REQUEST, detail)
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, codes::BAD_REQUEST, detail)
    }
}

impl From<registry::Error> for Problem {
    fn from(error: registry::Error) -> Self {
        match error {
            registry::Error::Unknown => Self::unknown(),
            registry::Error::Refused(refusal) => {
                Self::new(StatusCode::CONFLICT, refusal.code(), refusal.to_string())
            }
            error => {
                let (code, status) = answer::trouble(&error);
                Self::new(status, code, error.to_string())
            }
        }
    }
}

impl From<registry::VerifyError> for Problem {
    fn from(error: registry::VerifyError) -> Self {
        match error {
            registry::VerifyError::Broken(broken) => {
                Self::new(StatusCode::CONFLICT, codes::TIMELINE_BROKEN, broken.to_string())
            }
            _ => {
                tracing::warn!(error = %error, "the timeline cannot be read");
                let detail = "the timeline cannot be read; the log of the service says why";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, codes::UNAVAILABLE, detail)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
