mod auth;
mod compressed;
mod fuzz;
mod http;
mod live;
mod recipes;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use tower::ServiceExt as _;

use super::{Cors, cors, grpc};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::maintenance_client::MaintenanceClient;

async fn ask(router: &Router, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

fn request(method: &str, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

fn pages(origins: Cors) -> Router {
    cors::apply(Router::new().fallback(grpc::unknown), origins)
}

#[tokio::test]
async fn version_has_the_shape_of_etcd() {
    let node = live::Node::start().await;
    let router = node.router.clone();
    let (status, headers, body) = ask(&router, request("GET", "/version")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-type"], "application/json");
    let version: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(version["etcdcluster"], "3.6.0");
    assert!(version["etcdserver"].as_str().unwrap().starts_with("3.6."));
    for method in ["HEAD", "POST", "DELETE"] {
        let (status, headers, _) = ask(&router, request(method, "/version")).await;
        assert_eq!(
            (status, &headers["allow"]),
            (StatusCode::METHOD_NOT_ALLOWED, &"GET".parse().unwrap())
        );
    }
    drop(router);
    node.stop().await;
}

#[tokio::test]
async fn a_cluster_on_its_way_back_shows_the_release_it_goes_to() {
    let node = live::Node::start().await;
    let mut maintenance = MaintenanceClient::new(node.channel().await);
    let mut go = async |action, version: &str| {
        let version = version.to_owned();
        let answer = maintenance.downgrade(pb::DowngradeRequest { action, version }).await;
        answer.map(|it| it.into_inner().version).map_err(|it| it.message().to_owned())
    };
    assert_eq!(go(1, "3.5").await.as_deref(), Ok("3.6"));
    let (_, _, body) = ask(&node.router, request("GET", "/version")).await;
    assert!(body.contains(r#""etcdcluster":"3.5.0","storage":"3.5.0""#), "{body}");
    let (_, _, body) = ask(&node.router, request("GET", "/metrics")).await;
    let versions: Vec<&str> =
        body.lines().filter(|line| line.starts_with("etcd_cluster_version{")).collect();
    assert_eq!(versions, [r#"etcd_cluster_version{cluster_version="3.5"} 1"#]);
    let refused = go(1, "3.4").await.unwrap_err();
    assert_eq!(refused, "etcdserver: cluster has a downgrade job in progress");
    assert_eq!(go(2, "").await.as_deref(), Ok("3.5"));
    let (_, _, body) = ask(&node.router, request("GET", "/version")).await;
    assert!(body.contains(r#""etcdcluster":"3.6.0","storage":"3.6.0""#), "{body}");
    let (_, _, body) = ask(&node.router, request("GET", "/metrics")).await;
    assert!(body.contains("\netcd_cluster_version{cluster_version=\"3.6\"} 1\n"), "{body}");
    node.stop().await;
}

#[tokio::test]
async fn a_missing_page_is_missing_in_the_words_of_go() {
    let (status, headers, body) = ask(&pages(Cors::Any), request("GET", "/nothing/at/all")).await;
    assert_eq!((status, &body[..]), (StatusCode::NOT_FOUND, "404 page not found\n"));
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(headers["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn browsers_may_read_everything_unless_origins_are_listed() {
    let any = pages(Cors::Any);
    for (method, path) in [("GET", "/version"), ("GET", "/nothing"), ("OPTIONS", "/nothing")] {
        let (_, headers, _) = ask(&any, request(method, path)).await;
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert_eq!(headers["access-control-allow-methods"], "POST, GET, OPTIONS, PUT, DELETE");
        assert_eq!(headers["access-control-allow-headers"], "accept, content-type, authorization");
    }
    let (status, _, body) = ask(&any, request("OPTIONS", "/nothing")).await;
    assert_eq!((status, &body[..]), (StatusCode::OK, ""));

    let listed = pages(Cors::Origins(vec!["http://a.example:80".to_owned()]));
    let from = |origin: &str| {
        let mut request = request("GET", "/version");
        request.headers_mut().insert("origin", origin.parse().unwrap());
        request
    };
    let (_, headers, _) = ask(&listed, from("http://a.example:80")).await;
    assert_eq!(headers["access-control-allow-origin"], "http://a.example:80");
    let (_, headers, _) = ask(&listed, from("http://b.example:80")).await;
    assert!(!headers.contains_key("access-control-allow-origin"));
}
