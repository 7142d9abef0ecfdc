//! Locks and elections through the server, as the v3lock and v3election services of etcd do them.

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Waker};

use bytes::Bytes;
use tonic::Code;
use tonic::transport::Channel;

use super::live::{Node, PATIENCE, words};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::kv_client::KvClient;
use crate::proto::etcdserverpb::lease_client::LeaseClient;
use crate::proto::v3electionpb::election_client::ElectionClient;
use crate::proto::v3electionpb::{
    CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest,
};
use crate::proto::v3lockpb::lock_client::LockClient;
use crate::proto::v3lockpb::{LockRequest, UnlockRequest};

async fn grant(channel: &Channel, id: i64) {
    let request = pb::LeaseGrantRequest { ttl: 60, id };
    LeaseClient::new(channel.clone()).lease_grant(request).await.unwrap();
}

async fn count(channel: &Channel, prefix: &str) -> i64 {
    let range_end = Bytes::from([&prefix.as_bytes()[..prefix.len() - 1], b"0"].concat());
    let key = prefix.to_owned().into();
    let request = pb::RangeRequest { key, range_end, count_only: true, ..Default::default() };
    KvClient::new(channel.clone()).range(request).await.unwrap().into_inner().count
}

/// Waits for so many keys below a prefix that ends in `/`.
async fn until_count(channel: &Channel, prefix: &str, wanted: i64) {
    let reached = async {
        while count(channel, prefix).await != wanted {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap();
}

fn lock(name: &'static str, lease: i64) -> LockRequest {
    LockRequest { name: name.into(), lease }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_passes_from_one_to_the_next() {
    let node = Node::start().await;
    let channel = node.channel().await;
    let mut locks = LockClient::new(channel.clone());
    grant(&channel, 0x1a).await;
    grant(&channel, 0x1b).await;
    let held = locks.lock(lock("l", 0x1a)).await.unwrap().into_inner();
    assert_eq!(held.key, "l/1a");
    let revision = held.header.unwrap().revision;
    let again = locks.lock(lock("l", 0x1a)).await.unwrap().into_inner();
    assert_eq!((again.key, again.header.unwrap().revision), (held.key.clone(), revision));
    let waiting = tokio::spawn({
        let mut locks = locks.clone();
        async move { locks.lock(lock("l", 0x1b)).await }
    });
    until_count(&channel, "l/", 2).await;
    assert!(!waiting.is_finished());
    locks.unlock(UnlockRequest { key: held.key }).await.unwrap();
    let next = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(next.unwrap().into_inner().key, "l/1b");
    // A key that nobody holds can be unlocked.
    locks.unlock(UnlockRequest { key: "none".into() }).await.unwrap();
    let refused = locks.lock(lock("l", 0x77)).await.unwrap_err();
    assert_eq!(words(&refused), (Code::Unknown, "etcdserver: requested lease not found"));
    let own = locks.lock(lock("other", 0)).await.unwrap().into_inner();
    assert!(own.key.starts_with(b"other/"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_whose_client_left_is_no_longer_in_the_queue() {
    let node = Node::start().await;
    let channel = node.channel().await;
    grant(&channel, 1).await;
    grant(&channel, 2).await;
    let mut locks = LockClient::new(channel.clone());
    locks.lock(lock("l", 1)).await.unwrap();
    let waiting = tokio::spawn(async move { locks.lock(lock("l", 2)).await });
    until_count(&channel, "l/", 2).await;
    waiting.abort();
    until_count(&channel, "l/", 1).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_whose_lease_ended_is_told_so() {
    let node = Node::start().await;
    let channel = node.channel().await;
    grant(&channel, 1).await;
    grant(&channel, 2).await;
    let mut locks = LockClient::new(channel.clone());
    let held = locks.lock(lock("l", 1)).await.unwrap().into_inner();
    let waiting = tokio::spawn({
        let mut locks = locks.clone();
        async move { locks.lock(lock("l", 2)).await }
    });
    until_count(&channel, "l/", 2).await;
    let revoke = pb::LeaseRevokeRequest { id: 2 };
    LeaseClient::new(channel.clone()).lease_revoke(revoke).await.unwrap();
    locks.unlock(UnlockRequest { key: held.key }).await.unwrap();
    let refused = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap_err();
    assert_eq!(words(&refused), (Code::Unknown, "mutex: session is expired"));
    node.stop().await;
}

fn campaign(value: &'static str, lease: i64) -> CampaignRequest {
    CampaignRequest { name: "e".into(), lease, value: value.into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn elections_have_one_leader_whom_all_observe() {
    let node = Node::start().await;
    let channel = node.channel().await;
    grant(&channel, 1).await;
    grant(&channel, 2).await;
    let mut elections = ElectionClient::new(channel.clone());
    let name = || LeaderRequest { name: "e".into() };
    let nobody = elections.leader(name()).await.unwrap_err();
    assert_eq!(words(&nobody), (Code::Unknown, "election: no leader"));
    let mut observed = elections.observe(name()).await.unwrap().into_inner();
    {
        let mut silence = pin!(observed.message());
        assert!(silence.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    let first = elections.campaign(campaign("one", 1)).await.unwrap().into_inner();
    let leader = first.leader.unwrap();
    let revision = first.header.unwrap().revision;
    let shown = LeaderKey { name: "e".into(), key: "e/1".into(), rev: revision, lease: 1 };
    assert_eq!(leader, shown);
    let next = async |observed: &mut tonic::Streaming<_>| -> (Bytes, i64) {
        let next: crate::proto::v3electionpb::LeaderResponse =
            tokio::time::timeout(PATIENCE, observed.message()).await.unwrap().unwrap().unwrap();
        (next.kv.unwrap().value, next.header.unwrap().revision)
    };
    assert_eq!(next(&mut observed).await, ("one".into(), revision));
    // The same candidate with another value proclaims it.
    elections.campaign(campaign("uno", 1)).await.unwrap();
    assert_eq!(next(&mut observed).await, ("uno".into(), revision + 1));
    let proclaim = ProclaimRequest { leader: Some(leader.clone()), value: "eins".into() };
    elections.proclaim(proclaim.clone()).await.unwrap();
    assert_eq!(next(&mut observed).await, ("eins".into(), revision + 2));

    let second = tokio::spawn({
        let mut elections = elections.clone();
        async move { elections.campaign(campaign("two", 2)).await }
    });
    until_count(&channel, "e/", 2).await;
    elections.resign(ResignRequest { leader: Some(leader.clone()) }).await.unwrap();
    let second = tokio::time::timeout(PATIENCE, second).await.unwrap().unwrap().unwrap();
    assert_eq!(second.into_inner().leader.unwrap().key, "e/2");
    assert_eq!(next(&mut observed).await.0, "two");
    let current = elections.leader(name()).await.unwrap().into_inner();
    assert_eq!(current.kv.unwrap().value, "two");

    let stale = elections.proclaim(proclaim).await.unwrap_err();
    assert_eq!(words(&stale), (Code::Unknown, "election: not leader"));
    elections.resign(ResignRequest { leader: Some(leader) }).await.unwrap();
    let text = "\"leader\" field must be provided";
    let refused = elections.resign(ResignRequest { leader: None }).await.unwrap_err();
    assert_eq!(words(&refused), (Code::Unknown, text));
    let refused = elections.proclaim(ProclaimRequest::default()).await.unwrap_err();
    assert_eq!(words(&refused), (Code::Unknown, text));
    node.stop().await;
}
