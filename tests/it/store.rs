//! Several services behind one name, which keep the registry in one cluster.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use quorate::token::{Token, TokenPath};

use crate::harness::{
    Flavor, Node, Service, http, scratch, static_cluster, token_cluster, token_v3_cluster, wait,
};
use crate::operators::{expect, quorate, register};
use crate::token::expect_one_cluster;

/// The one name: every connection goes to the next service that is there.
struct Relay {
    port: u16,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Relay {
    fn start(listener: TcpListener, services: Vec<u16>) -> Self {
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let accepting = std::thread::spawn(move || {
            for (turn, client) in listener.incoming().enumerate() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let order = (0..services.len()).map(|n| services[(turn + n) % services.len()]);
                let mut there =
                    order.filter_map(|port| TcpStream::connect(("127.0.0.1", port)).ok());
                if let Some(server) = there.next() {
                    carry(&client, &server);
                    carry(&server, &client);
                }
            }
        });
        Self { port, stop, accepting: Some(accepting) }
    }
}

/// Copies until one side ends; then the other one is told.
fn carry(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    std::thread::spawn(move || {
        // Whatever ends it, both sides are to know.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the listener, which then sees that it is to stop.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Three services on a store of three.
struct Site {
    store: Vec<Node>,
    services: Vec<Service>,
    relay: Relay,
}

impl Site {
    fn start(dir: &Path, store: Flavor) -> Option<Self> {
        let store_dir = dir.join("store");
        std::fs::create_dir_all(&store_dir).unwrap();
        let store = static_cluster(&[store; 3], &store_dir)?;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = format!("--public-url=http://{}", listener.local_addr().unwrap());
        let members = store.iter().map(|node| format!("127.0.0.1:{}", node.client_port));
        let store_url = format!("--store=etcd://{}", members.collect::<Vec<_>>().join(","));
        let start = |n| {
            let dir = dir.join(format!("service-{n}"));
            Service::start_with(&dir, &[&name, &store_url])
        };
        let services: Vec<Service> = (0..3).map(start).collect();
        let ports = services.iter().map(|service| service.http_port).collect();
        Some(Self { store, services, relay: Relay::start(listener, ports) })
    }

    /// A token, asked for by the one name.
    fn new_token(&self) -> String {
        let name = format!("http://127.0.0.1:{}", self.relay.port);
        let made = http("GET", &format!("{name}/new?size=3"), None).unwrap();
        assert!(made.body.starts_with(&name), "{}", made.body);
        made.body
    }

    /// The service at which somebody waits.
    fn waited_at(&self) -> usize {
        wait("a node to wait", || {
            self.services.iter().position(|service| {
                let answer = http("GET", &service.url("/metrics"), None);
                answer.is_ok_and(|answer| answer.body.contains("quorate_waiters 1\n"))
            })
        })
    }
}

/// Who only looks is shown the same at every service, and never what one joins with.
fn every_service_shows_the_view(site: &Site) {
    let url = site.new_token();
    let secret = url.rsplit('/').next().unwrap();
    let token: Token = secret.parse().unwrap();
    let view = format!("/view/{}", TokenPath::short(&token).view_id());
    let shown = |service: &Service| {
        let page = service.get(&view);
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(!page.body.contains(secret), "{}", page.body);
        page.body
    };
    // At once, whichever service made it.
    for service in &site.services {
        assert!(shown(service).contains("0 of 3 members"));
    }
    assert_eq!(register(&url, "n1", 3001).status, 201);
    for service in &site.services {
        wait("the member at every service", || {
            let page = shown(service);
            (page.contains("1 of 3 members") && page.contains("127.0.0.1:3001")).then_some(())
        });
    }
    let nothing = site.services[0].get(&view.replace("/view/", "/view/0"));
    assert_eq!(nothing.status, 404);
}

/// How nodes come to a cluster.
#[derive(Debug, Clone, Copy)]
enum Kind {
    V2(Flavor),
    V3,
}

/// In mid-bootstrap, with one node waiting and two to come, the service at which it waits is killed,
/// and a member of the store with it.
fn a_bootstrap_survives(site: &mut Site, dir: &Path, kind: Kind, victim: usize) -> Option<()> {
    let dir = dir.join(format!("nodes-{victim}"));
    std::fs::create_dir_all(&dir).unwrap();
    let url = site.new_token();
    let token = url.rsplit('/').next().unwrap();
    let (mut nodes, salt) = match kind {
        Kind::V2(flavor) => (token_cluster(&[flavor; 3], &url, &dir)?, url.as_str()),
        Kind::V3 => {
            let name = format!("127.0.0.1:{}", site.relay.port);
            (token_v3_cluster(3, token, &name, &dir), token)
        }
    };
    nodes[0].start();
    let service = site.waited_at();
    site.services[service].process.kill();
    site.store[victim].kill();
    for late in &mut nodes[1..] {
        late.start();
    }
    expect_one_cluster(&mut nodes, salt);
    site.services[service].restart();
    site.store[victim].start();
    site.store[victim].wait_until_healthy();
    // Whoever was away knows what happened meanwhile.
    for service in &site.services {
        wait("every service to show the whole cluster", || {
            let list = service.get(&format!("/{token}")).body;
            (list.matches("createdIndex").count() == 4).then_some(())
        });
    }
    Some(())
}

fn nobody_notices(store: Flavor) {
    let dir = scratch();
    let Some(mut site) = Site::start(dir.path(), store) else { return };
    every_service_shows_the_view(&site);
    // Every member of the store is killed once, so the leader is among them.
    let kinds = [Kind::V2(Flavor::Ours), Kind::V2(Flavor::Etcd34), Kind::V3];
    for (victim, kind) in kinds.into_iter().enumerate() {
        if a_bootstrap_survives(&mut site, dir.path(), kind, victim).is_none() {
            return;
        }
    }
    let one = &site.services[0];
    let verified = quorate(one, &dir.path().join("service-0"), &["token", "timeline", "verify"]);
    let verified = expect(&verified, 0);
    // Made, three founders and sealed, three times; repeats are told too.
    let entries: u32 = verified.split(' ').next().unwrap().parse().unwrap();
    assert!(entries >= 15, "{verified}");
}

#[test]
fn nobody_notices_who_dies_on_a_store_of_ours() {
    nobody_notices(Flavor::Ours);
}

#[test]
fn nobody_notices_who_dies_on_a_store_of_etcd_3_5() {
    nobody_notices(Flavor::Etcd35);
}

/// A store of one member, and a service that has made a token there.
fn lone(dir: &Path) -> (Node, Service) {
    let mut store = static_cluster(&[Flavor::Ours], dir).expect("our program is there");
    let service = Service::start_with(dir, &[&store_flag(&store[0])]);
    service.new_token(3);
    (store.remove(0), service)
}

fn store_flag(node: &Node) -> String {
    format!("--store=etcd://127.0.0.1:{}", node.client_port)
}

/// Nobody asks for anything but its health.
fn wait_for_health(service: &Service, status: u16) {
    wait(&format!("/health to be {status}"), || {
        (service.get("/health").status == status).then_some(())
    });
}

#[test]
fn an_idle_service_finds_out_that_its_store_is_gone_and_when_it_is_back() {
    let dir = scratch();
    let (mut store, mut service) = lone(dir.path());
    for times in 1..=2 {
        store.kill();
        wait_for_health(&service, 503);
        store.start();
        wait_for_health(&service, 200);
        service.process.wait_for_log("registry writes again");
        let log = service.process.log();
        assert_eq!(log.matches("ERROR").count(), times, "once for each outage: {log}");
        assert_eq!(log.matches("registry writes again").count(), times, "{log}");
    }
    let log = service.process.log();
    let lost = log.lines().find(|line| line.contains("the registry cannot be written")).unwrap();
    let name = format!("store=etcd://127.0.0.1:{}", store.client_port);
    assert!(lost.contains(&name) && lost.contains("correct --store"), "{lost}");
    let of_the_store = |line: &&str| line.contains("WARN") && line.contains("store");
    assert_eq!(log.lines().find(of_the_store), None, "the outage is told by the ERROR alone");
}

#[test]
fn a_store_that_was_made_anew_is_refused_until_somebody_accepts_it() {
    let dir = scratch();
    let (mut store, mut service) = lone(dir.path());
    let memory = dir.path().join("quorate.data/store.json");
    let remembered = std::fs::read_to_string(&memory).unwrap();
    let remembered: serde_json::Value = serde_json::from_str(&remembered).unwrap();
    let old = remembered["registry"].as_str().unwrap();
    store.kill();
    store.wipe();
    store.start();
    // Without a question: the service that runs finds out by itself.
    assert_eq!(service.process.exit_code(), 1);
    let refused = |found: &str| {
        let start = Command::new(env!("CARGO_BIN_EXE_quorate"))
            .args(["serve", "--http-addr=127.0.0.1:0", &store_flag(&store)])
            .arg(format!("--data-dir={}", dir.path().join("quorate.data").display()))
            .output()
            .unwrap();
        let told = expect(&start, 1);
        for part in [
            store_flag(&store).trim_start_matches("--store="),
            &format!("expected registry {old}"),
            found,
            &memory.display().to_string(),
            "remove that file",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    };
    refused("found none");
    // A service that never had another one takes the store as it is, and founds a registry.
    let other_dir = dir.path().join("other");
    let other = Service::start_with(&other_dir, &[&store_flag(&store)]);
    refused("found registry ");
    // So does one that joins it there.
    let late = Service::start_with(&dir.path().join("late"), &[&store_flag(&store)]);
    let url = other.new_token(3);
    assert_eq!(register(&url, "n1", 3001).status, 201);
    let token = &url[url.rfind('/').unwrap()..];
    assert_eq!(late.get(token).status, 200);
    std::fs::remove_file(&memory).unwrap();
    service.restart();
    assert_eq!(service.get(token).status, 200);
    assert!(!std::fs::read_to_string(&memory).unwrap().contains(old));
}
