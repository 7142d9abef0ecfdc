use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Connections of all clients together. One more takes the place of the one that is idle for
/// longest (RFC 9210 §4.4); if all are busy it is closed at once.
const MOST: usize = 4096;
/// Connections of one address; one more takes the place of its own longest idle one.
const MOST_OF_CLIENT: usize = 256;

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
