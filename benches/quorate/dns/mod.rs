//! Answers per second and processor time of each, beside Knot and dnsmasq with the same data.
//!
//! The server has the first core for itself, the clients have the others. Half of the questions are
//! for SRV records with three targets and their addresses, three of ten for an address, two of ten
//! for a name that does not exist. Every answer is compared with what has to come.

mod change;
mod client;
mod servers;

use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use self::client::{Mix, Sample};
use self::servers::{Data, Kind, Place, Server, below, beside};
use super::Plan;

const A: u16 = 1;
const SRV: u16 = 33;
const NXDOMAIN: u8 = 3;
/// As many clusters as a large service has.
const CLUSTERS: usize = 10_000;
/// Different questions of a mix; fewer than there are ids.
const QUESTIONS: usize = 60_000;
/// Names that are asked of others, and then answered from what is kept.
const KEPT: usize = 2_000;

pub(crate) fn measure(plan: &Plan) {
    let small = Data::clusters("three.test", 1);
    println!("\ndns, a zone of three nodes over UDP (targets: rate 1.15 x knot, 1.7 x dnsmasq)");
    let mix = questions(small.origin, 1, QUESTIONS);
    authoritative(&small, &Kind::all(), |server| client::udp_for(server, &mix, plan.span), plan);
    println!("dns, the same over TCP, pipelined (target: processor 0.6 x knot)");
    let streaming: Vec<Kind> = Kind::all().into_iter().filter(|it| *it != Kind::Dnsmasq).collect();
    authoritative(&small, &streaming, |server| client::tcp_for(server, &mix, plan.span), plan);
    let large = Data::clusters("clusters.test", CLUSTERS);
    println!(
        "dns, {CLUSTERS} clusters over UDP \
         (targets: processor 0.7 x knot, rate 100 x dnsmasq, memory below knot's)"
    );
    let mix = questions(large.origin, CLUSTERS, QUESTIONS);
    authoritative(&large, &Kind::all(), |server| client::udp_for(server, &mix, plan.span), plan);
    forwarded(plan);
    change::zone(plan);
    change::registrations(0);
    change::registrations(CLUSTERS);
}

/// The mix of questions about clusters.
fn questions(origin: &str, clusters: usize, count: usize) -> Mix {
    let mut random = SmallRng::seed_from_u64(1);
    let mut mix = Mix::default();
    for number in 0..count {
        let below = below(random.random_range(0..clusters), clusters);
        match number % 10 {
            0..5 => mix.add(&format!("_etcd-server._tcp{below}.{origin}"), SRV, 0, 3),
            5..8 => {
                let member = random.random_range(1..=3);
                mix.add(&format!("n{member}{below}.{origin}"), A, 0, 1);
            }
            _ => {
                let nobody: u32 = random.random();
                mix.add(&format!("x{nobody}{below}.{origin}"), A, NXDOMAIN, 0);
            }
        }
    }
    mix
}

fn authoritative(
    data: &Data,
    kinds: &[Kind],
    ask: impl Fn(SocketAddr) -> Sample + Sync,
    plan: &Plan,
) {
    let start = |kind: &Kind| Server::start(*kind, data, None, Place::First, &[]);
    let servers: Vec<Server> = kinds.iter().map(start).collect();
    compare(&servers, ask, plan.rounds);
}

/// Answers that others gave before, against the other program that keeps such answers.
fn forwarded(plan: &Plan) {
    let kinds: Vec<Kind> = Kind::all().into_iter().filter(|kind| *kind != Kind::Knot).collect();
    if !Kind::all().contains(&Kind::Knot) {
        println!("dns, from what is kept: not measured, knotd is missing to be asked");
        return;
    }
    let above = Data::clusters("above.test", KEPT);
    let upstream = Server::start(Kind::Knot, &above, None, Place::Others, &[]);
    let none = Data::clusters("three.test", 1);
    let asking =
        |kind: &Kind| Server::start(*kind, &none, Some(upstream.address), Place::First, &[]);
    let servers: Vec<Server> = kinds.iter().map(asking).collect();
    let mut addresses = Mix::default();
    for cluster in 0..KEPT {
        addresses.add(&format!("n1{}.above.test", below(cluster, KEPT)), A, 0, 1);
    }
    let mixes = [("addresses", addresses), ("the mix", questions("above.test", KEPT, KEPT * 2))];
    for (what, mix) in mixes {
        println!("dns, {what} from what others said (target: processor 0.8 x dnsmasq)");
        for server in &servers {
            let warmed = client::warm(server.address, &mix);
            assert!(warmed.lost == 0, "{}: {warmed:?}", server.kind.name());
        }
        compare(&servers, |server| client::udp_for(server, &mix, plan.span), plan.rounds);
    }
}

/// Measures servers in turns, and prints each and what ours is by them.
fn compare(servers: &[Server], ask: impl Fn(SocketAddr) -> Sample + Sync, rounds: u32) {
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); servers.len()];
    for _ in 0..rounds {
        for (server, samples) in servers.iter().zip(&mut samples) {
            let before = server.usage().cpu_seconds;
            let mut sample = beside(|| ask(server.address));
            sample.cpu_seconds = server.usage().cpu_seconds - before;
            samples.push(sample);
        }
    }
    let ours = samples[0].clone();
    for (server, theirs) in servers.iter().zip(&samples) {
        let of = |number: fn(&Sample) -> f64| median(theirs.iter().map(number));
        let ratio = |number: fn(&Sample) -> f64| {
            median(ours.iter().zip(theirs).map(|(ours, theirs)| number(ours) / number(theirs)))
        };
        print!(
            "  {:<8}{:>10.0}/s  {:>7.2} µs of processor  core {:>3.0} % busy  {:>6.1} MiB",
            server.kind.name(),
            of(Sample::rate),
            of(Sample::cpu_micros),
            of(|sample| 100.0 * sample.cpu_seconds / sample.seconds),
            server.usage().rss_mib,
        );
        let bad: usize = theirs.iter().map(|sample| sample.lost + sample.wrong).sum();
        if bad > 0 {
            print!("  {bad} LOST OR WRONG");
        }
        match server.kind {
            Kind::Quorate => println!(),
            _ => println!(
                "  ours: rate x {:.2}, processor x {:.2}",
                ratio(Sample::rate),
                ratio(Sample::cpu_micros)
            ),
        }
    }
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// How long the answers of a measurement may take to be the new ones, at most.
const SOON: Duration = Duration::from_secs(30);
