use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::{Config, Secrets, Service, router};
use crate::admission::Door;
use crate::registry::{self, Registry};
use crate::token::{Token, TokenPath};
use crate::transport::{self, Bound, Http};

const KEY: &str = "0123456789abcdef";

struct Bench {
    client: Client,
    url: String,
    registry: Registry,
    _tasks: JoinSet<()>,
    _dir: TempDir,
}

impl Bench {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let config = registry::Config {
            data_dir: dir.path().join("data"),
            cluster: None,
            token_ttl: "1h".parse().unwrap(),
            sealed_ttl: "1h".parse().unwrap(),
            max_surplus: 64,
        };
        let (registry, writer) = Registry::open(config).await.unwrap();
        let listener = Bound::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.address());
        let keys = dir.path().join("keys");
        std::fs::write(&keys, format!("ann:{KEY}\n")).unwrap();
        let admin_keys = Some(std::sync::Arc::new(Secrets::open(&keys).unwrap()));
        let config = Config { admin_keys, ..Config::new(url.clone()) };
        let stop = CancellationToken::new();
        let router = router::router(Service::new(config, registry.clone(), stop.clone()));
        let mut tasks = JoinSet::new();
        tasks.spawn(async { writer.run().await.unwrap() });
        tasks.spawn(transport::serve(listener, router, Http::default(), stop));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        Self { client, url, registry, _tasks: tasks, _dir: dir }
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Option<&str>,
    ) -> Response {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(key) = key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_owned());
        }
        request.send().await.unwrap()
    }

    async fn json(&self, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
        let answer = self.ask(method, path, Some(KEY), body).await;
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    /// A token of this size with so many members; its public id.
    async fn token(&self, size: &str, members: usize) -> (TokenPath, String) {
        let path = TokenPath::short(&Token::draw());
        let token = registry::NewToken {
            path: path.clone(),
            size: crate::admission::ClusterSize::parse(size, 9).unwrap(),
            label: None,
            ttl: None,
            client_port: None,
            from: None,
        };
        self.registry.create(token, registry::now()).await.unwrap();
        for n in 0..members {
            self.register(&path, n).await;
        }
        let id = path.public_id().to_string();
        (path, id)
    }

    async fn register(&self, path: &TokenPath, n: usize) {
        let value = format!("n{n}=http://127.0.0.1:{}", 3000 + n);
        let member: crate::membership::InitialCluster = value.parse().unwrap();
        let key = member.member_id(&format!("n{n}"), &path.discovery_url(&self.url)).unwrap();
        let door = Door { public_url: self.url.clone(), ..Door::default() };
        let applied =
            crate::admission::Application::check(&key.to_string(), &value, path, &door).unwrap();
        self.registry.register(path.clone(), applied, registry::now()).await.unwrap();
    }
}

/// Whether a value has the shape that the document promises: types, required members, words.
fn fits(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#')).expect("a known schema");
        return fits(document, target, value);
    }
    if let Some(any) = schema["oneOf"].as_array() {
        return match any.iter().any(|one| fits(document, one, value).is_ok()) {
            true => Ok(()),
            false => Err(format!("{value} is none of {schema}")),
        };
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => return Err(format!("no type in {schema}")),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !kinds.contains(&kind) {
        return Err(format!("{value} is no {kinds:?}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Err(format!("{value} is none of {words:?}"));
    }
    for item in value.as_array().into_iter().flatten() {
        fits(document, &schema["items"], item)?;
    }
    if let Some(object) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap();
            object.get(name).ok_or_else(|| format!("{name} is missing in {value}"))?;
        }
        for (name, value) in object {
            let schema = schema["properties"].get(name);
            fits(document, schema.ok_or_else(|| format!("{name} is not documented"))?, value)?;
        }
    }
    Ok(())
}

/// What to put in place of `{id}`, and what to send, to see as many answers as possible.
async fn attempts(
    bench: &Bench,
    path: &str,
) -> Vec<(String, Option<&'static str>, Option<&'static str>)> {
    let (_, open) = bench.token("3", 1).await;
    let (_, full) = bench.token("1", 3).await;
    let ids = [open.as_str(), full.as_str(), "000000000000", "no-such-token", "%FF"];
    let queries = match path {
        path if path.ends_with("/wait") => &["?seconds=0", "?for=first&seconds=0", "?for=x"][..],
        path if path.ends_with("/tokens") => &["", "?state=full&limit=1", "?limit=0", "?state=x"],
        path if path.ends_with("/timeline") => &["", "?after=1&limit=1", "?limit=x"],
        _ => &[""],
    };
    let bodies = match path.ends_with("/extend") {
        true => {
            &[Some(r#"{"by":"2h"}"#), Some(r#"{"by":"soon"}"#), Some("{"), Some("{}"), None][..]
        }
        false => &[None],
    };
    let mut all = Vec::new();
    for id in if path.contains("{id}") { &ids[..] } else { &ids[..1] } {
        for query in queries {
            for body in bodies {
                for key in [Some(KEY), Some("wrong-wrong-wrong"), None] {
                    all.push((format!("{}{query}", path.replace("{id}", id)), key, *body));
                }
            }
        }
    }
    if path.ends_with("/extend") {
        let long = std::str::from_utf8(&[b' '; (64 << 10) + 1]).unwrap();
        all.push((path.replace("{id}", &open), Some(KEY), Some(long)));
    }
    all
}

/// Every operation of the document against the service that serves it.
#[tokio::test]
async fn the_document_is_what_the_service_does() {
    let bench = Bench::start().await;
    let answer = bench.ask("GET", "/openapi.json", None, None).await;
    assert_eq!(answer.status(), 200);
    let document: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{document}");
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations += 1;
            assert_eq!(operation["security"], json!([{"admin_key": []}]), "{path}");
            let mut seen = BTreeSet::new();
            for (target, key, body) in attempts(&bench, path).await {
                let answer = bench.ask(method, &target, key, body).await;
                let status = answer.status().as_u16().to_string();
                let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
                assert!(answer.headers().contains_key("x-request-id"));
                let documented = &operation["responses"][&status];
                assert!(documented.is_object(), "{method} {target}: {status} is not documented");
                let content = &documented["content"][&kind];
                assert!(content.is_object(), "{method} {target}: {kind} is not documented");
                if kind.ends_with("json") {
                    let value: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
                    fits(&document, &content["schema"], &value)
                        .unwrap_or_else(|why| panic!("{method} {target}: {status}: {why}"));
                }
                assert_eq!(status == "401", key != Some(KEY), "{method} {target}");
                seen.insert(status);
            }
            assert!(seen.contains("200") && seen.contains("401"), "{method} {path}: {seen:?}");
            let has_body = operation["requestBody"].is_object();
            assert_eq!(seen.contains("413"), has_body, "{method} {path}: {seen:?}");
        }
    }
    assert_eq!(operations, 11);
}

#[tokio::test]
async fn a_token_is_shown_extended_and_revoked() {
    let bench = Bench::start().await;
    let (path, id) = bench.token("3", 1).await;
    let (status, token) = bench.json("GET", &format!("/api/v1/tokens/{id}"), None).await;
    assert_eq!((status, &token["state"], &token["size"]), (200, &json!("open"), &json!(3)));
    assert_eq!(token["founders"][0]["name"], "n0");
    assert!(!token.to_string().contains(path.token().unwrap()), "the token is a secret");
    let before = token["expires_at"].as_u64().unwrap();
    let extend = format!("/api/v1/tokens/{id}/extend");
    let (_, token) = bench.json("POST", &extend, Some(r#"{"by":"90m"}"#)).await;
    assert_eq!(token["expires_at"], before + 90 * 60 * 1000);
    let directory = bench.ask("GET", path.as_str(), None, None).await;
    assert_eq!(directory.status(), 200);
    let (status, token) = bench.json("POST", &format!("/api/v1/tokens/{id}/revoke"), None).await;
    assert_eq!((status, &token["state"]), (200, &json!("revoked")));
    let directory = bench.ask("GET", path.as_str(), None, None).await;
    assert_eq!(directory.status(), 404);
    let (status, problem) = bench.json("POST", &extend, Some(r#"{"by":"1h"}"#)).await;
    assert_eq!((status, &problem["code"]), (409, &json!("Q1004")));
    let (_, entries) = bench.json("GET", &format!("/api/v1/tokens/{id}/timeline"), None).await;
    let entries = entries["entries"].as_array().unwrap();
    let whats: Vec<&str> = entries.iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["created", "founded", "extended", "revoked"]);
    assert_eq!(entries[3]["by"], "ann");
}

#[tokio::test]
async fn a_token_by_hand_is_found_by_the_secret_it_ends_in() {
    let bench = Bench::start().await;
    let secret = Token::draw();
    let make = async |prefix: &str| {
        let path = TokenPath::raw([prefix, secret.secret()]).unwrap();
        let token = registry::NewToken {
            path: path.clone(),
            size: crate::admission::ClusterSize::parse("3", 9).unwrap(),
            label: None,
            ttl: None,
            client_port: None,
            from: None,
        };
        bench.registry.create(token, registry::now()).await.unwrap();
        path.public_id().to_string()
    };
    let id = make("discovery").await;
    // As the tool asks, which sends no secrets, and as curl does.
    for name in [secret.public_id().as_str(), secret.secret(), id.as_str()] {
        let (status, shown) = bench.json("get", &format!("/api/v1/tokens/{name}"), None).await;
        assert_eq!((status, shown["id"].as_str()), (200, Some(id.as_str())), "{name}");
        assert_eq!(shown["prefix"], "/v2/keys/discovery/");
        assert!(!shown.to_string().contains(secret.secret()), "{shown}");
    }
    let other = make("other").await;
    for (name, expected) in [(secret.secret(), 404), (id.as_str(), 200), (other.as_str(), 200)] {
        let (status, _) = bench.json("get", &format!("/api/v1/tokens/{name}"), None).await;
        assert_eq!(status, expected, "of two nobody can tell which is meant");
    }
}

#[tokio::test]
async fn waiting_ends_with_the_last_member_or_with_the_token() {
    let bench = Bench::start().await;
    let (path, id) = bench.token("2", 1).await;
    let target = format!("/api/v1/tokens/{id}/wait");
    let waiting = tokio::spawn({
        let request = bench.client.get(format!("{}{target}", bench.url));
        request.header("Authorization", format!("Bearer {KEY}")).send()
    });
    bench.register(&path, 7).await;
    let answer = waiting.await.unwrap().unwrap().text().await.unwrap();
    let waited: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&waited["reached"], &waited["token"]["state"]), (&json!(true), &json!("full")));
    let (_, id) = bench.token("2", 1).await;
    let waiting = tokio::spawn({
        let request = bench.client.get(format!("{}/api/v1/tokens/{id}/wait", bench.url));
        request.header("Authorization", format!("Bearer {KEY}")).send()
    });
    bench.json("POST", &format!("/api/v1/tokens/{id}/revoke"), None).await;
    let answer = waiting.await.unwrap().unwrap().text().await.unwrap();
    let waited: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&waited["reached"], &waited["token"]["state"]), (&json!(false), &json!("revoked")));
}

#[tokio::test]
async fn strangers_need_a_key_to_make_tokens_and_keys_have_allowances() {
    use axum::extract::ConnectInfo;
    use std::net::SocketAddr;
    use tower::ServiceExt as _;

    let bench = Bench::start().await;
    let keys = bench._dir.path().join("new-keys");
    std::fs::write(&keys, "ann:0123456789abcdef\nbob:fedcba9876543210\n").unwrap();
    let config = Config {
        new_keys: Some(std::sync::Arc::new(Secrets::open(&keys).unwrap())),
        new_rate: Some("1/h".parse().unwrap()),
        ..Config::new(bench.url.clone())
    };
    let service = Service::new(config, bench.registry.clone(), CancellationToken::new());
    let router = router::router(service);
    let ask = async |address: &str, key: Option<&str>, method: &str, target: &str| {
        let address: SocketAddr = address.parse().unwrap();
        let mut request = http::Request::builder().method(method).uri(target);
        if let Some(key) = key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let mut request = request.body(axum::body::Body::from("value=3")).unwrap();
        request.extensions_mut().insert(ConnectInfo(address));
        router.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    let (ann, bob) = (Some("0123456789abcdef"), Some("fedcba9876543210"));
    let (new, by_hand) = ("/new?size=3", |n: u32| format!("/v2/keys/d/{n}/_config/size"));
    assert_eq!(ask("10.0.0.1:1", None, "GET", new).await, 401);
    assert_eq!(ask("10.0.0.1:1", None, "PUT", &by_hand(1)).await, 401);
    assert_eq!(ask("10.0.0.1:1", Some("0123456789abcdeX"), "GET", new).await, 401);
    assert_eq!(ask("10.0.0.1:1", ann, "GET", "/new?size=0").await, 400);
    assert_eq!(ask("10.0.0.1:1", ann, "GET", new).await, 200, "a mistake costs nothing");
    assert_eq!(ask("10.0.0.2:1", ann, "GET", new).await, 429, "a key is one asker");
    assert_eq!(ask("10.0.0.2:1", ann, "PUT", &by_hand(2)).await, 429);
    assert_eq!(ask("10.0.0.1:1", bob, "PUT", &by_hand(3)).await, 201);
    assert_eq!(ask("10.0.0.1:1", None, "PUT", &by_hand(3)).await, 200, "it is there already");
    assert_eq!(ask("127.0.0.1:1", None, "GET", new).await, 200, "this machine needs no key");
    assert_eq!(ask("127.0.0.1:2", None, "GET", new).await, 429, "but has one allowance too");
    assert_eq!(ask("0.0.0.0:0", None, "GET", new).await, 401, "a proxy does not say who asks");
}

#[tokio::test]
async fn a_public_url_with_a_path_is_served_with_and_without_it() {
    use tower::ServiceExt as _;

    let bench = Bench::start().await;
    let config = Config::new("http://d.example:1/disc".to_owned());
    let stop = CancellationToken::new();
    let router = router::router(Service::new(config, bench.registry.clone(), stop));
    let get = async |target: &str| {
        let request = http::Request::get(target).body(axum::body::Body::empty()).unwrap();
        let (head, body) = router.clone().oneshot(request).await.unwrap().into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    };
    for new in ["/disc/new?size=3", "/new?size=3"] {
        let (status, url) = get(new).await;
        let path = url.strip_prefix("http://d.example:1").unwrap();
        assert_eq!((status, path.starts_with("/disc/")), (200, true), "{url}");
        for path in [path, path.strip_prefix("/disc").unwrap()] {
            let (status, size) = get(&format!("{path}/_config/size")).await;
            assert!(status == 200 && size.contains(r#""value":"3""#), "{path}: {size}");
        }
    }
    for start in ["/disc/", "/disc", "/disc?a=b", "/"] {
        assert!(get(start).await.1.contains("/disc/new?size=3"), "{start}");
    }
    for elsewhere in ["/other/new?size=3", "/discnew?size=3", "/disc/disc/new"] {
        assert_eq!(get(elsewhere).await.0, 404, "{elsewhere}");
    }
}

/// What the document forbids is not taken, and what it refers to is in it.
#[tokio::test]
async fn the_document_is_whole_and_its_bounds_are_those_of_the_service() {
    let bench = Bench::start().await;
    let (_, id) = bench.token("3", 1).await;
    for path in ["tokens".to_owned(), "timeline".to_owned(), format!("tokens/{id}/timeline")] {
        for (after, status) in [("9223372036854775807", 200), ("9223372036854775808", 400)] {
            let target = format!("/api/v1/{path}?after={after}");
            let answer = bench.ask("GET", &target, Some(KEY), None).await;
            assert_eq!(answer.status(), status, "{target}");
            let text = answer.text().await.unwrap();
            assert!(status == 400 || !text.contains(&id), "behind the last: {text}");
        }
    }
    let text = bench.ask("GET", "/openapi.json", None, None).await.text().await.unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    for named in text.split("\"#").skip(1) {
        let pointer = named.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer} is not in the document");
    }
}
