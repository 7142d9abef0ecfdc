use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, StatusCode, header};
use tokio_stream::StreamExt as _;
use tracing::{info, warn};

use super::problem::Problem;
use crate::admission::codes;
use crate::discovery_server::{Service, request_id};
use crate::registry::{Backup, BackupError, VerifyError};

/// Bytes read from the copy at a time.
const CHUNK: usize = 64 * 1024;

/// All of the registry as it is at one moment
///
/// `quorate restore` makes a data directory of it. It holds the tokens: keep it as safe as them.
#[utoipa::path(
    get,
    path = "/api/v1/backup",
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
    security(("admin_key" = []))
)]
pub(super) async fn download(State(service): State<Service>) -> Result<Response<Body>, Problem> {
    let backup = service.registry().backup().await.map_err(|error| {
        if let BackupError::Elsewhere { .. } = error {
            return Problem::new(StatusCode::CONFLICT, codes::BAD_REQUEST, error.to_string());
        }
        if let BackupError::Timeline(VerifyError::Broken(_)) = error {
            return Problem::new(StatusCode::CONFLICT, codes::TIMELINE_BROKEN, error.to_string());
        }
        warn!(request.id = request_id::current(), error = %error, "backup failed");
        let detail = "the backup could not be made; the log of the service says why";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, codes::UNAVAILABLE, detail)
    })?;
    let Backup { head, file, bytes } = backup;
    info!(request.id = request_id::current(), backup.bytes = bytes, "backup made");
    let length = head.len() as u64 + bytes;
    let first = tokio_stream::once(Ok(bytes::Bytes::from(head)));
    let rest = futures_util::stream::try_unfold(file, async |mut file| {
        use tokio::io::AsyncReadExt as _;
        let mut chunk = vec![0; CHUNK];
        let read = file.read(&mut chunk).await?;
        chunk.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then(|| (bytes::Bytes::from(chunk), file)))
    });
    let mut response = Response::new(Body::from_stream(first.chain(rest)));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"quorate.backup\""),
    );
    Ok(response)
}
