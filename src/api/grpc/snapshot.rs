use std::time::Instant;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::{info, warn};

use crate::api::version;
use crate::backup::Export;
use crate::mvcc::StorageError;
use crate::node::{Error, Handle};
use crate::proto::etcdserverpb::SnapshotResponse;

/// Bytes of a message; etcd's size.
const CHUNK_BYTES: usize = 32 * 1024;
/// Messages that wait for a client; when it is full the snapshot waits, and nothing else.
const QUEUE: usize = 8;

type Chunks = Sender<Result<SnapshotResponse, Status>>;

/// A snapshot of this member: the pages of the file, then their SHA-256 in a message of its own.
pub(super) async fn stream(
    handle: &Handle,
) -> Result<ReceiverStream<Result<SnapshotResponse, Status>>, Status> {
    let began = Instant::now();
    let frozen = handle.freeze().await?;
    let (chunks, stream) = channel(QUEUE);
    let handle = handle.clone();
    tokio::task::spawn_blocking(move || {
        let sent = handle.own(Export::prepare(frozen)).map_err(Stop::Failed).and_then(|export| {
            info!(total_bytes = export.file_bytes(), "sending database snapshot to client");
            send(&export, &chunks)
        });
        match sent {
            Ok(bytes) => {
                handle.durations().snapshot.observe(began.elapsed().as_secs_f64());
                info!(total_bytes = bytes, "successfully sent database snapshot to client");
            }
            Err(Stop::Gone) => warn!("the client went away before it had the whole snapshot"),
            Err(Stop::Failed(error)) => {
                // Nobody to tell when the client is gone as well.
                drop(chunks.blocking_send(Err(error.into())));
            }
        }
    });
    Ok(ReceiverStream::new(stream))
}

enum Stop {
    /// The client does not listen any more.
    Gone,
    Failed(Error),
}

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Self {
        Self::Failed(Error::Apply(error.into()))
    }
}

fn send(export: &Export, chunks: &Chunks) -> Result<u64, Stop> {
    let mut hash = Sha256::new();
    let mut remaining = export.file_bytes();
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    let mut flush = |chunk: &mut Vec<u8>| {
        hash.update(&chunk[..]);
        remaining -= chunk.len() as u64;
        let blob = std::mem::replace(chunk, Vec::with_capacity(CHUNK_BYTES));
        pass(chunks, remaining, blob.into())
    };
    export.write(&mut |mut pages| {
        while !pages.is_empty() {
            let part = pages.len().min(CHUNK_BYTES - chunk.len());
            chunk.extend_from_slice(&pages[..part]);
            pages = &pages[part..];
            if chunk.len() == CHUNK_BYTES {
                flush(&mut chunk)?;
            }
        }
        Ok::<(), Stop>(())
    })?;
    if !chunk.is_empty() {
        flush(&mut chunk)?;
    }
    pass(chunks, 0, Bytes::copy_from_slice(&hash.finalize()))?;
    Ok(export.file_bytes())
}

fn pass(chunks: &Chunks, remaining_bytes: u64, blob: Bytes) -> Result<(), Stop> {
    let version = version::STORAGE.to_owned();
    let message = SnapshotResponse { header: None, remaining_bytes, blob, version };
    chunks.blocking_send(Ok(message)).map_err(|_closed| Stop::Gone)
}
