use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Client, Node, wait};

const TTL: Duration = Duration::from_secs(3);
/// Between two renewals.
const PAUSE: Duration = Duration::from_millis(200);
const CALL: Duration = Duration::from_secs(1);

/// Somebody who holds a lease, renews it and watches that it does not end early.
#[derive(Debug)]
pub struct Tenant {
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// A lease, its key, and until when it must live: its time after the last renewal that was acknowledged began.
#[derive(Debug)]
struct Held {
    id: i64,
    key: String,
    safe: Instant,
}

impl Tenant {
    pub fn start(nodes: &[Node]) -> Self {
        let urls: Vec<String> = nodes.iter().map(Node::client_url).collect();
        let (stop, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, looked) = (Arc::clone(&stop), Arc::clone(&looks));
        let thread = std::thread::spawn(move || {
            let clients: Vec<Client> =
                urls.iter().map(|url| Client::connect_for(url, CALL)).collect();
            let mut held: Option<Held> = None;
            for round in 0.. {
                let client = &clients[round % clients.len()];
                let ending = stopped.load(Ordering::Relaxed);
                held = match held.take() {
                    Some(held) if ending => return vacate(&clients, &held),
                    Some(held) => stay(client, held, &looked),
                    None if ending => return,
                    None => move_in(client, round),
                };
                // How long a tenant waits between renewals is part of what is tested.
                std::thread::sleep(PAUSE);
            }
        });
        Self { stop, looks, thread }
    }

    /// Waits until somebody saw the lease, then for its end without a renewal. Fails if one ever ended early.
    #[track_caller]
    pub fn judge(self) {
        wait("a look at the lease", || {
            (self.looks.load(Ordering::Relaxed) > 0 || self.thread.is_finished()).then_some(())
        });
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no lease ended before its time");
    }
}

fn move_in(client: &Client, round: usize) -> Option<Held> {
    let key = format!("tenant/{round}");
    let begun = Instant::now();
    let id = client.lease_key(&key, i64::try_from(TTL.as_secs()).unwrap()).ok()?;
    Some(Held { id, key, safe: begun + TTL })
}

/// Renews and looks; `None` when the lease is gone, as it may be after its time.
fn stay(client: &Client, mut held: Held, looks: &AtomicUsize) -> Option<Held> {
    let begun = Instant::now();
    match client.keep_alive(held.id) {
        Ok(0) => return gone(&held),
        Ok(_) => held.safe = begun + TTL,
        Err(_) => {}
    }
    match client.get(&held.key) {
        Ok(None) => gone(&held),
        Ok(Some(_)) => {
            looks.fetch_add(1, Ordering::Relaxed);
            Some(held)
        }
        Err(_) => Some(held),
    }
}

fn gone(held: &Held) -> Option<Held> {
    let early = held.safe.saturating_duration_since(Instant::now());
    assert!(early.is_zero(), "{held:?} ended {early:?} early");
    None
}

fn vacate(clients: &[Client], held: &Held) {
    wait("the lease to end", || {
        let ended = clients.iter().find_map(|client| client.get(&held.key).ok())?.is_none();
        if ended {
            gone(held);
        }
        ended.then_some(())
    });
}
