use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::Handle;
use crate::replica::Event;

/// Requests that may wait to be taken along; further ones wait outside.
const WAITING: usize = 4096;
/// Times that some may be taken along before the replica has looked.
const UNSEEN: usize = 4;

/// From the clients to the replica.
#[derive(Debug)]
pub(super) struct Way {
    requests: mpsc::Receiver<Event>,
    replica: mpsc::Sender<Vec<Event>>,
}

/// The way, and both of its ends.
pub(super) fn way() -> (mpsc::Sender<Event>, Way, mpsc::Receiver<Vec<Event>>) {
    let (client, requests) = mpsc::channel(WAITING);
    let (replica, taken) = mpsc::channel(UNSEEN);
    (client, Way { requests, replica }, taken)
}

/// Takes the requests of clients to the replica, those that come at the same time together: its thread is woken once
/// for all of them, and that costs more than any of them does.
pub(super) async fn run(handle: Handle, way: Way) {
    let Way { mut requests, replica } = way;
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
        if replica.send(together).await.is_err() {
            return;
        }
    }
}
