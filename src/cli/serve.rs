use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Failure, running};
use crate::config::serve::{Config, Flags, LogFormat, PublicUrl};
use crate::registry::{self, Registry};
use crate::{discovery_server, shutdown};

/// How often expired tokens are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Why the service ended by itself.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot listen on {address} (--http-addr)")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("{task} ended unexpectedly")]
    Ended { task: &'static str },
}

/// Runs the service until a signal ends it.
pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let config = Config::load(flags, |name| std::env::var(name).ok())
        .map_err(|problems| Failure::Configuration(problems.into()))?;
    log(&config);
    super::run(serve(config))
}

async fn serve(config: Config) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let registry_config = registry::Config {
        data_dir: config.data_dir.clone(),
        token_ttl: config.token_ttl,
        sealed_ttl: config.sealed_ttl,
    };
    let (registry, writer) = Registry::open(registry_config).await.map_err(running)?;
    let listeners = bind(&config.http_addresses).await?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        data.dir = %config.data_dir.display(),
        registry.index = registry.index(),
        "quorate starts"
    );
    let mut tasks: JoinSet<Result<(), Failure>> = JoinSet::new();
    let signals = shutdown::on_signal(stop.clone());
    tasks.spawn(async { signals.await.map_err(running) });
    tasks.spawn(async { writer.run().await.map_err(running) });
    if let Some(first) = listeners.first() {
        let address = first.local_addr().map_err(running)?;
        let public_url = public_url(&config, address);
        for listener in &listeners {
            let address = listener.local_addr().map_err(running)?;
            info!(http.addr = %address, public.url = %public_url, "serving HTTP");
        }
        let config = discovery_server::Config {
            public_url: public_url.as_str().to_owned(),
            max_size: config.max_size,
        };
        let serving = discovery_server::serve(listeners, config, registry.clone(), stop.clone());
        tasks.spawn(async {
            serving.await;
            Ok(())
        });
    }
    tasks.spawn(sweep(registry, stop.clone()));
    supervise(tasks, &stop).await
}

/// Waits for the end of all tasks; the first that fails, or ends before its time, stops the others.
async fn supervise(
    mut tasks: JoinSet<Result<(), Failure>>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let early = !stop.is_cancelled();
        stop.cancel();
        let ended = ended.map_err(running).and_then(|ended| ended);
        let ended = match ended {
            Ok(()) if early => Err(running(Error::Ended { task: "a task of the service" })),
            ended => ended,
        };
        if outcome.is_ok() {
            outcome = ended;
        }
    }
    info!("quorate stopped");
    outcome
}

async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for &address in addresses {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| running(Error::Listen { address, source }))?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// The prefix of discovery URLs: what was configured, else the address that is really bound.
fn public_url(config: &Config, bound: SocketAddr) -> PublicUrl {
    if let Some(url) = &config.public_url {
        return url.clone();
    }
    let url = PublicUrl::of_address(bound);
    if bound.ip().is_unspecified() {
        warn!(
            public.url = %url,
            "discovery URLs will work on this machine only; set --public-url to the address that \
             nodes use"
        );
    }
    url
}

async fn sweep(registry: Registry, stop: CancellationToken) -> Result<(), Failure> {
    let mut tick = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = tick.tick() => {
                // A failure is in the log already, and the next round tries again.
                let _ = registry.sweep(registry::now()).await;
            }
        }
    }
}

/// Writes log lines to standard error.
fn log(config: &Config) {
    let lines = tracing_subscriber::fmt()
        .with_max_level(config.log_level)
        .with_writer(std::io::stderr)
        .with_target(false);
    let installed = match config.log_format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    // A second subscriber in one process is a test's; its lines are as good.
    let _ = installed;
}
