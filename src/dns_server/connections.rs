use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::asker::{Asker, Transport};
use super::handler::Handler;
use super::stream::converse;
use crate::transport::tls::TlsServer;

/// Connections of all clients together. One more takes the place of the one that is idle for
/// longest (RFC 9210 §4.4); if all are busy it is closed at once.
const MOST: usize = 4096;
/// Connections of one address; one more takes the place of its own longest idle one.
const MOST_OF_CLIENT: usize = 256;
/// When the process has no descriptors left, others end soon.
const PAUSE: Duration = Duration::from_millis(50);

/// The connections there are, over TCP or anything above it.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    admitted: BTreeMap<u64, Admitted>,
    /// How many each client has.
    clients: BTreeMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Admitted {
    client: IpAddr,
    /// Since when nobody waits for an answer; none while somebody does.
    idle_since: Option<Instant>,
    end: CancellationToken,
}

/// The right to be connected; dropped when the connection ends.
#[derive(Debug)]
pub(super) struct Admission {
    number: u64,
    connections: Arc<Connections>,
    end: CancellationToken,
}

impl Connections {
    /// Lets a client in, perhaps in the place of another. None if there is no room.
    ///
    /// The admission ends at `stop`, and when its place is needed.
    pub(super) fn admit(
        self: &Arc<Self>,
        client: IpAddr,
        stop: &CancellationToken,
    ) -> Option<Admission> {
        let mut open = self.open.lock();
        if open.clients.get(&client).is_some_and(|count| *count >= MOST_OF_CLIENT) {
            open.end_idle(|admitted| admitted.client == client)?;
        } else if open.admitted.len() >= MOST {
            open.end_idle(|_| true)?;
        }
        let (number, end) = (open.next, stop.child_token());
        open.next += 1;
        *open.clients.entry(client).or_default() += 1;
        let admitted = Admitted { client, idle_since: Some(Instant::now()), end: end.clone() };
        open.admitted.insert(number, admitted);
        Some(Admission { number, connections: Arc::clone(self), end })
    }
}

impl Open {
    /// Ends the connection that is idle for longest among some; none if all of them are busy.
    fn end_idle(&mut self, among: impl Fn(&Admitted) -> bool) -> Option<()> {
        let idle = self.admitted.iter().filter(|(_, admitted)| among(admitted));
        let idle = idle.filter_map(|(number, admitted)| Some((admitted.idle_since?, *number)));
        let (_, number) = idle.min()?;
        self.remove(number);
        Some(())
    }

    fn remove(&mut self, number: u64) {
        let Some(admitted) = self.admitted.remove(&number) else { return };
        admitted.end.cancel();
        if let Some(count) = self.clients.get_mut(&admitted.client) {
            *count -= 1;
            if *count == 0 {
                self.clients.remove(&admitted.client);
            }
        }
    }
}

impl Admission {
    /// Something happened; `idle` if nobody waits for an answer now.
    pub(super) fn touch(&self, idle: bool) {
        let mut open = self.connections.open.lock();
        if let Some(admitted) = open.admitted.get_mut(&self.number) {
            admitted.idle_since = idle.then(Instant::now);
        }
    }

    /// Waits until the connection has to be closed.
    pub(super) async fn ended(&self) {
        self.end.cancelled().await;
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        open.remove(self.number);
    }
}

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
