//! What operators do, the timeline of it, and trouble with the disk.

use std::time::Duration;

use tempfile::TempDir;

use super::tests::{Bench, NOW, Place, application, connect, in_both_stores, new_token};
use super::*;
use crate::admission::{Refusal, State};
use crate::token::Token;

async fn whats(bench: &Bench, path: &TokenPath) -> Vec<What> {
    let id = path.public_id();
    let entries = bench.registry.timeline(Some(&id), 0, 1000).await.unwrap();
    entries.iter().map(|entry| entry.what).collect()
}

async fn a_revoked_token_is_gone_at_once_and_wakes_those_who_wait(place: Place) {
    let bench = place.open().await;
    let prod = || NewToken { label: Some("prod".parse().unwrap()), ..new_token("3") };
    let path = bench.registry.create(prod(), NOW).await.unwrap().founding.path.clone();
    let waiting = {
        let (registry, path) = (bench.registry.clone(), path.clone());
        tokio::spawn(async move { registry.wait(&path, |_| None::<()>).await })
    };
    tokio::task::yield_now().await;
    let mut milestones = bench.registry.milestones();
    let revoke = |path: &TokenPath| bench.registry.operate(path.clone(), Order::Revoke, "ann", NOW);
    let revoked = revoke(&path).await.unwrap();
    assert_eq!(revoked.state(NOW), State::Revoked);
    let woken = tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap();
    assert_eq!(woken, None);
    let heard = milestones.recv().await.unwrap();
    assert!(matches!(heard, Milestone::Token(it) if it.path == path), "DNS hears of it");
    assert!(bench.registry.founding(&path).is_none());
    let late = bench.registry.register(path.clone(), application(&path, 1), NOW).await;
    assert_eq!(late.unwrap_err(), Error::Unknown);
    let again = NewToken { path: path.clone(), ..new_token("3") };
    let again = bench.registry.create(again, NOW).await.unwrap_err();
    assert_eq!(again, Error::Refused(Refusal::Revoked));
    let extended =
        bench.registry.operate(path.clone(), Order::Extend(Ttl::from_hours(1)), "ann", NOW).await;
    assert_eq!(extended.unwrap_err(), Error::Refused(Refusal::Revoked));
    // Its name is free, and asking twice is no trouble.
    bench.registry.create(prod(), NOW).await.unwrap();
    revoke(&path).await.unwrap();
    assert_eq!(whats(&bench, &path).await, [What::Created, What::Revoked]);
    assert_eq!(bench.registry.counts(NOW).revoked, 1);
    bench.close().await;

    let bench = place.open().await;
    assert!(bench.registry.founding(&path).is_none(), "and it stays gone");
    assert_eq!(bench.registry.find(path.as_str()).unwrap().state(NOW), State::Revoked);
    bench.registry.sweep(NOW.after(Duration::from_secs(86_400))).await.unwrap();
    assert!(bench.registry.find(path.as_str()).is_none(), "forgotten a day later");
}

async fn an_extended_token_lives_longer(place: Place) {
    let bench = place.open().await;
    let path = bench.token("3").await;
    let order = Order::Extend("2h".parse().unwrap());
    let extended = bench.registry.operate(path.clone(), order, "ann", NOW).await.unwrap();
    assert_eq!(extended.expires_at, NOW.after(Duration::from_secs(3 * 3600)));
    bench.close().await;
    let bench = place.open().await;
    assert_eq!(bench.registry.founding(&path).unwrap().expires_at, extended.expires_at);
    let late = extended.expires_at;
    let refused = bench.registry.operate(path.clone(), order, "ann", late).await.unwrap_err();
    assert_eq!(refused, Error::Refused(Refusal::Expired));
    let unknown = TokenPath::short(&Token::draw());
    let refused = bench.registry.operate(unknown, order, "ann", NOW).await.unwrap_err();
    assert_eq!(refused, Error::Unknown);
    let entries = bench.registry.timeline(Some(&path.public_id()), 0, 9).await.unwrap();
    assert_eq!((entries[1].what, entries[1].by.as_deref()), (What::Extended, Some("ann")));
}

async fn operators_find_and_list_tokens(place: Place) {
    let bench = place.open().await;
    let mut paths = Vec::new();
    for size in ["1", "2", "3", "4", "5"] {
        paths.push(bench.token(size).await);
    }
    let one = application(&paths[0], 1);
    bench.registry.register(paths[0].clone(), one, NOW).await.unwrap();
    for name in [
        paths[1].as_str().to_owned(),
        paths[1].token().unwrap().to_owned(),
        paths[1].public_id().to_string(),
    ] {
        assert_eq!(bench.registry.find(&name).unwrap().size.get(), 2, "{name}");
    }
    assert!(bench.registry.find("000000000000").is_none());
    let sizes = |page: Vec<Arc<Founding>>| -> Vec<u32> {
        page.iter().map(|held| held.size.get()).collect()
    };
    let page = bench.registry.list(Some(State::Open), None, 0, 3, NOW);
    let after = page[2].created_index;
    assert_eq!(sizes(page), [2, 3, 4]);
    assert_eq!(sizes(bench.registry.list(Some(State::Open), None, after, 3, NOW)), [5]);
    assert_eq!(sizes(bench.registry.list(Some(State::Full), None, 0, 3, NOW)), [1]);
    assert_eq!(sizes(bench.registry.list(None, None, 0, 9, NOW)), [1, 2, 3, 4, 5]);
}

async fn the_timeline_has_every_decision(place: Place) {
    let bench = place.open().await;
    let path = bench.token("2").await;
    for n in [1, 1, 2, 3] {
        bench.registry.register(path.clone(), application(&path, n), NOW).await.unwrap();
    }
    // Any number of refusals by strangers makes a bounded number of entries.
    for _ in 0..100 {
        let refused = bench.registry.register(path.clone(), application(&path, 1), NOW).await;
        assert!(matches!(refused, Err(Error::Refused(_))));
    }
    bench.registry.sweep(NOW.after(Duration::from_secs(7200))).await.unwrap();
    bench.registry.sweep(NOW.after(Duration::from_secs(7300))).await.unwrap();
    let mut seen = whats(&bench, &path).await;
    assert_eq!(seen.pop(), Some(What::Expired));
    use What::{Created, Founded, Refused, Resumed, Sealed, Surplus};
    assert_eq!(seen[..7], [Created, Founded, Resumed, Founded, Sealed, Surplus, Refused]);
    assert_eq!(seen.len(), 6 + 63, "63 refusals and one repeat");
    let entries = bench.registry.timeline(None, 6, 1).await.unwrap();
    let refusal = &entries[0];
    assert_eq!((refusal.seq, refusal.code.as_deref()), (7, Some("Q1033")));
    let text = format!("{:?}", bench.registry.timeline(None, 0, 1000).await.unwrap());
    assert!(!text.contains(path.token().unwrap()), "the token is a secret");
    let whole = bench.registry.verify().await.unwrap();
    assert_eq!(whole.entries, 70);
    bench.close().await;
    let bench = place.open().await;
    bench.token("3").await;
    assert_eq!(bench.registry.verify().await.unwrap().entries, 71, "the chain goes on");
}

#[tokio::test]
async fn a_changed_or_shortened_timeline_is_noticed() {
    let dir = TempDir::new().unwrap();
    let bench = Bench::open(dir.path()).await;
    for _ in 0..5 {
        bench.token("3").await;
    }
    let damages = [
        ("update timeline set body = replace(body, '\"size\":3', '\"size\":5') where seq = 3", 3),
        ("update timeline set hash = upper(hash) where seq = 2", 2),
        ("delete from timeline where seq = 4", 4),
        ("delete from timeline where seq = 5", 4),
        ("update timeline set token = 'aaaaaaaaaaaa' where seq = 1", 1),
        ("insert into timeline values (6, 'a', '{}', 'b')", 6),
    ];
    let mut other = connect(dir.path()).await;
    for (damage, named) in damages {
        sqlx::query("create table kept as select * from timeline")
            .execute(&mut other)
            .await
            .unwrap();
        sqlx::query(damage).execute(&mut other).await.unwrap();
        match bench.registry.verify().await {
            Err(VerifyError::Broken(broken)) => assert_eq!(broken.seq, named, "{damage}: {broken}"),
            whole => panic!("{damage}: {whole:?}"),
        }
        for mend in
            ["delete from timeline", "insert into timeline select * from kept", "drop table kept"]
        {
            sqlx::query(mend).execute(&mut other).await.unwrap();
        }
        bench.registry.verify().await.unwrap();
    }
}

#[tokio::test]
async fn a_database_damaged_while_it_runs_is_found() {
    let dir = TempDir::new().unwrap();
    let bench = Bench::open(dir.path()).await;
    for _ in 0..200 {
        bench.token("3").await;
    }
    bench.close().await;
    let bench = Bench::open(dir.path()).await;
    bench.registry.check().await.unwrap();
    let database = dir.path().join("data/registry.db");
    let mut bytes = std::fs::read(&database).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xa5);
    std::fs::write(&database, &bytes).unwrap();
    let error = bench.registry.check().await.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("registry.db` is damaged"), "{error}");
}

#[tokio::test]
async fn a_copy_is_a_whole_registry_while_writes_go_on() {
    let dir = TempDir::new().unwrap();
    let bench = Bench::open(dir.path()).await;
    let path = bench.token("9").await;
    let registry = bench.registry.clone();
    let writing = tokio::spawn({
        let path = path.clone();
        async move {
            for n in 0..60 {
                registry.register(path.clone(), application(&path, n), NOW).await.unwrap();
            }
        }
    });
    let copies = TempDir::new().unwrap();
    let file = copies.path().join("backup");
    save(bench.registry.backup().await.unwrap(), &file).await;
    writing.await.unwrap();
    let before = restore(&file, &copies.path().join("data")).await.unwrap();
    assert!(before.timeline_entries > 0);
    let opened = Bench::open(copies.path()).await;
    opened.registry.verify().await.unwrap();
    let (there, here) = (opened.registry.founding(&path).unwrap(), bench.registry.founding(&path));
    assert!(there.index <= here.unwrap().index);
    assert!(opened.registry.index() > bench.registry.index(), "no index comes twice");
    let left = std::fs::read_dir(dir.path().join("data")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("backup")), "{left:?}");
}

async fn save(backup: Backup, path: &Path) {
    let mut bytes = backup.head;
    let mut file = backup.file;
    tokio::io::AsyncReadExt::read_to_end(&mut file, &mut bytes).await.unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn only_a_whole_backup_is_restored_and_only_into_an_empty_directory() {
    let dir = TempDir::new().unwrap();
    let bench = Bench::open(dir.path()).await;
    let path = bench.token("3").await;
    bench.registry.register(path.clone(), application(&path, 1), NOW).await.unwrap();
    let file = dir.path().join("backup");
    save(bench.registry.backup().await.unwrap(), &file).await;
    let whole = std::fs::read(&file).unwrap();
    let occupied = restore(&file, &dir.path().join("data")).await.unwrap_err().to_string();
    assert!(occupied.contains("is not empty"), "{occupied}");
    let head = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).unwrap().0 + 1;
    let into = dir.path().join("into");
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let cases = [
        (flipped(0), "no backup of quorate"),
        (flipped(head + 100), "SHA-256"),
        (flipped(whole.len() - 1), "SHA-256"),
        (whole[..whole.len() - 1].to_vec(), "bytes of"),
        (whole[..10].to_vec(), "no backup of quorate"),
        (Vec::new(), "no backup of quorate"),
    ];
    // A version is another one with a bit flipped, and then the third line is no database.
    let in_head = (1..head).map(|at| (flipped(at), "backup"));
    for (bytes, part) in cases.into_iter().chain(in_head) {
        std::fs::write(&file, bytes).unwrap();
        let error = restore(&file, &into).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(
            std::fs::read_dir(&into).is_err() || std::fs::read_dir(&into).unwrap().next().is_none()
        );
    }
    std::fs::write(&file, &whole).unwrap();
    let restored = restore(&file, &into).await.unwrap();
    assert!(into.join("registry.db").is_file());
    // The first release wrote no third line.
    let lines = String::from_utf8(whole[..head].to_vec()).unwrap();
    let described = lines.lines().nth(1).unwrap();
    let older = [b"quorate-backup 1\n", described.as_bytes(), b"\n", &whole[head..]].concat();
    std::fs::write(&file, older).unwrap();
    assert_eq!(restore(&file, &dir.path().join("older")).await.unwrap(), restored);
}

in_both_stores! {
    a_revoked_token_is_gone_at_once_and_wakes_those_who_wait,
    an_extended_token_lives_longer,
    operators_find_and_list_tokens,
    the_timeline_has_every_decision,
}
