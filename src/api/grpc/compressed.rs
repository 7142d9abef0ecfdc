//! Messages packed with gzip, as etcd reads and writes them since 3.5 (grpc-go `encoding/gzip`).
//!
//! The gRPC library packs and unpacks, and unpacks no more than the largest message there may be. What is decided here
//! is who gets packed answers, and what grpc-go says of messages that cannot be unpacked.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use tonic::{Code, Status};

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPTED: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// Whoever sends packed messages gets packed answers; most libraries say that they could read them, and grpc-go does
/// not take that for a wish.
pub(super) fn answered_alike(mut request: Request) -> Request {
    let headers = request.headers_mut();
    if headers.get(ENCODING) == Some(&GZIP) {
        headers.insert(ACCEPTED, GZIP);
    } else {
        headers.remove(ACCEPTED);
    }
    request
}

/// What grpc-go says where the library says this of a message that cannot be unpacked.
pub(super) fn in_library_words(status: &Status) -> Option<Status> {
    let text = status.message();
    match status.code() {
        Code::Unimplemented => {
            let rest = text.strip_prefix("Content is compressed with `")?;
            let encoding = rest.strip_suffix("` which isn't supported")?;
            let text =
                format!("grpc: Decompressor is not installed for grpc-encoding {encoding:?}");
            Some(Status::unimplemented(text))
        }
        Code::ResourceExhausted => {
            let rest = text.strip_prefix("Error decompressing: size limit, of ")?;
            let (limit, _) = rest.split_once(" bytes")?;
            // How much more it would have been nobody has looked.
            let limit: usize = limit.parse().ok()?;
            Some(super::too_large(limit + 1, limit))
        }
        Code::Internal => {
            if text.contains("compressed-flag but no grpc-encoding") {
                return Some(unexpected());
            }
            if let Some((_, rest)) = text.split_once("invalid compression flag: ") {
                let (flag, _) = rest.split_once(' ')?;
                let text = format!("grpc: received unexpected payload format {flag}");
                return Some(Status::internal(text));
            }
            let rest = text.strip_prefix("Error decompressing: ")?;
            let why = match rest.strip_suffix(", while sending request")? {
                "invalid gzip header" => "gzip: invalid header",
                "corrupt gzip stream does not have a matching checksum" => "gzip: invalid checksum",
                "unexpected end of file" | "incomplete deflate stream" => "unexpected EOF",
                other => other,
            };
            Some(Status::internal(format!("grpc: failed to decompress the received message {why}")))
        }
        _ => None,
    }
}

/// A message that is packed although its sender said that none would be.
pub(super) fn unexpected() -> Status {
    Status::internal("grpc: compressed flag set with identity or empty encoding")
}
