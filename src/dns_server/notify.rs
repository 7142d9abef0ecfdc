//! Telling secondary servers that a zone has changed (RFC 1996).

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use rand::RngExt;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::transfer::Transfers;
use super::tsig::Key;
use crate::zone::Zone;

/// The first wait for an answer; each is twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 5;
/// Notices under way at once; the others wait, and of a zone that changed again only the last is sent.
const AT_ONCE: usize = 64;

/// Notices under way and still to send. What is dropped is not sent: secondaries also ask by themselves.
#[derive(Debug, Default)]
pub(super) struct Notices {
    waiting: VecDeque<(Arc<Zone>, SocketAddr)>,
    sending: JoinSet<()>,
}

impl Notices {
    /// Tells all secondaries about these zones, and about others for which there was no room before.
    pub(super) fn send(&mut self, zones: &[Arc<Zone>], transfers: &Transfers) {
        self.waiting.retain(|(held, _)| zones.iter().all(|zone| zone.origin() != held.origin()));
        for zone in zones {
            self.waiting.extend(transfers.notify.iter().map(|server| (Arc::clone(zone), *server)));
        }
        while self.sending.try_join_next().is_some() {}
        while self.sending.len() < AT_ONCE
            && let Some((zone, server)) = self.waiting.pop_front()
        {
            self.sending.spawn(notify(zone, server, transfers.keys.first().cloned()));
        }
    }
}

/// Tells one server about one zone, until it answers or has been told often enough.
async fn notify(zone: Arc<Zone>, server: SocketAddr, key: Option<Key>) {
    let (origin, serial) = (zone.origin().clone(), zone.serial());
    let mut wait = FIRST_WAIT;
    for _ in 0..ATTEMPTS {
        match timeout(wait, tell(&origin, server, key.as_ref())).await {
            Ok(Ok(())) => {
                info!(zone.origin = %origin, zone.serial = serial, dns.server = %server, "secondary told");
                return;
            }
            Ok(Err(error)) => debug!(dns.server = %server, error = %error, "secondary not told"),
            Err(_no_answer) => {}
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    warn!(zone.origin = %origin, dns.server = %server, "secondary does not answer, it will ask by itself");
}

async fn tell(origin: &Name, server: SocketAddr, key: Option<&Key>) -> std::io::Result<()> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let mut message = Message::new(rand::rng().random(), MessageType::Query, OpCode::Notify);
    message.metadata.authoritative = true;
    message.add_query(Query::query(origin.clone(), RecordType::SOA));
    if let Some(key) = key {
        key.sign_request(&mut message).map_err(std::io::Error::other)?;
    }
    socket.send(&message.to_bytes().map_err(std::io::Error::other)?).await?;
    let mut buffer = [0; 512];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let Ok(answer) = Message::from_bytes(&buffer[..length]) else { continue };
        let metadata = answer.metadata;
        if (metadata.id, metadata.op_code, metadata.message_type)
            == (message.metadata.id, OpCode::Notify, MessageType::Response)
        {
            return match metadata.response_code {
                ResponseCode::NoError => Ok(()),
                code => Err(std::io::Error::other(format!("it says {code}"))),
            };
        }
    }
}
