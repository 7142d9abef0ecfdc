use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

#[test]
fn members_take_turns_and_failed_ones_rest() {
    let mut rota = Rota::default();
    let now = Instant::now();
    assert!(rota.order(now).is_empty());
    rota.replace(["a", "b", "c", "a"].map(str::to_owned).to_vec());
    assert_eq!(rota.order(now), ["b", "c", "a"]);
    assert_eq!(rota.order(now), ["c", "a", "b"]);
    rota.set_out("a", Some(now + Duration::from_secs(5)));
    assert_eq!(rota.order(now), ["b", "c", "a"]);
    assert_eq!(rota.order(now), ["b", "c", "a"]);
    // A new list keeps what is known.
    rota.replace(["a", "b"].map(str::to_owned).to_vec());
    assert_eq!(rota.order(now), ["b", "a"]);
    assert_eq!(rota.order(now), ["b", "a"]);
    assert_eq!(rota.order(now + Duration::from_secs(5)), ["a", "b"]);
}

#[test]
fn the_state_has_the_shape_of_etcd() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(read_state(dir.path()).unwrap(), None);
    let urls = vec![PeerUrl::parse("http://127.0.0.1:3001").unwrap()];
    write_state(dir.path(), &urls).unwrap();
    assert_eq!(
        fs::read_to_string(dir.path().join("proxy/cluster")).unwrap(),
        r#"{"PeerURLs":["http://127.0.0.1:3001"]}"#
    );
    assert_eq!(read_state(dir.path()).unwrap(), Some(urls));
    fs::write(dir.path().join("proxy/cluster"), "garbage").unwrap();
    assert!(read_state(dir.path()).is_err());
}

/// A member's client port that greets with its name.
async fn member(name: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            client.write_all(name.as_bytes()).await.unwrap();
        }
    });
    url
}

/// A peer port.
async fn peer(members: Router) -> PeerUrl {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = PeerUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, members).await });
    url
}

/// The name that a member behind the proxy greets with; empty while there is none.
async fn greeting(proxy: SocketAddr) -> String {
    let mut client = TcpStream::connect(proxy).await.unwrap();
    let mut greeting = String::new();
    client.read_to_string(&mut greeting).await.unwrap();
    greeting
}

#[tokio::test]
async fn a_stranger_at_the_address_of_a_member_is_not_followed() {
    let (ours, strange) = (member("ours").await, member("strange").await);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let stranger = Router::new().route(
        "/members",
        get(move || async move {
            count.fetch_add(1, Ordering::SeqCst);
            let list = format!(r#"[{{"id":9,"name":"s","clientURLs":["{strange}"]}}]"#);
            ([("X-Etcd-Cluster-Id", "8")], list)
        }),
    );
    let stranger = peer(stranger).await;
    // Names the stranger's address as that of a member, and is gone.
    let answers = Arc::new(AtomicUsize::new(0));
    let last = Router::new().route(
        "/members",
        get(move || async move {
            let first = answers.fetch_add(1, Ordering::SeqCst) == 0;
            let list = format!(
                r#"[{{"id":1,"name":"n1","peerURLs":["{stranger}"],"clientURLs":["{ours}"]}}]"#
            );
            let answer = ([("X-Etcd-Cluster-Id", "7")], list);
            first.then_some(answer).ok_or(StatusCode::SERVICE_UNAVAILABLE)
        }),
    );
    let last = peer(last).await;

    let dir = tempfile::tempdir().unwrap();
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = front.local_addr().unwrap();
    let stop = CancellationToken::new();
    let (path, stopped) = (dir.path().to_owned(), stop.clone());
    let options = ProxyOptions {
        failure_wait: Duration::ZERO,
        refresh_interval: Duration::ZERO,
        dial_timeout: Duration::from_secs(1),
    };
    let proxy = tokio::spawn(async move {
        forward(vec![front], &path, vec![last], None, options, stopped).await;
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    // When it is asked again, what it said before has been judged.
    while asked.load(Ordering::SeqCst) < 2 {
        assert!(Instant::now() < deadline, "the stranger is not asked");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(greeting(address).await, "ours");
    stop.cancel();
    proxy.await.unwrap();
}

#[tokio::test]
async fn connections_reach_the_members_that_live() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead_url = format!("http://{}", dead.local_addr().unwrap());
    drop(dead);
    let (one, two) = (member("one").await, member("two").await);
    let list = format!(
        r#"[{{"id":1,"peerURLs":["http://127.0.0.1:3009"],"name":"n1","clientURLs":["{one}"]}},
            {{"id":2,"peerURLs":[],"name":"n2","clientURLs":["{dead_url}"]}},
            {{"id":3,"peerURLs":[],"name":"n3","clientURLs":["{two}"]}}]"#
    );
    let members = Router::new()
        .route("/members", get(move || async move { ([("X-Etcd-Cluster-Id", "7")], list) }));
    let peer = peer(members).await;

    let dir = tempfile::tempdir().unwrap();
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = front.local_addr().unwrap();
    let stop = CancellationToken::new();
    let options = ProxyOptions {
        failure_wait: Duration::from_secs(60),
        refresh_interval: Duration::from_secs(60),
        dial_timeout: Duration::from_secs(1),
    };
    let path = dir.path().to_owned();
    let stopped = stop.clone();
    let proxy = tokio::spawn(async move {
        forward(vec![front], &path, vec![peer], None, options, stopped).await;
    });
    let mut greetings = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while greetings.len() < 6 {
        assert!(Instant::now() < deadline, "{greetings:?}");
        let greeting = greeting(address).await;
        // Before the first reading there is nobody to forward to.
        if !greeting.is_empty() {
            greetings.push(greeting);
        }
    }
    assert!(greetings.contains(&"one".to_owned()) && greetings.contains(&"two".to_owned()));
    // The members' own list is what a restart begins with.
    assert_eq!(read_state(dir.path()).unwrap().unwrap()[0].as_str(), "http://127.0.0.1:3009");
    stop.cancel();
    proxy.await.unwrap();
}
