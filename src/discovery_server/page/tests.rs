use std::time::Duration;

use axum::http::Method;

use super::*;
use crate::discovery_server::tests::{Bench, ONE, THREE, TWO, id_of};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

#[test]
fn the_policy_allows_our_own_files_only() {
    assert!(POLICY.starts_with("default-src 'none'; "));
    for loose in ["unsafe", "http", "*", "data:"] {
        assert!(!POLICY.contains(loose), "{loose}");
    }
}

#[tokio::test]
async fn only_browsers_get_pages() {
    let bench = Bench::start().await;
    let token = bench.new_token("?size=2").await;
    for target in ["/", token.as_str()] {
        let page = bench.fetch(target, BROWSER).await;
        assert_eq!(page.status(), 200);
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("content-security-policy", POLICY),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(page.headers()[name], value, "{target}");
        }
        for accept in ["*/*", "application/json", "text/plain"] {
            let plain = bench.fetch(target, accept).await;
            let kind = plain.headers()["content-type"].to_str().unwrap().to_owned();
            assert!(!kind.contains("html"), "{target} for {accept}: {kind}");
        }
    }
    // What a node asks for stays what it is, whoever asks.
    let size = bench.fetch(&format!("{token}/_config/size"), BROWSER).await;
    assert_eq!(size.headers()["content-type"], "application/json");
    bench.stop().await;
}

#[tokio::test]
async fn tokens_that_are_unknown_expired_or_foreign_look_the_same() {
    let bench = Bench::start().await;
    let mut seen = Vec::new();
    let expired = bench.new_token("?ttl=1s").await;
    let view = token_path(&expired).view_id();
    let gone = format!("{}/view/{view}", bench.url);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while bench.fetch(&gone, BROWSER).await.status() == 200 {
        assert!(tokio::time::Instant::now() < deadline, "the token does not expire");
        tokio::task::yield_now().await;
    }
    for target in [
        expired,
        gone,
        format!("{}/6c007a14875d53d9bf0ef5a6fc0257c8", bench.url),
        format!("{}/view/6c007a14875d53d9bf0ef5a6fc0257c8", bench.url),
        format!("{}/view/6c007a14875d53d9bf0ef5a6fc0257c8/events", bench.url),
        format!("{}/v2/keys/discovery/none", bench.url),
        format!("{}/nonsense", bench.url),
    ] {
        let page = bench.fetch(&target, BROWSER).await;
        let mut headers = page.headers().clone();
        headers.remove("date");
        headers.remove("x-request-id");
        seen.push((page.status(), format!("{headers:?}"), page.text().await.unwrap()));
    }
    assert_eq!(seen[0].0, 404);
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
    bench.stop().await;
}

fn token_path(url: &str) -> TokenPath {
    TokenPath::short(&url.rsplit('/').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn the_page_for_looking_has_everything_but_the_secret() {
    let bench = Bench::start().await;
    let token = bench.new_token("?size=3&name=prod").await;
    let secret = token.rsplit('/').next().unwrap().to_owned();
    bench.register(&token, ONE).await;
    // The text of this refusal has the URL in it.
    let alias = token.replace("127.0.0.1", "localhost");
    let id = id_of(&alias, TWO);
    bench.ask(Method::PUT, &format!("{token}/{id}"), &format!("value={TWO}")).await;
    let joiner = bench.fetch(&token, BROWSER).await.text().await.unwrap();
    let view = format!("{}/view/{}", bench.url, token_path(&token).view_id());
    let viewer = bench.fetch(&view, BROWSER).await.text().await.unwrap();
    for page in [&joiner, &viewer] {
        for shown in ["prod", "1 of 3", "http://127.0.0.1:3001", "Q1021", "is missing", "UTC"] {
            assert!(page.contains(shown), "{shown} is missing in {page}");
        }
        assert!(page.contains(&id_of(&token, ONE)) && page.contains("<code>127.0.0.1</code>"));
        let title = page.split("</title>").next().unwrap();
        assert!(!title.contains(&secret), "{title}");
    }
    assert!(joiner.contains(&format!("--discovery={token}")) && joiner.contains(&view));
    assert!(!viewer.contains(&secret), "{viewer}");
    bench.stop().await;
}

#[tokio::test]
async fn events_bring_each_change_and_end_with_the_service() {
    let bench = Bench::start().await;
    let token = bench.new_token("?size=2").await;
    let mut events = bench.fetch(&format!("{token}/events"), "text/event-stream").await;
    let kind = events.headers()["content-type"].to_str().unwrap();
    assert_eq!(kind, "text/event-stream; charset=utf-8");
    let mut text = String::new();
    for (value, shown) in [(None, "0 of 2"), (Some(ONE), "1 of 2"), (Some(TWO), "all 2 members")] {
        if let Some(value) = value {
            bench.register(&token, value).await;
        }
        while !text.contains(shown) {
            let chunk = events.chunk().await.unwrap().expect("the stream goes on");
            text += std::str::from_utf8(&chunk).unwrap();
        }
    }
    bench.register(&token, THREE).await;
    while !text.contains("Came too late") {
        text += std::str::from_utf8(&events.chunk().await.unwrap().unwrap()).unwrap();
    }
    for event in text.split_terminator("\n\n") {
        assert!(event.starts_with("retry: 2000\nevent: state\ndata: "), "{event}");
        assert!(event.lines().skip(2).all(|line| line.starts_with("data: ")), "{event}");
    }
    let metrics = bench.fetch("/metrics", "*/*").await.text().await.unwrap();
    assert!(metrics.contains("quorate_page_streams 1"), "{metrics}");
    for route in ["events", "new"] {
        let line = format!("quorate_http_request_duration_seconds_count{{route=\"{route}\"}} 1");
        assert!(metrics.contains(&line), "{metrics}");
    }
    bench.stop().await;
    assert!(events.chunk().await.unwrap().is_none(), "a drain ends the stream");
}

#[tokio::test]
async fn a_form_leads_to_the_page_or_back_to_itself_with_a_sentence() {
    let bench = Bench::start().await;
    let made = bench.form("/new", "size=2&name=&ttl=", BROWSER).await;
    assert_eq!(made.status(), 303);
    let page = made.headers()["location"].to_str().unwrap().to_owned();
    let shown = bench.fetch(&page, BROWSER).await.text().await.unwrap();
    assert!(shown.contains("<strong>0</strong> of 2 members"), "{shown}");
    let wrong = bench.form("/new", "size=2&name=\"><b>", BROWSER).await;
    assert_eq!(wrong.status(), 400);
    let text = wrong.text().await.unwrap();
    assert!(text.contains("no DNS label") && text.contains("role=\"alert\""), "{text}");
    assert!(!text.contains("\"><b>"), "{text}");
    bench.stop().await;
}

#[tokio::test]
async fn the_list_has_every_format_and_says_who_is_missing() {
    let bench = Bench::start().await;
    let token = bench.new_token("?size=2").await;
    bench.register(&token, ONE).await;
    let list = format!("{token}/initial-cluster");
    let early = bench.fetch(&format!("{list}?etcd=3.5"), "*/*").await;
    assert_eq!(
        (early.status().as_u16(), &early.headers()["retry-after"]),
        (409, &"5".parse().unwrap())
    );
    let text = early.text().await.unwrap();
    assert!(text.starts_with("1 of 2 members have registered (n1); 1 is missing"), "{text}");
    assert!(text.contains(&format!("--discovery={token}")), "{text}");
    let other = bench.fetch(&format!("{list}?etcd=3.7"), "*/*").await.text().await.unwrap();
    assert!(other.contains("etcd-3.7 cannot join"), "{other}");
    let json = bench.fetch(&list, "application/json").await;
    assert_eq!(json.status(), 409);
    let json: serde_json::Value = serde_json::from_str(&json.text().await.unwrap()).unwrap();
    assert_eq!((&json["missing"], &json["members"][0]["name"]), (&1.into(), &"n1".into()));

    bench.register(&token, TWO).await;
    let both = format!("{ONE},{TWO}");
    for (query, expected) in [
        ("", format!("{both}\n")),
        (
            "?format=flags",
            format!(
                "--initial-cluster={both}\n--initial-cluster-token={token}\n\
                 --initial-cluster-state=new\n"
            ),
        ),
        (
            "?format=env&member=n2&etcd=3.5",
            format!(
                "ETCD_NAME=\"n2\"\nETCD_LISTEN_PEER_URLS=\"http://0.0.0.0:3002\"\n\
                 ETCD_INITIAL_ADVERTISE_PEER_URLS=\"http://127.0.0.1:3002\"\n\
                 ETCD_LISTEN_CLIENT_URLS=\"http://0.0.0.0:2379\"\n\
                 ETCD_ADVERTISE_CLIENT_URLS=\"http://127.0.0.1:2379\"\n\
                 ETCD_INITIAL_CLUSTER=\"{both}\"\nETCD_INITIAL_CLUSTER_TOKEN=\"{token}\"\n\
                 ETCD_INITIAL_CLUSTER_STATE=\"new\"\n"
            ),
        ),
        (
            "?format=yaml",
            format!(
                "initial-cluster: \"{both}\"\ninitial-cluster-token: \"{token}\"\n\
                 initial-cluster-state: \"new\"\n"
            ),
        ),
    ] {
        let answer = bench.fetch(&format!("{list}{query}"), "*/*").await;
        assert_eq!(answer.status(), 200, "{query}");
        assert_eq!(answer.text().await.unwrap(), expected, "{query}");
    }
    let json = bench.fetch(&format!("{list}?format=json"), "*/*").await.text().await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let whole: crate::membership::InitialCluster = both.parse().unwrap();
    assert_eq!(json["cluster_id"], whole.cluster_id(&token).to_string());
    for (query, status, part) in [
        ("?format=xml", 400, "`xml`"),
        ("?etcd=2.3", 400, "`2.3`"),
        ("?client-port=0", 400, "`0`"),
        ("?format=env&member=n9", 404, "members are n1, n2"),
    ] {
        let answer = bench.fetch(&format!("{list}{query}"), "*/*").await;
        assert_eq!(answer.status(), status, "{query}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(part), "{text}");
    }
    bench.stop().await;
}
