use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quorate::membership::MemberId;
use sha2::{Digest as _, Sha256};

use super::client::{self, question};
use super::servers::{Data, Kind, Place, Server};
use super::{A, CLUSTERS, Plan, QUESTIONS, SOON, SRV, questions};

/// Questions that are out all the time while a zone changes.
const BUSY: usize = 16;
/// Tokens that are filled one after the other.
const TOKENS: usize = 300;
/// Connections at once while other tokens are made.
const FILLING: usize = 16;

/// How long a large zone takes from its file into answers, while others ask.
pub(super) fn zone(plan: &Plan) {
    let data = Data::clusters("clusters.test", CLUSTERS);
    let server = Server::start(Kind::Quorate, &data, None, Place::Anywhere, &[]);
    let mix = questions(data.origin, CLUSTERS, QUESTIONS);
    let stop = AtomicBool::new(false);
    let (mut times, mut sample) = (Vec::new(), client::Sample::default());
    std::thread::scope(|scope| {
        let load = scope
            .spawn(|| client::udp(server.address, &mix, BUSY, |_| !stop.load(Ordering::Relaxed)));
        for round in 1..=plan.rounds {
            let text =
                data.zone.replacen("hostmaster 1 ", &format!("hostmaster {} ", 1 + round), 1);
            let last = u8::try_from(round % 200).unwrap();
            let text = text.replacen("ns IN A 127.0.0.1", &format!("ns IN A 127.0.1.{last}"), 1);
            let (aside, file) =
                (server.dir().join("aside"), server.dir().join("clusters.test.zone"));
            std::fs::write(&aside, text).unwrap();
            let started = Instant::now();
            std::fs::rename(&aside, &file).unwrap();
            let ns = question(1, "ns.clusters.test", A);
            wait_for(server.address, &ns, |reply| reply.ends_with_address([127, 0, 1, last]));
            times.push(started.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
        sample = load.join().unwrap();
    });
    times.sort_unstable();
    println!(
        "dns, a changed zone of {CLUSTERS} clusters is served after {:.0} ms (most {:.0} ms) \
         beside {:.0} answers/s, {} lost, {} wrong (target: 1000 ms, none lost); {:.1} MiB",
        times[times.len() / 2].as_secs_f64() * 1e3,
        times[times.len() - 1].as_secs_f64() * 1e3,
        sample.rate(),
        sample.lost,
        sample.wrong,
        server.usage().rss_mib,
    );
}

/// How long a registration that completes a cluster takes into DNS, beside so many full tokens.
pub(super) fn registrations(others: usize) {
    let data = Data::clusters("three.test", 1);
    let more = ["--cluster-domain=clusters.test".to_owned()];
    let server = Server::start(Kind::Quorate, &data, None, Place::Anywhere, &more);
    let http = SocketAddr::from(([127, 0, 0, 1], server.http_port));
    std::thread::scope(|scope| {
        for part in 0..FILLING {
            let numbers = (part..others).step_by(FILLING);
            scope.spawn(move || numbers.for_each(|number| drop(complete(http, number))));
        }
    });
    let (mut whole, mut after) = (Vec::new(), Vec::new());
    for number in others..others + TOKENS {
        let Completed { label, sent } = complete(http, number);
        let acknowledged = Instant::now();
        let asked = question(1, &format!("_etcd-server._tcp.{label}.clusters.test"), SRV);
        wait_for(server.address, &asked, |reply| reply.answers() == 1);
        after.push(acknowledged.elapsed());
        whole.push(sent.elapsed());
    }
    let millis = |times: &mut Vec<Duration>, share: usize| {
        times.sort_unstable();
        times[times.len() * share / 100].as_secs_f64() * 1e3
    };
    println!(
        "dns, beside {others} full tokens a cluster is published {:.2} ms (p99 {:.2} ms) after its last registration was \
         acknowledged, {:.2} ms (p99 {:.2} ms) after it was sent (target: 5 ms)",
        millis(&mut after, 50),
        millis(&mut after, 99),
        millis(&mut whole, 50),
        millis(&mut whole, 99),
    );
}

/// A token that has all its founders.
struct Completed {
    label: String,
    /// When the last registration was sent.
    sent: Instant,
}

/// Makes a token of one founder and registers it.
fn complete(http: SocketAddr, number: usize) -> Completed {
    let url = say(http, "POST", "/new?size=1", "", 200);
    let url = url.trim();
    let token = url.rsplit('/').next().unwrap();
    let digest = Sha256::digest(token.as_bytes());
    let label: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let peer = format!("http://10.9.{}.{}:2380", number / 250 % 250, number % 250 + 1);
    let id = MemberId::derive([peer.as_str()], url);
    let body = format!("value=n1%3D{}", peer.replace(':', "%3A").replace('/', "%2F"));
    let sent = Instant::now();
    say(http, "PUT", &format!("/{token}/{id}?prevExist=false"), &body, 201);
    Completed { label, sent }
}

struct Reply([u8; 2048], usize);

impl Reply {
    fn answers(&self) -> u8 {
        self.0[7]
    }

    /// Whether the answer before the OPT record has this address.
    fn ends_with_address(&self, address: [u8; 4]) -> bool {
        self.0[..self.1].windows(4).any(|window| window == address)
    }
}

/// Asks one question again and again until it is answered right.
fn wait_for(address: SocketAddr, packet: &[u8], right: impl Fn(&Reply) -> bool) {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let started = Instant::now();
    let mut reply = Reply([0; 2048], 0);
    loop {
        socket.send(packet).unwrap();
        reply.1 = socket.recv(&mut reply.0).unwrap();
        if right(&reply) {
            return;
        }
        assert!(started.elapsed() < SOON, "the new answer does not come");
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// One HTTP request on a connection of its own, which costs what it costs; the body of its answer.
fn say(address: SocketAddr, method: &str, path: &str, form: &str, status: u16) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let expected = format!(" {status} ");
    assert!(answer.lines().next().is_some_and(|line| line.contains(&expected)), "{answer}");
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}
