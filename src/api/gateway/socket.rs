//! The gateway by WebSocket (RFC 6455), for browsers, which cannot send a request while they read its answer.
//!
//! A call is one socket: each message is what would be a piece of the body of a POST, each line of the answer is a
//! message, and the end of the call closes the socket. Facts: etcd wraps its gateway with
//! `grpc-websocket-proxy` and forces the method to POST (`embed/serve.go`); gorilla's handshake.

use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse as _, Response};
use bytes::{Buf as _, Bytes, BytesMut};
use data_encoding::BASE64;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tracing::debug;

use crate::api::plain::failure;
use crate::node::Handle;

/// What a key is hashed with (RFC 6455 §1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const VERSION: (HeaderName, HeaderValue) =
    (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE: HeaderValue = HeaderValue::from_static("Upgrade");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");
/// The cookie that holds a token.
const TOKEN_COOKIE: &str = "token";
/// Messages of a client that may wait for the call; beyond it nothing more is read from the socket.
const MESSAGES: usize = 16;
/// Bytes that are read and written at a time.
const BUFFER_BYTES: usize = 4 << 10;
/// How long a client may take to answer the farewell.
const FAREWELL: Duration = Duration::from_secs(2);

type Socket<S> = WebSocketStream<S>;
/// What a socket is closed with: a reason and its words.
type Farewell = (CloseCode, String);

/// Marks a request whose body comes by messages and has no end before its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByMessages;

/// Whether a request wants to become a socket.
pub(super) fn is_wanted(request: &Request) -> bool {
    let lists = |name: HeaderName, wanted: &str| {
        let values = request.headers().get_all(name);
        let mut items =
            values.iter().filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(','));
        items.any(|item| item.trim().eq_ignore_ascii_case(wanted))
    };
    request.version() == Version::HTTP_11
        && lists(header::CONNECTION, "upgrade")
        && lists(header::UPGRADE, "websocket")
}

/// The answer to the handshake, and the request that the socket stands for, unless it cannot become one.
pub(super) fn open(mut request: Request) -> (Response, Option<(Request, Ways)>) {
    let refused = |status, text| {
        let mut response = failure(status, text);
        response.headers_mut().insert(VERSION.0, VERSION.1);
        (response, None)
    };
    if request.method() != Method::GET {
        return refused(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    }
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).filter(|key| !key.is_empty());
    let version = request.headers().get(VERSION.0);
    let (Some(key), true) = (key, version == Some(&VERSION.1)) else {
        return refused(StatusCode::BAD_REQUEST, "Bad Request\n");
    };
    let accept = Sha1::new().chain_update(key).chain_update(MAGIC).finalize();
    let accept = BASE64.encode(&accept);
    let accept = HeaderValue::from_str(&accept).expect("base64 is a header's value");
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, WEBSOCKET);
    headers.insert(header::CONNECTION, UPGRADE);
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    let protocol = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
    if protocol.is_some_and(|protocol| protocol.as_bytes().starts_with(b"Bearer")) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, BEARER);
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let (messages, body) = mpsc::channel(MESSAGES);
    let body = ReceiverStream::new(body).map(Ok::<_, std::convert::Infallible>);
    let (mut head, _) = request.into_parts();
    if let Some(token) = token(&head.headers) {
        head.headers.insert(header::AUTHORIZATION, token);
    }
    for name in [header::CONNECTION, header::UPGRADE, header::COOKIE] {
        head.headers.remove(name);
    }
    head.method = Method::POST;
    head.extensions.insert(ByMessages);
    let request = Request::from_parts(head, Body::from_stream(body));
    (response, Some((request, Ways { upgrade, messages })))
}

/// The token that comes with a handshake, to which browsers add no headers: in a cookie, or behind `Bearer` in the list of
/// protocols.
fn token(headers: &HeaderMap) -> Option<HeaderValue> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|it| it.to_str().ok());
    let cookie = cookies.flat_map(|cookies| cookies.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == TOKEN_COOKIE).then_some(value)
    });
    let token = match cookie {
        Some(token) => token,
        None => {
            let protocols = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
            protocols.split_once("Bearer,")?.1.trim()
        }
    };
    HeaderValue::from_str(&format!("Bearer {token}")).ok()
}

/// The only message that a call with one question takes.
pub(super) async fn question(mut body: Body) -> Body {
    let frame = body.frame().await.and_then(Result::ok);
    frame.and_then(|frame| frame.into_data().ok()).map_or_else(Body::empty, Body::from)
}

/// What is between a socket that is not there yet and its call.
#[derive(Debug)]
pub(super) struct Ways {
    upgrade: hyper::upgrade::OnUpgrade,
    messages: mpsc::Sender<Bytes>,
}

impl Ways {
    /// Carries the call until it ends, the client leaves or the node stops. `largest` is what a message may have.
    pub(super) async fn carry(
        self,
        call: impl Future<Output = Response>,
        largest: usize,
        handle: Handle,
    ) {
        let Ok(stream) = self.upgrade.await else { return };
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .max_message_size(Some(largest))
            .max_frame_size(Some(largest));
        let stream = TokioIo::new(stream);
        let socket = Socket::from_raw_socket(stream, Role::Server, Some(config)).await;
        let (mut outgoing, mut incoming) = socket.split();
        let ended = {
            let hear = hear(&mut incoming, self.messages);
            let tell = async {
                match tell(&mut outgoing, call.await.into_body()).await {
                    Ok(()) => Some((CloseCode::Normal, String::new())),
                    Err(error) => farewell(&error),
                }
            };
            tokio::select! {
                ended = pin!(hear) => ended,
                ended = pin!(tell) => ended,
                () = handle.stopping() => Some((CloseCode::Away, "the node stops".to_owned())),
            }
        };
        // A client that is gone already was answered when it said so.
        let Some((code, reason)) = ended else { return };
        let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        let leave = async {
            if outgoing.send(close).await.is_ok() {
                while let Some(Ok(_)) = incoming.next().await {}
            }
        };
        if tokio::time::timeout(FAREWELL, leave).await.is_err() {
            debug!("a client of a websocket did not answer the farewell");
        }
    }
}

/// Passes on what the client says, until it leaves (`None`) or says what makes no sense.
async fn hear<S: AsyncRead + AsyncWrite + Unpin>(
    incoming: &mut futures_util::stream::SplitStream<Socket<S>>,
    messages: mpsc::Sender<Bytes>,
) -> Option<Farewell> {
    while let Some(message) = incoming.next().await {
        let payload = match message {
            Ok(Message::Text(text)) => Bytes::from(text),
            Ok(Message::Binary(bytes)) => bytes,
            // Answered by the library.
            Ok(_) => continue,
            Err(error) => return farewell(&error),
        };
        // Values need not be told apart by more than this.
        let line = [&payload[..], b"\n"].concat().into();
        if messages.send(line).await.is_err() {
            // The call takes no more; its answer may still be on the way.
            while let Some(Ok(_)) = incoming.next().await {}
        }
    }
    None
}

/// Passes on an answer, a message for each line of it.
async fn tell<S: AsyncRead + AsyncWrite + Unpin>(
    outgoing: &mut futures_util::stream::SplitSink<Socket<S>, Message>,
    mut answer: Body,
) -> Result<(), Error> {
    let mut waiting = BytesMut::new();
    let mut over = false;
    while !over {
        match answer.frame().await {
            Some(Ok(frame)) => waiting.extend(frame.into_data().unwrap_or_default()),
            Some(Err(_)) | None => over = true,
        }
        while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
            let line = waiting.split_to(end);
            waiting.advance(1);
            say(outgoing, &line).await?;
        }
    }
    say(outgoing, &waiting).await
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(
    outgoing: &mut futures_util::stream::SplitSink<Socket<S>, Message>,
    line: &[u8],
) -> Result<(), Error> {
    if line.is_empty() {
        return Ok(());
    }
    outgoing.send(Message::text(String::from_utf8_lossy(line).into_owned())).await
}

/// What to close with after this; nothing when nobody would hear it.
fn farewell(error: &Error) -> Option<Farewell> {
    let code = match error {
        Error::Protocol(_) => CloseCode::Protocol,
        Error::Utf8(_) => CloseCode::Invalid,
        Error::Capacity(_) => CloseCode::Size,
        _ => return None,
    };
    // A reason has 123 bytes at most (RFC 6455 §5.5); the library's are shorter.
    Some((code, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_with_a_handshake() {
        let token_of = |headers: &[(HeaderName, &'static str)]| {
            let headers = headers.iter().cloned();
            let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
            let token = token(&headers.collect())?;
            Some(token.to_str().unwrap().to_owned())
        };
        let (protocols, cookies) = (header::SEC_WEBSOCKET_PROTOCOL, header::COOKIE);
        for (headers, wanted) in [
            (vec![], None),
            (vec![(protocols.clone(), "chat")], None),
            (vec![(protocols.clone(), "Bearer, abc.7")], Some("Bearer abc.7")),
            (vec![(protocols.clone(), "Bearer,abc.7")], Some("Bearer abc.7")),
            (vec![(cookies.clone(), "a=b; token=abc.7")], Some("Bearer abc.7")),
            (vec![(protocols, "Bearer, x"), (cookies, "token=y")], Some("Bearer y")),
        ] {
            assert_eq!(token_of(&headers).as_deref(), wanted, "{headers:?}");
        }
    }

    #[test]
    fn only_an_upgrade_to_a_websocket_is_one() {
        let is = |connection: &str, upgrade: &str| {
            let request = Request::get("/v3/watch").header(header::CONNECTION, connection);
            is_wanted(&request.header(header::UPGRADE, upgrade).body(Body::empty()).unwrap())
        };
        assert!(is("Upgrade", "websocket"));
        assert!(is("keep-alive, upgrade", "WebSocket"));
        assert!(!is("keep-alive", "websocket"));
        assert!(!is("Upgrade", "h2c"));
    }
}
