use std::io::ErrorKind;

use axum::routing::get;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::*;
use crate::transport::client_address;

/// Far more than anything here takes; only a failure waits for it.
const LIMIT: Duration = Duration::from_secs(60);

/// A listener on loopback that says who asked.
struct Listening {
    address: SocketAddr,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Listening {
    async fn start(options: Http) -> Self {
        let bound = Bound::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (bound.address(), CancellationToken::new());
        let serving = tokio::spawn(serve(bound, router(), options, stop.clone()));
        Self { address, stop, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn close(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}

fn router() -> Router {
    Router::new().route(
        "/",
        get(|request: Request<Body>| async move {
            client_address(request.extensions()).unwrap().to_string()
        }),
    )
}

/// Sends one request of HTTP/1.1 and reads to the end.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), head: &str) -> String {
    stream.write_all(head.as_bytes()).await.unwrap();
    to_end(stream).await
}

/// What comes until the other side closes.
async fn to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await;
    match read.expect("the connection stays open") {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_proxy_that_is_trusted_says_who_asked() {
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let listening = Listening::start(Http { trusted_proxies, ..Http::default() }).await;
    let head =
        "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.7\r\nConnection: close\r\n\r\n";
    let answer = ask(&mut listening.connect().await, head).await;
    assert!(answer.ends_with("192.0.2.7"), "{answer}");
    listening.close().await;
    let listening = Listening::start(Http::default()).await;
    let answer = ask(&mut listening.connect().await, head).await;
    assert!(answer.ends_with("127.0.0.1"), "{answer}");
    listening.close().await;
}

/// As all Go programs have it.
#[tokio::test]
async fn the_ipv4_wildcard_takes_ipv6_too() {
    let bound = Bound::bind("0.0.0.0:0").await.unwrap();
    let (port, stop) = (bound.address().port(), CancellationToken::new());
    let serving = tokio::spawn(serve(bound, router(), Http::default(), stop.clone()));
    let head = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let answer = ask(&mut stream, head).await;
    assert!(answer.ends_with("\r\n127.0.0.1"), "{answer}");
    match TcpStream::connect(("::1", port)).await {
        Ok(mut stream) => {
            let answer = ask(&mut stream, head).await;
            assert!(answer.ends_with("\r\n::1"), "{answer}");
        }
        // A machine without IPv6.
        Err(error) => assert!(Bound::bind("[::1]:0").await.is_err(), "{error}"),
    }
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_unix_socket_serves_and_goes_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    // An earlier process left one behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let bound = Bound::bind_unix(&path).unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(bound, router(), Http::default(), stop.clone()));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let answer = ask(&mut stream, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(answer.ends_with("127.0.0.1"), "{answer}");
    stop.cancel();
    serving.await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_head_that_is_too_long_or_does_not_come_ends_the_connection() {
    let options =
        Http { max_head_bytes: 16 << 10, head_timeout: Duration::from_secs(1), ..Http::default() };
    let listening = Listening::start(options).await;
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(17 << 10));
    let answer = ask(&mut listening.connect().await, &long).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    // Silence, a version that cannot be told yet, half a head, half a preface.
    let cut = ["", "P", "GET / HTTP/1.1\r\nHo", "PRI * HTTP/2.0\r\n"];
    futures_util::future::join_all(cut.map(|sent| {
        let listening = &listening;
        async move { ask(&mut listening.connect().await, sent).await }
    }))
    .await;
    // Silence after an answer.
    let answer = ask(&mut listening.connect().await, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    listening.close().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let listening = Listening::start(Http { max_connections: 1, ..Http::default() }).await;
    let first = listening.connect().await;
    let mut second = listening.connect().await;
    second.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(200), second.read(&mut byte)).await;
    assert!(early.is_err(), "the second connection was served beside the first");
    drop(first);
    assert!(to_end(&mut second).await.contains("127.0.0.1"));
    listening.close().await;
}

async fn http2(stream: TcpStream) -> hyper::client::conn::http2::SendRequest<Body> {
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    sender
}

fn request(address: SocketAddr) -> Request<Body> {
    Request::get(format!("http://{address}/")).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let idle_timeout = Some(Duration::from_secs(1));
    let bound = Bound::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (bound.address(), CancellationToken::new());
    let slow = get(|| async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        "slow"
    });
    let options = Http { idle_timeout, ..Http::default() };
    let router = Router::new().route("/", slow);
    let serving = tokio::spawn(serve(bound, router, options, stop.clone()));
    let mut sender = http2(TcpStream::connect(address).await.unwrap()).await;
    let answer = sender.send_request(request(address)).await.unwrap();
    assert_eq!(axum::body::to_bytes(Body::new(answer.into_body()), 10).await.unwrap(), "slow");
    let limit = tokio::time::Instant::now() + LIMIT;
    while !sender.is_closed() {
        assert!(tokio::time::Instant::now() < limit, "the idle connection stays open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    serving.await.unwrap();
}

/// What a client sends of a request that is refused before its body is there: the head, then the rest once the
/// answer is complete. Gives the frames that it gets for that, but those of the connection.
#[tokio::test]
async fn a_request_that_is_refused_early_is_not_reset() {
    let listening = Listening::start(Http::default()).await;
    let mut stream = listening.connect().await;
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    // POST / http, `:authority: h`, and no end.
    sent.extend([0, 0, 6, 1, 4, 0, 0, 0, 1, 0x83, 0x84, 0x86, 0x41, 1, b'h']);
    stream.write_all(&sent).await.unwrap();
    let mut kinds = Vec::new();
    let mut body_sent = false;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == 6 {
            break;
        }
        if head[8] == 1 {
            kinds.push(head[3]);
        }
        if !body_sent && head[8] == 1 && head[4] & 1 == 1 {
            body_sent = true;
            // The body and its end, and a ping, which is answered after what it brings.
            stream.write_all(&[0, 0, 2, 0, 1, 0, 0, 0, 1, b'{', b'}']).await.unwrap();
            stream.write_all(&[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]).await.unwrap();
        }
    }
    assert!(body_sent, "{kinds:?}");
    assert!(!kinds.contains(&3), "RST_STREAM among {kinds:?}");
    listening.close().await;
}

/// Sends that many requests of HTTP/2, each taken back at once; whether the server says goodbye.
async fn reset_rapidly(listening: &Listening, requests: u32) -> bool {
    let mut stream = listening.connect().await;
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    for number in 0..requests {
        let id = (2 * number + 1).to_be_bytes();
        // GET / http, `:authority: h`.
        let block = [0x82, 0x84, 0x86, 0x41, 1, b'h'];
        sent.extend([0, 0, 6, 1, 5]);
        sent.extend(id);
        sent.extend(block);
        sent.extend([0, 0, 4, 3, 0]);
        sent.extend(id);
        sent.extend([0, 0, 0, 8]);
    }
    // The last word: a ping, whose answer shows that the connection lives.
    sent.extend([0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    // It may be closed while we write.
    drop(stream.write_all(&sent).await);
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return true;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if stream.read_exact(&mut payload).await.is_err() {
            return true;
        }
        match (head[3], head[4]) {
            // GOAWAY: ENHANCE_YOUR_CALM.
            (7, _) => {
                assert_eq!(payload[4..8], [0, 0, 0, 11]);
                return true;
            }
            (6, 1) if payload == [1, 2, 3, 4, 5, 6, 7, 8] => return false,
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_rapid_reset_ends_the_connection() {
    let listening = Listening::start(Http { max_resets: 20, ..Http::default() }).await;
    assert!(!reset_rapidly(&listening, 10).await);
    assert!(reset_rapidly(&listening, 2000).await);
    // Others are not hurt.
    let head = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    assert!(ask(&mut listening.connect().await, head).await.contains(" 200 "));
    listening.close().await;
}

/// Sends five pings at once; what the server says when it ends the connection for that.
async fn ping_rapidly(listening: &Listening) -> Option<Vec<u8>> {
    let mut stream = listening.connect().await;
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    sent.extend([0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8].repeat(5));
    stream.write_all(&sent).await.unwrap();
    let mut answered = 0;
    while answered < 5 {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        match (head[3], head[4]) {
            (7, _) => return Some(payload),
            (6, 1) => answered += 1,
            _ => {}
        }
    }
    None
}

#[tokio::test]
async fn too_many_pings_end_the_connection() {
    let ping_floor = Some(Duration::from_secs(5));
    let listening = Listening::start(Http { ping_floor, ..Http::default() }).await;
    let farewell = ping_rapidly(&listening).await.unwrap();
    assert_eq!(farewell[4..], *b"\0\0\0\x0btoo_many_pings");
    listening.close().await;
    let listening = Listening::start(Http::default()).await;
    assert_eq!(ping_rapidly(&listening).await, None, "without a floor");
    listening.close().await;
}
