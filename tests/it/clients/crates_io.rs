//! The client of crates.io.

use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, GetOptions, LockOptions, PutOptions, Txn, TxnOp,
    WatchOptions,
};

use crate::harness::{DEADLINE, Flavor, Node, scratch, static_cluster};

#[test]
fn etcd_client_of_crates_io() {
    let dir = scratch();
    let mut nodes = static_cluster(&[Flavor::Ours; 3], dir.path()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let limit = |work| async { tokio::time::timeout(DEADLINE, work).await };
    runtime.block_on(async {
        let client = connect(&nodes).await;
        keys_and_transactions(client.clone()).await;
        session_with_ttl(client.clone()).await;
        lock(client.clone()).await;
        election(client.clone()).await;
    });
    let watched = runtime.block_on(limit(Box::pin(watch_over_a_killed_member(&mut nodes))));
    watched.unwrap();
}

async fn connect(nodes: &[Node]) -> Client {
    let urls: Vec<String> = nodes.iter().map(Node::client_url).collect();
    let options = ConnectOptions::new().with_timeout(Duration::from_secs(20));
    Client::connect(urls, Some(options)).await.unwrap()
}

async fn keys_and_transactions(mut client: Client) {
    client.put("plain", "one", None).await.unwrap();
    let put = client.put("plain", "two", Some(PutOptions::new().with_prev_key())).await.unwrap();
    assert_eq!(put.prev_key().unwrap().value(), b"one");
    let get = client.get("pl", Some(GetOptions::new().with_prefix())).await.unwrap();
    assert_eq!((get.count(), get.kvs()[0].version()), (1, 2));
    for expected in [true, false] {
        let txn = Txn::new()
            .when([Compare::version("txn", CompareOp::Equal, 0)])
            .and_then([TxnOp::put("txn", "made", None)])
            .or_else([TxnOp::delete("txn", None)]);
        assert_eq!(client.txn(txn).await.unwrap().succeeded(), expected);
    }
    assert_eq!(client.delete("plain", None).await.unwrap().deleted(), 1);
}

async fn session_with_ttl(mut client: Client) {
    let lease = client.lease_grant(2, None).await.unwrap().id();
    let options = PutOptions::new().with_lease(lease);
    client.put("session", "alive", Some(options)).await.unwrap();
    let (mut keeper, mut answers) = client.lease_keep_alive(lease).await.unwrap();
    keeper.keep_alive().await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().ttl(), 2);
    let mut watch = client.watch("session", None).await.unwrap();
    loop {
        let answer = watch.message().await.unwrap().unwrap();
        if let Some(event) = answer.events().first() {
            assert_eq!(event.event_type(), etcd_client::EventType::Delete);
            break;
        }
    }
}

async fn lock(mut client: Client) {
    let first = client.lock("lock", None).await.unwrap();
    let lease = client.lease_grant(20, None).await.unwrap().id();
    let waiting = tokio::spawn({
        let mut client = client.clone();
        async move { client.lock("lock", Some(LockOptions::new().with_lease(lease))).await }
    });
    // It stands in the queue as soon as its key is there.
    loop {
        let queue = client.get("lock/", Some(GetOptions::new().with_prefix())).await.unwrap();
        if queue.count() == 2 {
            break;
        }
    }
    assert!(!waiting.is_finished());
    client.unlock(first.key()).await.unwrap();
    let second = waiting.await.unwrap().unwrap();
    assert_ne!(second.key(), first.key());
    client.unlock(second.key()).await.unwrap();
}

async fn election(mut client: Client) {
    let lease = client.lease_grant(60, None).await.unwrap().id();
    let mut observed = client.observe("president").await.unwrap();
    let won = client.campaign("president", "a", lease).await.unwrap();
    let leader = won.leader().unwrap().clone();
    let seen = observed.message().await.unwrap().unwrap();
    assert_eq!(seen.kv().unwrap().value(), b"a");
    let options = etcd_client::ProclaimOptions::new().with_leader(leader.clone());
    client.proclaim("b", Some(options)).await.unwrap();
    let seen = observed.message().await.unwrap().unwrap();
    assert_eq!(seen.kv().unwrap().value(), b"b");
    assert_eq!(client.leader("president").await.unwrap().kv().unwrap().value(), b"b");
    let options = etcd_client::ResignOptions::new().with_leader(leader);
    client.resign(Some(options)).await.unwrap();
    assert!(client.leader("president").await.is_err());
}

/// The watch is on the member that is killed and goes on at another, from where it was.
async fn watch_over_a_killed_member(nodes: &mut [Node]) {
    let mut victim = connect(&nodes[..1]).await;
    let mut others = connect(&nodes[1..]).await;
    let mut watch = victim.watch("watched", None).await.unwrap();
    let mut values = Vec::new();
    let mut revision = 0;
    for number in 0..3 {
        others.put("watched", number.to_string(), None).await.unwrap();
    }
    while values.len() < 3 {
        let answer = watch.message().await.unwrap().unwrap();
        for event in answer.events() {
            let kv = event.kv().unwrap();
            values.push(kv.value_str().unwrap().to_owned());
            revision = kv.mod_revision();
        }
    }
    nodes[0].kill();
    while matches!(watch.message().await, Ok(Some(_))) {}
    for number in 3..6 {
        // The killed member may have led.
        while others.put("watched", number.to_string(), None).await.is_err() {}
    }
    let options = WatchOptions::new().with_start_revision(revision + 1);
    let mut watch = others.watch("watched", Some(options)).await.unwrap();
    while values.last().is_none_or(|last| last != "5") {
        let answer = watch.message().await.unwrap().unwrap();
        let new = answer.events().iter().map(|event| event.kv().unwrap().value_str().unwrap());
        values.extend(new.map(str::to_owned));
    }
    values.dedup();
    assert_eq!(values, ["0", "1", "2", "3", "4", "5"]);
}
