//! Registries that earlier versions made.

use std::os::unix::fs::DirBuilderExt as _;

use sqlx::migrate::{Migration, Migrator};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use super::tests::{Bench, NOW, application};
use super::*;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// A database as the first `versions` migrations make it, with one full and one open token.
async fn database_of(versions: i64, dir: &Path) {
    let data = dir.join("data");
    std::fs::DirBuilder::new().mode(0o700).create(&data).unwrap();
    let options = SqliteConnectOptions::new().filename(data.join("registry.db"));
    let mut connection =
        options.create_if_missing(true).foreign_keys(true).connect().await.unwrap();
    let known = |migration: &&Migration| migration.version <= versions;
    let before = MIGRATIONS.iter().filter(known).cloned().collect();
    Migrator::with_migrations(before).run(&mut connection).await.unwrap();
    for statement in [
        "insert into registry (id, cluster_id, last_index) values (1, '0123456789abcdef', 7)",
        "insert into token (path, size, label, created_index, created_at, expires_at)
         values ('/v2/keys/a/one', 1, 'prod', 4, 1000, 9999999999999),
                ('/v2/keys/a/two', 2, null, 6, 1000, 9999999999999)",
        "insert into registration
             (created_index, token_index, member, value, founder, registered_at)
         values (5, 4, 'abc', 'n9=http://10.0.0.9:2380', 1, 1000),
                (7, 6, 'def', 'n8=http://10.0.0.8:2380', 1, 1000)",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn what_an_earlier_version_stored_is_there_and_goes_on() {
    for versions in [1, 2] {
        let dir = TempDir::new().unwrap();
        database_of(versions, dir.path()).await;
        let path = |name: &str| TokenPath::raw(["a", name]).unwrap();
        for round in 0..2 {
            let bench = Bench::open(dir.path()).await;
            let one = bench.registry.founding(&path("one")).unwrap();
            let label = one.label.as_ref().map(Label::as_str);
            assert_eq!((one.size.get(), label, one.founders[0].name()), (1, Some("prod"), "n9"));
            assert_eq!((one.founders[0].index, one.client_port), (5, None));
            let two = path("two");
            let registered = bench.registry.register(two.clone(), application(&two, 1), NOW).await;
            let outcome = registered.map(|registration| registration.outcome);
            match round {
                0 => assert_eq!(outcome.unwrap(), Outcome::Sealed),
                _ => {
                    assert!(matches!(outcome, Err(Error::Refused(Refusal::FounderReturned { .. }))))
                }
            }
            assert_eq!(bench.registry.index(), 8, "indexes go on");
            let entries = bench.registry.timeline(Some(&two.public_id()), 0, 9).await.unwrap();
            assert!(entries.len() >= 2 && entries[0].what == What::Founded, "{entries:?}");
            bench.registry.verify().await.unwrap();
            bench.close().await;
        }
    }
}
