use std::time::Duration;

use tracing::{info, warn};

use super::{Error, Handle};
use crate::auth::Caller;
use crate::proto::quorate::replica::PublishAttributes;

/// Wait before the next attempt.
const RETRY: Duration = Duration::from_millis(200);

/// Tells the cluster this member's name and client URLs, until it is known; then the node serves.
pub(super) async fn publish(handle: Handle) {
    if !super::corruption::check_at_start(&handle).await {
        return;
    }
    let attributes = PublishAttributes {
        member_id: handle.member_id().0,
        name: handle.config().name.clone(),
        client_urls: handle.config().advertise_client_urls.clone(),
    };
    loop {
        match handle.propose(Caller::Cluster, attributes.clone()).await {
            Ok(_) => break,
            // Usual for a new member, which is installing its first snapshot then. To say it twice is
            // harmless.
            Err(Error::FateUnknown) => {
                let known = handle.0.commit_index();
                // An end of the node ends this task too.
                let _ = handle.0.applied.subscribe().wait_for(|applied| *applied >= known).await;
            }
            Err(error) => {
                warn!(
                    member.id = %handle.member_id(),
                    error = %error,
                    "failed to publish local member to cluster through raft; retrying"
                );
                tokio::time::sleep(RETRY).await;
            }
        }
    }
    info!(
        member.id = %handle.member_id(),
        member.name = attributes.name,
        client.urls = attributes.client_urls.join(","),
        cluster.id = %handle.cluster_id(),
        "published local member to cluster through raft"
    );
    handle.0.published.cancel();
}
