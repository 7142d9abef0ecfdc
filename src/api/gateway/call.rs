use std::collections::VecDeque;
use std::fmt::Write as _;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header,
};
use axum::response::{IntoResponse as _, Response};
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::stream::{StreamExt as _, iter, unfold};
use http_body_util::BodyExt as _;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor};
use tonic::{Code, Status};
use tower::ServiceExt as _;
use tracing::debug;

use super::deadline::Deadline;
use super::parse::{self, Failure, Json};
use super::{read, write};

/// Flag and length in front of every gRPC message.
const PREFIX: usize = 5;
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const CAME_BY_GRPC: HeaderName = HeaderName::from_static("grpc-metadata-content-type");
/// Tells the services that no certificate of the connection speaks for the caller.
const CAME_BY_GATEWAY: HeaderName = HeaderName::from_static("grpcgateway-accept");
const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");

/// One HTTP request on its way through the gRPC services.
#[derive(Debug)]
pub(super) struct Call {
    services: Router,
    method: MethodDescriptor,
    metadata: HeaderMap,
    deadline: Deadline,
}

impl Call {
    /// Refuses a time limit that makes no sense.
    pub(super) fn new(
        services: Router,
        method: MethodDescriptor,
        headers: &HeaderMap,
    ) -> Result<Self, Status> {
        let deadline = Deadline::of(headers)?;
        Ok(Self { services, method, metadata: metadata(headers), deadline })
    }

    /// One request; one answer or a stream of them.
    pub(super) async fn question(self, body: Body, largest: usize) -> Response {
        let Ok(body) = to_bytes(body, largest).await else { return too_large(largest) };
        let message = match parse::first(&body, true) {
            Ok((json, _)) => read::message(&json, &self.method.input()),
            Err(Failure::Empty) => Ok(DynamicMessage::new(self.method.input())),
            Err(failure) => Err(words(failure)),
        };
        let message = match message {
            Ok(message) => message,
            Err(text) => return refused(&Status::invalid_argument(text)),
        };
        let streams = self.method.is_server_streaming();
        let answers = match self.send(Body::from(framed(&message))).await {
            Ok(answers) => answers,
            Err(status) => return refused(&status),
        };
        if streams { stream(answers).await } else { single(answers).await }
    }

    /// As many requests as the body has, as they come, and a stream of answers.
    pub(super) async fn conversation(self, body: Body, largest: usize) -> Response {
        let mut requests = Requests {
            body,
            waiting: BytesMut::new(),
            complete: false,
            largest,
            kind: self.method.input(),
        };
        // A wrong beginning is an error; what is wrong later ends the requests, as in etcd.
        let first = match requests.next().await {
            Ok(first) => first,
            Err(text) => return refused(&Status::unknown(text)),
        };
        let later = unfold(requests, async |mut requests| match requests.next().await {
            Ok(message) => message.map(|message| (message, requests)),
            Err(text) => {
                debug!(error = text, "a later request of a gateway stream was not understood");
                None
            }
        });
        let messages = iter(first).chain(later).map(Ok::<_, std::convert::Infallible>);
        match self.send(Body::from_stream(messages)).await {
            Ok(answers) => stream(answers).await,
            Err(status) => refused(&status),
        }
    }

    /// The answers, unless the call is refused from the beginning.
    async fn send(self, body: Body) -> Result<Answers, Status> {
        let Self { services, method, metadata, deadline } = self;
        let kind = method.output();
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = path.parse().expect("names of services and methods are paths");
        *request.headers_mut() = metadata;
        let response = deadline.watch(services.oneshot(request)).await?;
        let (head, body) = response.unwrap_or_else(|never| match never {}).into_parts();
        match Status::from_header_map(&head.headers) {
            Some(status) if status.code() != Code::Ok => Err(status),
            _ => Ok(Answers {
                body,
                waiting: BytesMut::new(),
                kind,
                deadline,
                first: VecDeque::new(),
                over: false,
            }),
        }
    }
}

/// What of the HTTP headers goes along with the call.
fn metadata(headers: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::new();
    for (name, value) in headers {
        if *name == header::AUTHORIZATION {
            metadata.append(name, value.clone());
        } else if let Some(name) = name.as_str().strip_prefix("grpc-metadata-")
            && !matches!(name, "content-length" | "transfer-encoding" | "connection")
            && !name.starts_with("grpc-")
            && let Ok(name) = HeaderName::from_bytes(name.as_bytes())
        {
            metadata.append(name, value.clone());
        }
    }
    let accept = headers.get(header::ACCEPT).cloned().unwrap_or(ANYTHING);
    metadata.insert(CAME_BY_GATEWAY, accept);
    metadata.insert(header::CONTENT_TYPE, GRPC);
    metadata.insert(header::TE, HeaderValue::from_static("trailers"));
    metadata
}

/// The messages of a request body, one JSON value after the other.
struct Requests {
    body: Body,
    waiting: BytesMut,
    complete: bool,
    largest: usize,
    kind: MessageDescriptor,
}

impl Requests {
    /// The next one, framed; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            match parse::first(&self.waiting, self.complete) {
                Ok((json, used)) => {
                    self.waiting.advance(used);
                    return self.message(&json).map(Some);
                }
                Err(Failure::Empty) if self.complete => return Ok(None),
                Err(Failure::Empty | Failure::Unfinished) if !self.complete => self.read().await?,
                Err(failure) => return Err(words(failure)),
            }
        }
    }

    fn message(&self, json: &Json) -> Result<Bytes, String> {
        Ok(framed(&read::message(json, &self.kind)?))
    }

    async fn read(&mut self) -> Result<(), String> {
        match self.body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.waiting.extend_from_slice(&data);
                }
            }
            Some(Err(error)) => return Err(error.to_string()),
            None => self.complete = true,
        }
        if self.waiting.len() > self.largest {
            return Err(format!("a request has more than {} bytes", self.largest));
        }
        Ok(())
    }
}

fn words(failure: Failure) -> String {
    match failure {
        Failure::Empty => "EOF".to_owned(),
        Failure::Unfinished => "unexpected EOF".to_owned(),
        Failure::Wrong(text) => text,
    }
}

fn framed(message: &DynamicMessage) -> Bytes {
    let encoded = message.encode_to_vec();
    let length = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(PREFIX + encoded.len());
    frame.push(0);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&encoded);
    frame.into()
}

/// The messages of a gRPC response body.
struct Answers {
    body: Body,
    waiting: BytesMut,
    kind: MessageDescriptor,
    deadline: Deadline,
    /// Said in advance, to be told first.
    first: VecDeque<String>,
    over: bool,
}

impl Answers {
    /// The next message as JSON; `None` at a good end.
    async fn next(&mut self) -> Result<Option<String>, Status> {
        loop {
            if let Some(json) = self.message()? {
                return Ok(Some(json));
            }
            let frame = self.deadline.watch(self.body.frame()).await?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| Status::internal(error.to_string()))?;
            match frame.into_data() {
                Ok(data) => self.waiting.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return match Status::from_header_map(&trailers) {
                        Some(status) if status.code() != Code::Ok => Err(status),
                        _ => Ok(None),
                    };
                }
            }
        }
    }

    fn message(&mut self) -> Result<Option<String>, Status> {
        let Some((prefix, rest)) = self.waiting.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if rest.len() < length {
            return Ok(None);
        }
        self.waiting.advance(PREFIX);
        let bytes = self.waiting.split_to(length).freeze();
        let message = DynamicMessage::decode(self.kind.clone(), bytes)
            .map_err(|error| Status::internal(error.to_string()))?;
        let mut json = String::new();
        write::message(&message, &mut json);
        Ok(Some(json))
    }
}

async fn single(mut answers: Answers) -> Response {
    let json = match answers.next().await {
        Ok(Some(json)) => json,
        Ok(None) => return refused(&Status::internal("the call ended without an answer")),
        Err(status) => return refused(&status),
    };
    // The message counts only with a good end.
    match answers.next().await {
        Ok(_) => ([(header::CONTENT_TYPE, JSON), (CAME_BY_GRPC, GRPC)], json).into_response(),
        Err(status) => refused(&status),
    }
}

/// One line per message. The head waits for the first of them, as in etcd.
async fn stream(mut answers: Answers) -> Response {
    let mut code = StatusCode::OK;
    match answers.next().await {
        Ok(Some(json)) => answers.first.push_back(result(&json)),
        Ok(None) => answers.over = true,
        // Nothing has begun by then.
        Err(status) if status.code() == Code::DeadlineExceeded => return refused(&status),
        Err(status) => {
            code = http_code(status.code());
            answers.first.push_back(broken(&status));
            answers.over = true;
        }
    }
    let lines = unfold(answers, async |mut answers| {
        if let Some(line) = answers.first.pop_front() {
            return Some((Ok::<_, std::convert::Infallible>(line), answers));
        }
        if answers.over {
            return None;
        }
        let line = match answers.next().await {
            Ok(Some(json)) => result(&json),
            Ok(None) => return None,
            Err(status) => {
                answers.over = true;
                broken(&status)
            }
        };
        Some((Ok(line), answers))
    });
    let headers = [(header::CONTENT_TYPE, JSON), (CAME_BY_GRPC, GRPC)];
    (code, headers, Body::from_stream(lines)).into_response()
}

fn result(json: &str) -> String {
    format!("{{\"result\":{json}}}\n")
}

/// The end of a stream that failed.
fn broken(status: &Status) -> String {
    let code = http_code(status.code());
    let mut line = String::new();
    let begun = write!(
        line,
        "{{\"error\":{{\"grpc_code\":{},\"http_code\":{},\"message\":",
        i32::from(status.code()),
        code.as_u16()
    );
    begun.expect("writing to a string cannot fail");
    write::text(status.message(), &mut line);
    line += ",\"http_status\":";
    write::text(code.canonical_reason().unwrap_or_default(), &mut line);
    line + "}}"
}

/// A refused call.
pub(super) fn refused(status: &Status) -> Response {
    let mut message = String::new();
    write::text(status.message(), &mut message);
    let number = i32::from(status.code());
    let body = format!("{{\"error\":{message},\"code\":{number},\"message\":{message}}}");
    (http_code(status.code()), [(header::CONTENT_TYPE, JSON)], body).into_response()
}

/// The refusal of a call that is no POST (grpc-gateway v2, with which etcd 3.5.30 and later are built).
pub(super) fn not_allowed() -> Response {
    let body = r#"{"code":12,"message":"Method Not Allowed"}"#;
    (StatusCode::NOT_IMPLEMENTED, [(header::CONTENT_TYPE, JSON)], body).into_response()
}

fn too_large(largest: usize) -> Response {
    let status = Status::resource_exhausted(format!("the JSON body has more than {largest} bytes"));
    refused(&status)
}

/// HTTP's word for a gRPC code (grpc-gateway `runtime/errors.go`).
fn http_code(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
