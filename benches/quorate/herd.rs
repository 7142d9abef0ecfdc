use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::registry::{SIZE, Service, registration, verdict};
use super::wire::{self, Wire};

/// Nodes of a herd.
const HERD: usize = 1000;
/// In which they start.
const WITHIN: Duration = Duration::from_secs(1);
/// Long polls that wait.
const POLLS: usize = 20_000;
const POLLS_PER_TOKEN: usize = 2000;

/// What one node saw.
#[derive(Debug, Default)]
struct Story {
    /// The slowest of the requests that are answered at once.
    slowest: Duration,
    /// Statuses that are neither 200 nor 201, with what was asked.
    refused: Vec<u16>,
    founder: bool,
    complete: bool,
}

/// A thousand nodes on 334 tokens of three, then a thousand on one; etcd gives up on any plain
/// request after five seconds, and for good after any 4xx.
pub(crate) async fn herd() {
    for (tokens, size) in [(HERD.div_ceil(3), 3), (1, SIZE)] {
        let service = Service::start(&[]).await;
        let mut urls = Vec::new();
        for _ in 0..tokens {
            urls.push(service.new_token(size).await);
        }
        let before = service.usage();
        let start = tokio::time::Instant::now() + Duration::from_millis(200);
        let mut nodes = JoinSet::new();
        for number in 0..HERD {
            let url = urls[number % tokens].clone();
            let begin =
                start + WITHIN * u32::try_from(number).unwrap() / u32::try_from(HERD).unwrap();
            let waits = HERD / tokens >= size && number / tokens < size;
            nodes.spawn(async move {
                sleep_until(begin).await;
                converse(&url, number / tokens, size, waits).await
            });
        }
        let began = Instant::now();
        let mut stories: Vec<Story> = Vec::new();
        while let Some(node) = nodes.join_next().await {
            stories.push(node.unwrap());
        }
        let took = began.elapsed();
        let usage = service.usage();
        report(&stories, took, usage.rss_mib, usage.cpu_seconds - before.cpu_seconds, tokens);
    }
}

fn report(stories: &[Story], took: Duration, rss_mib: f64, cpu_seconds: f64, tokens: usize) {
    let mut slowest: Vec<Duration> = stories.iter().map(|story| story.slowest).collect();
    slowest.sort_unstable();
    let at = |share: usize| slowest[slowest.len() * share / 100 - 1].as_secs_f64() * 1e3;
    let statuses = |from: u16, founder: bool| {
        let all = stories.iter().filter(|story| story.founder == founder || from == 500);
        all.flat_map(|story| &story.refused).filter(|status| **status / 100 == from / 100).count()
    };
    let founders = stories.iter().filter(|story| story.founder).count();
    let complete = stories.iter().filter(|story| story.complete).count();
    let (ours, theirs) = (statuses(500, true), statuses(400, true));
    let cpu = cpu_seconds * 1000.0 / stories.len() as f64;
    println!(
        "\nherd: {} nodes on {tokens} token(s) within {} s: slowest plain request of each p50 {:.0} ms, \
         p99 {:.0} ms, max {:.0} ms; {founders} founders, {complete} saw their cluster complete, \
         all done after {:.2} s\n      service {rss_mib:.0} MiB, {cpu:.2} s of processor for 1,000 nodes, \
         {ours} answers 5xx, {theirs} answers 4xx to founders, {} to others: {}",
        stories.len(),
        WITHIN.as_secs(),
        at(50),
        at(99),
        at(100),
        took.as_secs_f64(),
        statuses(400, false),
        verdict(at(99) < 1000.0 && ours == 0 && theirs == 0 && rss_mib < 256.0 && cpu < 1.0),
    );
}

/// What etcd asks: size, directory, its registration, size and directory again, then long polls until
/// everybody is there.
async fn converse(url: &str, number: usize, size: usize, waits: bool) -> Story {
    let mut story = Story::default();
    let mut wire = Wire::connect(url).await;
    let plain = "?quorum=false&recursive=false&sorted=false";
    let requests = [
        wire::get(&format!("{url}/_config/size{plain}")),
        wire::get(&format!("{url}{plain}")),
        registration(url, number),
        wire::get(&format!("{url}/_config/size{plain}")),
        wire::get(&format!("{url}{plain}")),
    ];
    let mut directory = String::new();
    for (step, request) in requests.iter().enumerate() {
        let sent = Instant::now();
        let answer = wire.ask(request).await.expect("the connection stays open");
        story.slowest = story.slowest.max(sent.elapsed());
        if !matches!(answer.status, 200 | 201) {
            story.refused.push(answer.status);
            if step == 2 {
                return story;
            }
        }
        directory = answer.body;
    }
    let peer = format!("http://10.0.{}.{}:2380", number / 250, number % 250 + 1);
    story.founder = directory.contains(&peer);
    let mut members = directory.matches("createdIndex").count().saturating_sub(1);
    let mut index = last_index(&directory);
    while waits && story.founder && members < size {
        let poll = format!("{url}?recursive=true&wait=true&waitIndex={}", index + 1);
        let answer = wire.ask(&wire::get(&poll)).await.expect("the connection stays open");
        if answer.status != 200 {
            story.refused.push(answer.status);
            return story;
        }
        if answer.body.contains("createdIndex") {
            members += 1;
            index = last_index(&answer.body);
        }
    }
    story.complete = members >= size;
    story
}

/// The highest `createdIndex` of a body.
fn last_index(body: &str) -> u64 {
    let digits = |rest: &str| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    };
    body.split("\"createdIndex\":").skip(1).map(digits).max().unwrap_or(0)
}

/// What a waiting long poll costs the service.
pub(crate) async fn polls() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    // Each side has a file for each connection, and some of its own.
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    let room = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap() - 200);
    let polls = POLLS.min(room);
    let service = Service::start(&["--max-connections=30000", "--max-waiters=30000"]).await;
    let mut urls = Vec::new();
    for _ in 0..polls.div_ceil(POLLS_PER_TOKEN) {
        urls.push(service.new_token(3).await);
    }
    let before = service.usage();
    let began = Instant::now();
    let mut wires = Vec::with_capacity(polls);
    for number in 0..polls {
        let url = &urls[number / POLLS_PER_TOKEN];
        let mut wire = Wire::connect(url).await;
        let poll = wire::get(&format!("{url}?recursive=true&wait=true&waitIndex=1000000"));
        let (status, _) = wire.begin(&poll).await.expect("the head comes at once");
        assert_eq!(status, 200);
        wires.push(wire);
    }
    let took = began.elapsed();
    let usage = service.usage();
    let each = (usage.rss_mib - before.rss_mib) * 1024.0 / polls as f64;
    println!(
        "\n{polls} waiting long polls: {each:.1} KiB each, service {:.0} MiB, all waiting after {:.1} s, \
         {:.0} µs of processor each: {}",
        usage.rss_mib,
        took.as_secs_f64(),
        (usage.cpu_seconds - before.cpu_seconds) * 1e6 / polls as f64,
        verdict(each < 16.0),
    );
    drop(Arc::new(wires));
}
