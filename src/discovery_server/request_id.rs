use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use uuid::Uuid;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over from a client or a proxy.
const MAX_BYTES: usize = 64;

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request that this task answers.
pub(super) fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// A text for whoever is refused, with the id of the request behind it.
pub(super) fn named(text: String) -> String {
    match current() {
        Some(id) => format!("{text} [request {id}]"),
        None => text,
    }
}

/// Gives every request an id: the one it brought, or a new one. The answer carries it.
pub(super) async fn name(request: Request, next: Next) -> Response {
    let given = request.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let id = match given {
        Some(id) if (1..=MAX_BYTES).contains(&id.len()) && id.bytes().all(plain) => id.to_owned(),
        _ => Uuid::new_v4().to_string(),
    };
    let header = HeaderValue::from_str(&id).expect("an id has plain characters only");
    let mut response = CURRENT.scope(id, next.run(request)).await;
    response.headers_mut().insert(X_REQUEST_ID, header);
    response
}
