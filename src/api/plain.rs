//! Answers of plain text, in the form of Go's `http.Error`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub(super) const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

pub(super) fn failure(status: StatusCode, body: impl Into<String>) -> Response {
    let headers = [(header::CONTENT_TYPE, TEXT), (header::X_CONTENT_TYPE_OPTIONS, NOSNIFF)];
    (status, headers, body.into()).into_response()
}

/// The answer for a path that nobody serves.
pub(super) async fn not_found() -> Response {
    failure(StatusCode::NOT_FOUND, "404 page not found\n")
}
