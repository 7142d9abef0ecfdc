//! The shapes of answers, byte for byte those of an etcd v2 store.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{Response, StatusCode};

use super::{Service, request_id};
use crate::admission::{Founding, Refusal, Registered, codes};
use crate::registry;
use crate::v2::{
    Action, Error, ErrorCode, Event, Node, X_ETCD_CLUSTER_ID, X_ETCD_INDEX, X_RAFT_INDEX,
    X_RAFT_TERM, to_json,
};

/// The code and the status of trouble that is ours.
pub(super) fn trouble(error: &registry::Error) -> (&'static str, StatusCode) {
    match error {
        registry::Error::Full => (codes::FULL, StatusCode::INSUFFICIENT_STORAGE),
        _ => (codes::UNAVAILABLE, StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// The key of a member.
pub(super) fn member_node(founding: &Founding, registered: &Registered) -> Node {
    let key = format!("{}/{}", founding.path.key(), registered.key);
    Node::file(key, registered.value.clone(), registered.index)
}

/// The key of the size.
pub(super) fn size_node(founding: &Founding) -> Node {
    let key = format!("{}/_config/size", founding.path.key());
    Node::file(key, founding.size.to_string(), founding.created_index)
}

/// The members of a token: its founders, oldest first. Late comers are no members.
pub(super) fn directory_node(founding: &Founding) -> Node {
    let nodes = founding.founders.iter().map(|held| member_node(founding, held)).collect();
    Node::directory(founding.path.key().to_owned(), nodes, founding.created_index)
}

/// The event that made a member's key.
pub(super) fn created_event(founding: &Founding, registered: &Registered) -> Vec<u8> {
    to_json(&Event::new(Action::Create, member_node(founding, registered)))
}

/// The answer to a method that a resource does not have.
pub(super) fn not_allowed(allow: &'static str, why: &str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("{why}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// The empty answer to OPTIONS.
pub(super) fn options(allow: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

impl Service {
    /// A node with the index of the state it was taken from.
    pub(super) fn node(
        &self,
        status: StatusCode,
        action: Action,
        node: Node,
        index: u64,
    ) -> Response<Body> {
        let mut response = self.indexed(Body::from(to_json(&Event::new(action, node))), index);
        *response.status_mut() = status;
        response
    }

    /// A body with the headers of a success.
    pub(super) fn indexed(&self, body: Body, index: u64) -> Response<Body> {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(X_ETCD_CLUSTER_ID, self.cluster_id());
        headers.insert(X_ETCD_INDEX, HeaderValue::from(index));
        headers.insert(X_RAFT_INDEX, HeaderValue::from(index));
        headers.insert(X_RAFT_TERM, HeaderValue::from(1_u64));
        response
    }

    /// An error with its own status.
    pub(super) fn error(&self, code: ErrorCode, cause: impl Into<String>) -> Response<Body> {
        let error = Error::new(code, cause, self.registry().index());
        self.error_with(code.http_status(), &error)
    }

    /// A request that cannot be read; etcd shows index 0 with these.
    pub(super) fn bad_request(&self, error: &Error) -> Response<Body> {
        self.error_with(400, error)
    }

    /// A refusal of the rules. The text reaches the journal of the node that is refused.
    pub(super) fn refusal(&self, refusal: &Refusal, key: &str) -> Response<Body> {
        self.metrics().refused(refusal.code());
        let code = refusal.v2();
        let named = request_id::named(format!("{}: {refusal}", refusal.code()));
        // etcd's cause is the key; where nodes look at it, it comes first.
        let cause = match code {
            ErrorCode::KeyExists | ErrorCode::KeyNotFound => format!("{key} ({named})"),
            _ => named,
        };
        let error = Error::new(code, cause, self.registry().index());
        let gone = matches!(refusal, Refusal::Expired | Refusal::Revoked);
        self.error_with(if gone { 404 } else { code.http_status() }, &error)
    }

    /// Trouble of ours. Nodes try a read again after any 5xx.
    pub(super) fn trouble(&self, error: &registry::Error) -> Response<Body> {
        let (code, status) = trouble(error);
        self.metrics().refused(code);
        self.busy(status, &format!("{code}: {error}, try again"))
    }

    /// An answer that makes nodes ask again.
    pub(super) fn busy(&self, status: StatusCode, cause: &str) -> Response<Body> {
        let cause = request_id::named(cause.to_owned());
        let error = Error::new(ErrorCode::RaftInternal, cause, self.registry().index());
        let mut response = self.error_with(status.as_u16(), &error);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
        response
    }

    fn error_with(&self, status: u16, error: &Error) -> Response<Body> {
        let mut response = Response::new(Body::from(error.to_json()));
        *response.status_mut() =
            StatusCode::from_u16(status).expect("the table of codes holds HTTP statuses");
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(X_ETCD_CLUSTER_ID, self.cluster_id());
        headers.insert(X_ETCD_INDEX, HeaderValue::from(error.index));
        response
    }

    fn cluster_id(&self) -> HeaderValue {
        HeaderValue::from_str(self.registry().cluster_id())
            .expect("the registry's cluster id is hexadecimal")
    }
}

/// A line for people.
pub(super) fn text(status: StatusCode, line: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Body::from(line.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
