use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Response};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::membership::InitialCluster;
use crate::registry;

/// No test waits longer than this for anything.
const DEADLINE: Duration = Duration::from_secs(60);

/// The service on a port of its own, and a client.
pub(super) struct Bench {
    client: Client,
    pub(super) url: String,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    dir: TempDir,
}

const MAX_BODY_BYTES: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

impl Bench {
    pub(super) async fn start() -> Self {
        Self::start_in(TempDir::new().unwrap(), None).await
    }

    pub(super) async fn start_in(dir: TempDir, address: Option<std::net::SocketAddr>) -> Self {
        Self::start_for(dir, address, None).await
    }

    /// A service that only these users may use by v3 discovery.
    pub(super) async fn start_for(
        dir: TempDir,
        address: Option<std::net::SocketAddr>,
        accounts: Option<Accounts>,
    ) -> Self {
        let config = registry::Config {
            data_dir: dir.path().join("data"),
            token_ttl: "1h".parse().unwrap(),
            sealed_ttl: "1h".parse().unwrap(),
            cluster: None,
            max_surplus: 64,
        };
        let (registry, writer) = Registry::open(config).await.unwrap();
        let address =
            address.map_or_else(|| "127.0.0.1:0".to_owned(), |address| address.to_string());
        let listener = Bound::bind(&address).await.unwrap();
        let url = format!("http://{}", listener.address());
        let config = Config { accounts, body_timeout: BODY_TIMEOUT, ..Config::new(url.clone()) };
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(async { writer.run().await.unwrap() });
        tasks.spawn(serve(vec![listener], config, registry, stop.clone()));
        // Another test may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(DEADLINE)
            .build()
            .unwrap();
        Self { client, url, stop, tasks, dir }
    }

    pub(super) async fn stop(self) -> TempDir {
        self.stop.cancel();
        self.tasks.join_all().await;
        self.dir
    }

    pub(super) async fn ask(&self, method: Method, target: &str, body: &str) -> Response {
        let url = if target.starts_with("http") {
            target.to_owned()
        } else {
            format!("{}{target}", self.url)
        };
        let request = self
            .client
            .request(method, url)
            .header("content-type", "application/x-www-form-urlencoded");
        request.body(body.to_owned()).send().await.unwrap()
    }

    async fn get(&self, target: &str) -> Response {
        self.ask(Method::GET, target, "").await
    }

    pub(super) async fn new_token(&self, query: &str) -> String {
        let response = self.get(&format!("/new{query}")).await;
        assert_eq!(response.status(), 200);
        response.text().await.unwrap()
    }

    /// Asks for this type, by a whole URL or a path.
    pub(super) async fn fetch(&self, target: &str, accept: &str) -> Response {
        let rest = target.strip_prefix(&self.url).unwrap_or(target);
        let request = self.client.get(format!("{}{rest}", self.url)).header("accept", accept);
        request.send().await.unwrap()
    }

    /// Sends a form as a browser does.
    pub(super) async fn form(&self, target: &str, form: &str, accept: &str) -> Response {
        let request = self.client.post(format!("{}{target}", self.url));
        let request = request
            .header("accept", accept)
            .header("content-type", "application/x-www-form-urlencoded");
        request.body(form.to_owned()).send().await.unwrap()
    }

    /// Registers as an etcd does that was given `discovery`.
    pub(super) async fn register(&self, discovery: &str, value: &str) -> Response {
        let id = id_of(discovery, value);
        let body = value.replace('=', "%3D").replace(':', "%3A").replace('/', "%2F");
        let url = format!("{discovery}/{id}?prevExist=false");
        self.ask(Method::PUT, &url, &format!("value={body}")).await
    }
}

pub(super) fn id_of(discovery: &str, value: &str) -> String {
    let member: InitialCluster = value.parse().unwrap();
    let (name, _) = member.members().next().unwrap();
    member.member_id(name, discovery).unwrap().to_string()
}

fn index(headers: &HeaderMap) -> u64 {
    headers["x-etcd-index"].to_str().unwrap().parse().unwrap()
}

pub(super) const ONE: &str = "n1=http://127.0.0.1:3001";
pub(super) const TWO: &str = "n2=http://127.0.0.1:3002";
pub(super) const THREE: &str = "n3=http://127.0.0.1:3003";

/// Status, index header and body of a whole bootstrap, in both spellings of the protocol.
#[tokio::test]
async fn a_node_reads_registers_and_waits() {
    let bench = Bench::start().await;
    let short = bench.new_token("?size=2").await;
    let raw = format!("{}/v2/keys/discovery/tok1", bench.url);
    let made = bench.ask(Method::PUT, &format!("{raw}/_config/size"), "value=2").await;
    assert_eq!((made.status().as_u16(), index(made.headers())), (201, 5));
    assert_eq!(
        made.text().await.unwrap(),
        "{\"action\":\"set\",\"node\":{\"key\":\"/discovery/tok1/_config/size\",\"value\":\"2\",\
         \"modifiedIndex\":5,\"createdIndex\":5}}\n"
    );
    for (discovery, made) in [(short, 4), (raw, 5)] {
        let key = discovery.strip_prefix(&bench.url).unwrap().trim_start_matches("/v2/keys");
        let read = "quorum=false&recursive=false&sorted=false";
        let size = bench.get(&format!("{discovery}/_config/size?{read}")).await;
        assert_eq!((size.status().as_u16(), index(size.headers())), (200, made));
        assert_eq!(
            size.text().await.unwrap(),
            format!(
                "{{\"action\":\"get\",\"node\":{{\"key\":\"{key}/_config/size\",\"value\":\"2\",\
                 \"modifiedIndex\":{made},\"createdIndex\":{made}}}}}\n"
            )
        );
        for slash in ["", "/"] {
            let empty = bench.get(&format!("{discovery}{slash}?{read}")).await;
            assert_eq!(
                empty.text().await.unwrap(),
                format!(
                    "{{\"action\":\"get\",\"node\":{{\"key\":\"{key}\",\"dir\":true,\
                     \"modifiedIndex\":{made},\"createdIndex\":{made}}}}}\n"
                )
            );
        }
        let put = bench.register(&discovery, ONE).await;
        assert_eq!(put.status(), 201);
        let first = index(put.headers());
        let id = id_of(&discovery, ONE);
        let created = format!(
            "{{\"action\":\"create\",\"node\":{{\"key\":\"{key}/{id}\",\"value\":\"{ONE}\",\
             \"modifiedIndex\":{first},\"createdIndex\":{first}}}}}\n"
        );
        assert_eq!(put.text().await.unwrap(), created);
        let own = format!("{discovery}/{id}?recursive=false&wait=true&waitIndex={first}");
        assert_eq!(bench.get(&own).await.text().await.unwrap(), created);
        let directory = bench.get(&discovery).await;
        assert_eq!(index(directory.headers()), first);
        let text = directory.text().await.unwrap();
        assert!(text.contains(&format!("\"nodes\":[{{\"key\":\"{key}/{id}\"")), "{text}");
        assert!(!text.contains("_config"), "{text}");

        let poll = format!("{discovery}?recursive=true&wait=true&waitIndex={}", first + 1);
        // The head comes while the event is still to come.
        let poll = bench.get(&poll).await;
        assert_eq!((poll.status().as_u16(), index(poll.headers())), (200, first));
        assert_eq!(poll.headers()["transfer-encoding"], "chunked");
        let second = bench.register(&discovery, TWO).await.text().await.unwrap();
        assert_eq!(poll.text().await.unwrap(), second);
        let list = bench.get(&discovery).await.text().await.unwrap();
        assert!(list.find(&id).unwrap() < list.find(&id_of(&discovery, TWO)).unwrap());
    }
    bench.stop().await;
}

#[tokio::test]
async fn refusals_are_those_of_the_protocol() {
    let bench = Bench::start().await;
    let token = bench.new_token("?size=2").await;
    let key = token.strip_prefix(&bench.url).unwrap();
    let unknown = "/6c007a14875d53d9bf0ef5a6fc0257c8";
    let cases = [
        (Method::GET, unknown.to_owned(), "", 404, 100, unknown),
        (Method::GET, format!("{unknown}/_config/size"), "", 404, 100, unknown),
        (Method::GET, format!("{unknown}?wait=true&recursive=true"), "", 404, 100, unknown),
        (Method::PUT, format!("{unknown}/abc?prevExist=false"), "value=x", 404, 100, unknown),
        (Method::GET, "/v2/keys/discovery/none".into(), "", 404, 100, "/discovery/none"),
        (Method::GET, format!("{key}/123"), "", 404, 100, "/123"),
        (Method::GET, "/v2/keys/a%20b/c".into(), "", 404, 100, "not `a%20b`"),
        (Method::PUT, key.to_owned(), "value=x", 403, 102, key),
        (Method::PUT, format!("{key}/_config/size"), "value=3", 412, 105, "Q1003"),
        (Method::PUT, format!("{key}/_config/size?prevExist=false"), "value=2", 412, 105, key),
        (Method::PUT, format!("{unknown}/_config/size"), "value=0", 400, 209, "Q1001"),
        (Method::PUT, format!("{unknown}/_config/size"), "value=x", 400, 209, "Q1001"),
        (Method::PUT, format!("{key}/1?prevExist=false"), "value=garbage", 400, 209, "Q1011"),
        (Method::PUT, format!("{key}/1?ttl=5"), "value=x", 400, 209, "\"ttl\""),
        (Method::PUT, format!("{key}/1?prevExist=maybe"), "value=x", 400, 209, "for prevExist"),
        (Method::PUT, format!("{key}/1?wait=true"), "value=x", 400, 209, "GET requests"),
        (Method::GET, format!("{key}?recursive=maybe"), "", 400, 209, "\"recursive\""),
        (Method::GET, format!("{key}?wait=true&waitIndex=x"), "", 400, 203, "waitIndex"),
    ];
    for (method, target, body, status, code, part) in cases {
        let response = bench.ask(method, &target, body).await;
        assert_eq!(response.status(), status, "{target}");
        assert!(response.headers().contains_key("x-etcd-index"), "{target}");
        let text = response.text().await.unwrap();
        let error: crate::v2::Error = serde_json::from_str(&text).unwrap();
        assert_eq!(error.error_code, code, "{target}");
        assert!(error.cause.contains(part), "{target}: {text}");
    }
    assert_eq!(bench.ask(Method::DELETE, &token, "").await.status(), 405);
    let long = "v".repeat(MAX_BODY_BYTES + 1);
    assert_eq!(bench.ask(Method::PUT, &format!("{key}/1"), &long).await.status(), 413);
    bench.stop().await;
}

#[tokio::test]
async fn a_wiped_founder_resumes_while_others_are_missing_and_never_after() {
    let bench = Bench::start().await;
    let token = bench.new_token("?size=2").await;
    let first = bench.register(&token, ONE).await;
    let (status, at) = (first.status(), index(first.headers()));
    let again = bench.register(&token, ONE).await;
    assert_eq!((status.as_u16(), again.status().as_u16()), (201, 200));
    assert_eq!(index(again.headers()), at, "no event was made");
    assert_eq!(again.text().await.unwrap(), first.text().await.unwrap());
    bench.register(&token, TWO).await;
    let wiped = bench.register(&token, ONE).await;
    assert_eq!(wiped.status(), 403);
    let error: crate::v2::Error = serde_json::from_str(&wiped.text().await.unwrap()).unwrap();
    assert_eq!(error.error_code, 109);
    assert!(error.cause.starts_with("Q1033: member"), "{error:?}");
    // A late comer is taken down, reads itself back, and is not among the members.
    let late = bench.register(&token, THREE).await;
    assert_eq!(late.status(), 201);
    let (at, late_id) = (index(late.headers()), id_of(&token, THREE));
    let own = bench.get(&format!("{token}/{late_id}?wait=true&waitIndex={at}")).await;
    assert_eq!(own.text().await.unwrap(), late.text().await.unwrap());
    assert!(!bench.get(&token).await.text().await.unwrap().contains(&late_id));
    let list = bench.get(&format!("{token}/initial-cluster")).await.text().await.unwrap();
    assert_eq!(list, format!("{ONE},{TWO}\n"));
    bench.stop().await;
}

#[tokio::test]
async fn a_node_with_another_spelling_of_the_url_is_told_both() {
    let bench = Bench::start().await;
    let token = bench.new_token("?size=2").await;
    let alias = token.replace("127.0.0.1", "localhost");
    let id = id_of(&alias, ONE);
    let response = bench.ask(Method::PUT, &format!("{token}/{id}"), &format!("value={ONE}")).await;
    assert_eq!(response.status(), 400);
    let text = response.text().await.unwrap();
    for part in ["Q1021", alias.as_str(), &format!("--discovery {token}"), &id] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn who_has_a_wrong_path_before_a_token_learns_the_right_one() {
    let bench = Bench::start().await;
    let secret = "6c007a14-875d-53d9-bf0e-f5a6fc0257c8";
    let canonical = format!("{}/v2/keys/discovery/{secret}", bench.url);
    let made = bench.ask(Method::PUT, &format!("{canonical}/_config/size"), "value=3").await;
    assert_eq!(made.status(), 201);
    let short = bench.new_token("").await;
    let short_secret = short.rsplit('/').next().unwrap();
    for (asked, right) in [
        (format!("/{secret}/_config/size"), &canonical),
        (format!("/v2/keys/{secret}/_config/size"), &canonical),
        (format!("/v2/keys//{secret}/_config/size"), &canonical),
        (format!("/v2/keys/other/{secret}"), &canonical),
        (format!("/discovery/{secret}"), &canonical),
        (format!("/v2/keys/discovery/{short_secret}/_config/size"), &short),
    ] {
        let answer = bench.get(&asked).await;
        assert_eq!(answer.status(), 404, "{asked}");
        let error: crate::v2::Error = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!((error.error_code, error.message.as_str()), (100, "Key not found"));
        assert!(error.cause.contains("Q1021: "), "{asked}: {}", error.cause);
        assert!(error.cause.contains(&format!("--discovery {right} ")), "{}", error.cause);
    }
    // A word at the end is no secret: who guesses it learns nothing of the path before it.
    let made = bench.ask(Method::PUT, "/v2/keys/s3cret/prod/_config/size", "value=3").await;
    assert_eq!(made.status(), 201);
    for asked in ["/v2/keys/x/prod/_config/size", "/v2/keys/prod", "/prod"] {
        let text = bench.get(asked).await.text().await.unwrap();
        assert!(text.contains("Key not found") && !text.contains("s3cret"), "{text}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_token_that_is_missing_is_made_for_nobody() {
    let bench = Bench::start().await;
    for path in ["/v2/keys//_config/size", "/v2/keys/discovery//_config/size"] {
        let answer = bench.ask(Method::PUT, path, "value=3").await;
        assert_eq!(answer.status(), 404);
        let text = answer.text().await.unwrap();
        assert!(text.contains("the token is missing"), "{text}");
    }
    assert_eq!(bench.get("/v2/keys/discovery/_config/size").await.status(), 404);
    bench.stop().await;
}

#[tokio::test]
async fn a_restart_is_invisible_to_a_waiting_node() {
    let bench = Bench::start().await;
    let token = bench.new_token("?size=3").await;
    let at = index(bench.register(&token, ONE).await.headers());
    let poll = bench.get(&format!("{token}?recursive=true&wait=true&waitIndex={}", at + 1)).await;
    let address = bench.url.strip_prefix("http://").unwrap().parse().unwrap();
    let dir = bench.stop().await;
    assert_eq!((poll.status().as_u16(), poll.text().await.unwrap().as_str()), (200, ""));

    let bench = Bench::start_in(dir, Some(address)).await;
    let second = bench.register(&token, TWO).await.text().await.unwrap();
    let replayed = format!("{token}?recursive=true&wait=true&waitIndex={}", at + 1);
    assert_eq!(bench.get(&replayed).await.text().await.unwrap(), second);
    bench.stop().await;
}

#[tokio::test]
async fn a_parameter_of_new_that_is_unknown_is_refused_by_name() {
    let bench = Bench::start().await;
    for (target, body, name) in [
        ("/new?sizes=3", "", "sizes"),
        ("/new?size=3&Name=prod", "", "Name"),
        ("/new", "{\"size\":5}", "{\"size\":5}"),
    ] {
        let answer = bench.ask(Method::POST, target, body).await;
        assert_eq!(answer.status(), 400, "{target}");
        let text = answer.text().await.unwrap();
        let known = "/new takes size, name, ttl, client-port, format, etcd";
        assert!(text.contains(&format!("`{name}` is unknown")) && text.contains(known), "{text}");
    }
    bench.new_token("?size=3&name=a&ttl=1h&client-port=2379&format=text&etcd=3.6&").await;
    bench.stop().await;
}

#[tokio::test]
async fn new_gives_a_url_without_a_newline_or_a_sentence() {
    let bench = Bench::start().await;
    for (method, query, body, size) in [
        (Method::GET, "", "", "3"),
        (Method::GET, "?size=1", "", "1"),
        (Method::PUT, "?size=5", "", "5"),
        (Method::POST, "?size=5", "size=7", "7"),
    ] {
        let response = bench.ask(method, &format!("/new{query}"), body).await;
        assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
        let url = response.text().await.unwrap();
        let token = url.strip_prefix(&format!("{}/", bench.url)).unwrap();
        assert!(token.len() == 40 && token.parse::<crate::token::Token>().is_ok(), "{url}");
        let held = bench.get(&format!("{url}/_config/size")).await.text().await.unwrap();
        assert!(held.contains(&format!("\"value\":\"{size}\"")), "{held}");
    }
    for (query, part) in [
        ("?size=0", "out of range"),
        ("?size=-1", "out of range"),
        ("?size=10", "from 1 to 9"),
        ("?size=abc", "not a number"),
        ("?size=", "not a number"),
        ("?name=No", "no DNS label"),
        ("?ttl=soon", "no time span"),
    ] {
        let response = bench.get(&format!("/new{query}")).await;
        assert_eq!(response.status(), 400, "{query}");
        let text = response.text().await.unwrap();
        assert!(text.contains(part) && text.ends_with('\n'), "{text}");
    }
    bench.new_token("?name=prod&ttl=2h").await;
    assert_eq!(bench.get("/new?name=prod").await.status(), 409);
    assert_eq!(bench.ask(Method::HEAD, "/new", "").await.status(), 405);
    bench.stop().await;
}

#[tokio::test]
async fn the_plain_paths_answer() {
    let bench = Bench::start().await;
    let token = bench.new_token("?size=3").await;
    assert_eq!(bench.get("/health").await.text().await.unwrap(), "OK");
    let robots = bench.get("/robots.txt").await.text().await.unwrap();
    assert_eq!(robots, "User-agent: *\nDisallow: /");
    let page = bench.get("/").await;
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    let page = page.text().await.unwrap();
    assert!(page.contains(&format!("curl '{}/new?size=3'", bench.url)), "{page}");
    let unknown = bench.get("/favicon.ico").await;
    assert_eq!(unknown.status(), 404);
    let list = bench.get(&format!("{token}/initial-cluster")).await;
    assert_eq!(list.status(), 409);
    assert!(list.text().await.unwrap().starts_with("0 of 3 members"));
    let poll = bench.get(&format!("{token}?recursive=true&wait=true")).await;
    let metrics = bench.get("/metrics").await.text().await.unwrap();
    for line in [
        "quorate_tokens{state=\"open\"} 1",
        "quorate_waiters 1",
        "quorate_http_request_duration_seconds_count{route=\"new\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    assert!(!metrics.contains(token.rsplit('/').next().unwrap()), "tokens are secrets");
    drop(poll);
    bench.stop().await;
}

/// A body that is announced and does not come is given up.
#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let bench = Bench::start().await;
    let address = bench.url.trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = "PUT /x/y HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 9\r\n\r\nhalf";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await;
    read.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.ends_with("the body took too long\n"), "{answer}");
    drop(bench.stop().await);
}
