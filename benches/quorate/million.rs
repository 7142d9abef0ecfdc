use std::path::Path;
use std::time::Instant;

use quorate::admission::{ClusterSize, Ttl};
use quorate::registry::{self, Config, NewToken, Registry};
use quorate::token::{Token, TokenPath};
use tokio::task::JoinSet;

use super::Plan;
use super::load::Sample;
use super::registry::{Service, news, print, verdict};

const TOKENS: usize = 1_000_000;
/// Tokens that are asked for at a time while the registry is filled.
const MAKERS: usize = 2048;

/// Whether `/new` is as fast with a million stored tokens as with none.
pub(crate) async fn measure(plan: &Plan) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let began = Instant::now();
    fill(&data).await;
    println!("\na registry with {TOKENS} tokens, made in {:.0} s", began.elapsed().as_secs_f64());
    let empty = Service::start(&[]).await;
    let began = Instant::now();
    let full = Service::start_on(Some(data), &[]).await;
    println!(
        "it starts in {:.1} s with {:.0} MiB; an empty one has {:.0} MiB",
        began.elapsed().as_secs_f64(),
        full.usage().rss_mib,
        empty.usage().rss_mib,
    );
    for connections in [8, 64] {
        let mut samples = [Sample::default(), Sample::default()];
        for _ in 0..plan.rounds {
            for (service, sample) in [&empty, &full].into_iter().zip(&mut samples) {
                sample.add(news(service, connections, plan).await);
            }
        }
        let [without, with] = samples;
        print("/new", connections, "none stored", &without);
        print("/new", connections, "a million", &with);
        let ratio = with.rate() / without.rate();
        println!("{:>20}rate x {ratio:.2}: {}", "", verdict(ratio > 0.9 && with.failures == 0));
    }
}

async fn fill(data: &Path) {
    let config = Config {
        data_dir: data.to_owned(),
        cluster: None,
        token_ttl: Ttl::from_hours(7 * 24),
        sealed_ttl: Ttl::from_hours(7 * 24),
        max_surplus: 64,
    };
    let (registry, writer) = Registry::open(config).await.unwrap();
    let writing = tokio::spawn(writer.run());
    let size = ClusterSize::parse("3", 9).unwrap();
    let mut makers = JoinSet::new();
    for maker in 0..MAKERS {
        let registry = registry.clone();
        makers.spawn(async move {
            for _ in (maker..TOKENS).step_by(MAKERS) {
                let token = NewToken {
                    path: TokenPath::short(&Token::draw()),
                    size,
                    label: None,
                    ttl: None,
                    client_port: None,
                    from: None,
                };
                registry.create(token, registry::now()).await.unwrap();
            }
        });
    }
    while let Some(made) = makers.join_next().await {
        made.unwrap();
    }
    drop(registry);
    writing.await.unwrap().unwrap();
}
