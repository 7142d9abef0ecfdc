use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::asker::{Asker, Transport};
use super::connections::{Admission, Connections};
use super::handler::Handler;
use super::stream::converse;
use crate::transport::tls::TlsServer;

/// When the process has no descriptors left, others end soon.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers whoever connects, with TLS if there is one (RFC 7858), until `stop`.
pub(super) async fn accept(
    listener: TcpListener,
    tls: Option<TlsServer>,
    handler: Arc<Handler>,
    connections: Arc<Connections>,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_ended) = tasks.join_next() => continue,
            () = stop.cancelled() => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(error = %error, "DNS connection not accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(admission) = connections.admit(address.ip(), &stop) else {
            debug!(client = %address, "DNS connection refused, there are too many");
            continue;
        };
        // Without it small answers wait for the acknowledgment of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(client = %address, error = %error, "DNS connection ended early");
            continue;
        }
        let (handler, tls) = (Arc::clone(&handler), tls.clone());
        tasks.spawn(async move {
            if let Err(error) = answer(stream, address, tls, handler, &admission).await {
                debug!(client = %address, error = %error, "DNS connection broke");
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    Ok(())
}

async fn answer(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsServer>,
    handler: Arc<Handler>,
    admission: &Admission,
) -> io::Result<()> {
    let Some(tls) = tls else {
        let asker = Asker { address, transport: Transport::Tcp };
        return converse(stream, asker, handler, admission).await;
    };
    let shaken = tokio::select! {
        shaken = tls.accept(stream, address) => shaken,
        () = admission.ended() => return Ok(()),
    };
    let (stream, _) = shaken.map_err(|rejected| io::Error::other(rejected.reason))?;
    let asker = Asker { address, transport: Transport::Tls };
    converse(stream, asker, handler, admission).await
}
