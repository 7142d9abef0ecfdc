use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg,
    sendmmsg, sendmsg, setsockopt, sockopt,
};
use socket2::Socket;
use tokio::runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::asker::{Asker, Transport};
use super::handler::{Handler, Scratch};
use super::reply::Reply;

/// Datagrams taken and sent with one call of the kernel; more than 32 gain nothing.
const BATCH: usize = 32;
/// We say that we take 1232 bytes; what is longer than this is cut and refused.
const LONGEST: usize = 2048;
/// How soon a worker without questions sees that it has to stop.
const LOOK_UP: Duration = Duration::from_millis(100);
/// Questions that wait for other servers, of all clients; one more is dropped, and its client asks
/// again.
const WAITING: usize = 4096;

/// Answers the datagrams of one socket, on a thread of its own.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) socket: Arc<UdpSocket>,
    /// The socket is bound to all addresses, so each datagram tells which one was asked.
    pub(super) wildcard: bool,
    pub(super) handler: Arc<Handler>,
    /// Where those go on that have to wait for others.
    pub(super) runtime: runtime::Handle,
    pub(super) waiting: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// A datagram that came.
#[derive(Debug, Clone, Copy)]
struct Arrived {
    length: usize,
    client: SockaddrStorage,
    asked: Option<Asked>,
}

/// The own address that a datagram was sent to. Its answer has to come from there, or the client
/// throws it away.
#[derive(Debug, Clone, Copy)]
enum Asked {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

/// Makes the kernel tell the address that was asked.
pub(super) fn tell_asked(socket: &Socket, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(_) => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
        IpAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
    }
    Ok(())
}

impl Worker {
    /// Answers until `stop`, which it sees with the next question or a moment later.
    pub(super) fn run(self) -> io::Result<()> {
        self.socket.set_read_timeout(Some(LOOK_UP))?;
        // Timers and sockets of the resolver belong to the runtime.
        let _context = self.runtime.enter();
        let mut input = vec![0; BATCH * LONGEST];
        let mut arrived: Vec<Arrived> = Vec::with_capacity(BATCH);
        let mut output: Vec<u8> = Vec::with_capacity(BATCH * LONGEST);
        let mut replies: Vec<(usize, Range<usize>)> = Vec::with_capacity(BATCH);
        let mut scratch = Scratch::new();
        let mut headers = self.headers();
        while !self.stop.is_cancelled() {
            if self.wildcard {
                // The kernel shortens the room for control messages to what it used.
                headers = self.headers();
            }
            match self.receive(&mut headers, &mut input, &mut arrived) {
                Ok(()) => {}
                Err(Errno::EAGAIN | Errno::EINTR) => continue,
                Err(error @ (Errno::EBADF | Errno::ENOTSOCK | Errno::EINVAL | Errno::EFAULT)) => {
                    return Err(error.into());
                }
                // An earlier answer met a closed port, or the network is down for a while.
                Err(error) => {
                    debug!(error = %error, "receiving DNS questions");
                    continue;
                }
            }
            let start = Instant::now();
            for (index, (one, packet)) in arrived.iter().zip(input.chunks(LONGEST)).enumerate() {
                let before = output.len();
                self.answer(one, &packet[..one.length], &mut scratch, &mut output);
                if output.len() > before {
                    replies.push((index, before..output.len()));
                }
            }
            self.send(&arrived, &output, &replies);
            if !replies.is_empty() {
                self.handler.counters.took(start.elapsed(), replies.len());
            }
            replies.clear();
            output.clear();
        }
        Ok(())
    }

    fn headers(&self) -> MultiHeaders<SockaddrStorage> {
        let room = self.wildcard.then(|| nix::cmsg_space!(in6_pktinfo));
        MultiHeaders::preallocate(BATCH, room)
    }

    /// Waits for the first datagram and takes along what is there by then.
    fn receive(
        &self,
        headers: &mut MultiHeaders<SockaddrStorage>,
        input: &mut [u8],
        arrived: &mut Vec<Arrived>,
    ) -> nix::Result<()> {
        arrived.clear();
        let mut slices: Vec<_> =
            input.chunks_exact_mut(LONGEST).map(|chunk| [IoSliceMut::new(chunk)]).collect();
        let flags = MsgFlags::MSG_WAITFORONE;
        let received = recvmmsg(self.socket.as_raw_fd(), headers, slices.iter_mut(), flags, None)?;
        for one in received {
            let asked = if self.wildcard {
                one.cmsgs()?.find_map(|message| match message {
                    ControlMessageOwned::Ipv4PacketInfo(info) => Some(Asked::V4(info)),
                    ControlMessageOwned::Ipv6PacketInfo(info) => Some(Asked::V6(info)),
                    _ => None,
                })
            } else {
                None
            };
            let Some(client) = one.address else { continue };
            arrived.push(Arrived { length: one.bytes, client, asked });
        }
        Ok(())
    }

    /// Appends the answer to `output`, if it can be given at once; otherwise it is sent later.
    fn answer(&self, one: &Arrived, packet: &[u8], scratch: &mut Scratch, output: &mut Vec<u8>) {
        let Some(address) = address(&one.client) else { return };
        let asker = Asker { address, transport: Transport::Udp };
        if self.handler.answer_at_once(packet, asker, scratch, output) {
            return;
        }
        let start = Instant::now();
        let (handler, packet) = (Arc::clone(&self.handler), packet.to_vec());
        let mut reply = Box::pin(async move { handler.reply(&packet, asker).await });
        // Most answers wait for nothing, and those need no task.
        match reply.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Reply::One(bytes)) => output.extend_from_slice(&bytes),
            Poll::Ready(Reply::Silence | Reply::Many(_)) => {}
            Poll::Pending if self.waiting.len() >= WAITING => {}
            Poll::Pending => {
                let (socket, handler, one) =
                    (Arc::clone(&self.socket), Arc::clone(&self.handler), *one);
                let later = async move {
                    if let Reply::One(bytes) = reply.await {
                        send_one(&socket, &one, &bytes);
                        handler.counters.took(start.elapsed(), 1);
                    }
                };
                self.waiting.spawn_on(later, &self.runtime);
            }
        }
    }

    fn send(&self, arrived: &[Arrived], output: &[u8], replies: &[(usize, Range<usize>)]) {
        if self.wildcard {
            for (index, reply) in replies {
                send_one(&self.socket, &arrived[*index], &output[reply.clone()]);
            }
            return;
        }
        let mut rest = replies;
        while !rest.is_empty() {
            let slices: Vec<_> =
                rest.iter().map(|(_, reply)| [IoSlice::new(&output[reply.clone()])]).collect();
            let clients: Vec<_> =
                rest.iter().map(|(index, _)| Some(arrived[*index].client)).collect();
            let mut headers = MultiHeaders::preallocate(rest.len(), None);
            let fd = self.socket.as_raw_fd();
            let sent = sendmmsg(fd, &mut headers, slices.iter(), clients, [], MsgFlags::empty())
                .map(Iterator::count);
            match sent {
                Ok(count) => rest = &rest[count..],
                Err(Errno::EINTR) => {}
                Err(error) => {
                    // It is about the first one; the client is out of reach.
                    debug!(error = %error, "answer not sent");
                    rest = &rest[1..];
                }
            }
        }
    }
}

fn send_one(socket: &UdpSocket, one: &Arrived, bytes: &[u8]) {
    let slices = [IoSlice::new(bytes)];
    let client = Some(&one.client);
    let fd = socket.as_raw_fd();
    let sent = match one.asked {
        Some(Asked::V4(info)) => {
            // The way back may be another one than the way here.
            let from = in_pktinfo { ipi_ifindex: 0, ..info };
            sendmsg(
                fd,
                &slices,
                &[ControlMessage::Ipv4PacketInfo(&from)],
                MsgFlags::empty(),
                client,
            )
        }
        Some(Asked::V6(info)) => sendmsg(
            fd,
            &slices,
            &[ControlMessage::Ipv6PacketInfo(&info)],
            MsgFlags::empty(),
            client,
        ),
        None => sendmsg(fd, &slices, &[], MsgFlags::empty(), client),
    };
    if let Err(error) = sent {
        debug!(error = %error, "answer not sent");
    }
}

fn address(client: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = client.as_sockaddr_in() {
        return Some(SocketAddr::V4((*v4).into()));
    }
    client.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into()))
}
