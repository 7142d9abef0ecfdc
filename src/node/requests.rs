use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::Handle;
use crate::replica::Event;

/// Requests that may wait to be taken along; further ones wait outside.
pub(super) const WAITING: usize = 4096;

/// Takes the requests of clients to the replica, those that come at the same time together: a turn for all of them
/// costs little more than one for a single request.
pub(super) async fn run(handle: Handle, mut requests: mpsc::Receiver<Event>) {
    loop {
        let mut together = Vec::new();
        if requests.recv_many(&mut together, WAITING).await == 0 {
            return;
        }
        let under_way = usize::try_from(handle.0.pending.load(Ordering::Relaxed));
        if under_way.is_ok_and(|under_way| under_way > together.len()) {
            // Others may be about to ask.
            tokio::task::yield_now().await;
            while let Ok(request) = requests.try_recv() {
                together.push(request);
            }
        }
        if handle.0.request(together).await.is_err() {
            return;
        }
    }
}
