//! Several services that share one registry.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::JoinSet;

use super::tests::{NOW, Place, application, new_token};
use super::*;

/// Far more than anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_services_admit_one_cluster() {
    let place = Place::cluster().await;
    let mut services = Vec::new();
    for name in ["a", "b", "c"] {
        services.push(place.open_as(name).await);
    }
    let path = services[0].token("3").await;
    let mut racing = JoinSet::new();
    for n in 0..90 {
        let (registry, path) = (services[n % 3].registry.clone(), path.clone());
        racing.spawn(async move {
            let done = registry.register(path.clone(), application(&path, n), NOW).await.unwrap();
            (done.outcome, done.registered.index)
        });
    }
    let mut answers = racing.join_all().await;
    answers.sort_by_key(|(_, index)| *index);
    let indexes: BTreeSet<u64> = answers.iter().map(|(_, index)| *index).collect();
    assert_eq!(indexes.len(), 90, "no index is given twice, whoever gives it");
    let outcomes: Vec<Outcome> = answers.iter().map(|(outcome, _)| *outcome).collect();
    assert_eq!(outcomes[..3], [Outcome::Founded, Outcome::Founded, Outcome::Sealed]);
    assert!(outcomes[3..].iter().all(|outcome| *outcome == Outcome::Surplus));
    // All see the same founders, in the same order.
    let mut seen = BTreeSet::new();
    for service in &services {
        let all = |held: &Founding| (held.surplus.len() == 87).then(|| format!("{held:?}"));
        let whole = tokio::time::timeout(PATIENCE, service.registry.wait(&path, all)).await;
        seen.insert(whole.unwrap().unwrap());
    }
    assert_eq!(seen.len(), 1);
    let verified = services[1].registry.verify().await.unwrap();
    assert_eq!(verified.entries, 92, "made, ninety registrations, sealed");
    for service in services {
        service.close().await;
    }
    place.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_service_does_the_others_know() {
    let place = Place::cluster().await;
    let (a, b) = (place.open_as("a").await, place.open_as("b").await);
    // A node that was given a URL by one service may come to the other at once.
    for _ in 0..20 {
        let path = a.token("3").await;
        b.registry.ensure_known([&path]).await;
        assert!(b.registry.founding(&path).is_some());
        b.registry.register(path.clone(), application(&path, 1), NOW).await.unwrap();
    }
    let path = a.token("2").await;
    b.registry.ensure_known([&path]).await;
    let waiting = {
        let (registry, path) = (b.registry.clone(), path.clone());
        tokio::spawn(async move {
            registry.wait(&path, |held| held.founders.first().map(|first| first.index)).await
        })
    };
    let done = a.registry.register(path.clone(), application(&path, 1), NOW).await.unwrap();
    let heard = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(heard, Some(done.registered.index));
    // A name belongs to one token, wherever it was given.
    let prod = || NewToken { label: Some("prod".parse().unwrap()), ..new_token("3") };
    let labelled = a.registry.create(prod(), NOW).await.unwrap().founding.path.clone();
    let taken = b.registry.create(prod(), NOW).await.unwrap_err();
    assert_eq!(taken, Error::LabelTaken { label: "prod".into() });
    b.registry.operate(labelled.clone(), Order::Revoke, "ann", NOW).await.unwrap();
    a.registry.create(prod(), NOW).await.unwrap();
    assert!(a.registry.founding(&labelled).is_none());
    a.close().await;
    b.close().await;
    place.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_goes_away_is_trouble_and_no_answer() {
    let place = Place::cluster().await;
    let bench = place.open().await;
    let path = bench.token("3").await;
    place.close().await;
    let lost = bench.registry.register(path.clone(), application(&path, 1), NOW).await;
    assert_eq!(lost.unwrap_err(), Error::Unavailable);
    assert!(bench.registry.founding(&path).is_some(), "reads still work");
    assert!(!bench.registry.is_writable());
}
