use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tracing::{info, warn};

use super::close_reason::CloseReason;
use super::dial::Dialer;
use super::identity::Identity;
use crate::membership::{MemberId, PeerUrl};
use crate::proto::quorate::peer::peer_client::PeerClient;
use crate::proto::quorate::peer::{SnapshotPart, snapshot_part::Part};
use crate::raft::{Index, Message};

/// The state at some index, chunk by chunk. Reading it blocks.
pub type SnapshotChunks = Box<dyn Iterator<Item = std::io::Result<Bytes>> + Send>;

/// Finds the snapshot of an index that was offered to consensus. Blocks.
pub type SnapshotSource = Arc<dyn Fn(Index) -> Option<SnapshotChunks> + Send + Sync>;

/// Parts under way; reading the store waits for the network beyond it.
const PARTS_QUEUE: usize = 8;

/// Sends a snapshot: its announcement, its chunks, their checksum. True when the peer took it.
pub(super) async fn send(
    dialer: &Dialer,
    identity: Identity,
    to: MemberId,
    urls: &[PeerUrl],
    announce: Message,
    chunks: SnapshotChunks,
) -> bool {
    let index = announce.snapshot.as_ref().map_or(0, |meta| meta.index);
    let (parts, receiver) = mpsc::channel(PARTS_QUEUE);
    let reading = tokio::task::spawn_blocking(move || {
        let envelope = Some(identity.envelope(to));
        let part = |part| SnapshotPart { envelope, part: Some(part) };
        if parts.blocking_send(part(Part::Announce(announce))).is_err() {
            return Ok(());
        }
        let mut crc = 0;
        for chunk in chunks {
            let chunk = chunk?;
            crc = crc32c::crc32c_append(crc, &chunk);
            if parts.blocking_send(part(Part::Chunk(chunk))).is_err() {
                return Ok(());
            }
        }
        // A receiver that is gone has given its reason to the call.
        drop(parts.blocking_send(part(Part::Crc32c(crc))));
        std::io::Result::Ok(())
    });
    let calling = async {
        let channel = connect(dialer, urls).await?;
        let parts = ReceiverStream::new(receiver);
        let taken = PeerClient::new(channel).snapshot(parts).await;
        taken.map(drop).map_err(|status| status.message().to_owned())
    };
    let (read, called) = tokio::join!(reading, calling);
    let outcome = match read {
        Ok(Ok(())) => called,
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match outcome {
        Ok(()) => {
            info!(peer.id = %to, snapshot.index = index, "sent a snapshot");
            true
        }
        Err(reason) => {
            warn!(peer.id = %to, snapshot.index = index, error = reason, "snapshot was not delivered");
            false
        }
    }
}

/// Connects by the first URL that leads somewhere; the last reason when none does.
async fn connect(dialer: &Dialer, urls: &[PeerUrl]) -> Result<Channel, String> {
    let mut reason = "the peer has no URL".to_owned();
    for url in urls {
        match dialer.connect(url, &CloseReason::default()).await {
            Ok(channel) => return Ok(channel),
            Err(error) => reason = super::chain(&error),
        }
    }
    Err(reason)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_peer_is_reached_by_its_second_url() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let second = format!("http://{}", listener.local_addr().unwrap());
        let urls = ["http://127.0.0.1:1", &second].map(|url| PeerUrl::parse(url).unwrap());
        let dialer = Dialer::default();
        let reached = async {
            let (accepted, connected) = tokio::join!(listener.accept(), connect(&dialer, &urls));
            accepted.unwrap();
            connected.unwrap();
        };
        tokio::time::timeout(Duration::from_secs(60), reached).await.unwrap();
        let refused = connect(&dialer, &urls[..1]).await.unwrap_err();
        assert!(refused.contains("refused"), "{refused}");
        assert_eq!(connect(&dialer, &[]).await.unwrap_err(), "the peer has no URL");
    }
}
