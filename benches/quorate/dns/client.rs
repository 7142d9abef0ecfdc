use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt, sockopt,
};

/// Datagrams that are moved with one call of the kernel.
const BATCH: usize = 64;
/// Questions without an answer at a time; what a small receive buffer holds for sure.
const WINDOW: usize = 128;
/// The longest that nothing may come before the questions that are out count as lost.
const PATIENCE: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 16;
/// Questions that are written together on one connection.
const PIPELINED: usize = 32;
const LONGEST: usize = 2048;

/// Packets to be asked one after the other, each with its place as its id, and what has to come.
#[derive(Debug, Default)]
pub(crate) struct Mix {
    packets: Vec<Vec<u8>>,
    /// Code and number of answers.
    expected: Vec<(u8, u8)>,
}

/// What one measurement saw.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    pub(crate) answers: usize,
    pub(crate) lost: usize,
    pub(crate) wrong: usize,
    pub(crate) seconds: f64,
    /// Of the server; whoever measures fills it.
    pub(crate) cpu_seconds: f64,
}

impl Sample {
    pub(crate) fn rate(&self) -> f64 {
        self.answers as f64 / self.seconds
    }

    pub(crate) fn cpu_micros(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.answers.max(1) as f64
    }
}

impl Mix {
    /// Adds a question as resolvers ask it: with recursion wanted and 1232 bytes offered.
    pub(crate) fn add(&mut self, name: &str, kind: u16, code: u8, answers: u8) {
        let id = u16::try_from(self.packets.len()).expect("fewer questions than ids");
        self.packets.push(question(id, name, kind));
        self.expected.push((code, answers));
    }

    fn is_right(&self, reply: &[u8]) -> bool {
        let [id0, id1, _, low, _, _, _, answers, ..] = *reply else { return false };
        let asked = usize::from(u16::from_be_bytes([id0, id1]));
        self.expected.get(asked) == Some(&(low & 0x0f, answers))
    }
}

/// A question of class IN with a plain OPT record.
pub(crate) fn question(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in name.trim_end_matches('.').split('.') {
        packet.push(u8::try_from(label.len()).expect("labels are short"));
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    packet.extend_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    packet
}

/// Asks over UDP, `window` questions at a time, until `more` says that it is enough.
pub(crate) fn udp(
    address: SocketAddr,
    mix: &Mix,
    window: usize,
    mut more: impl FnMut(&Sample) -> bool,
) -> Sample {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    setsockopt(&socket, sockopt::RcvBuf, &(4 << 20)).unwrap();
    let mut input = vec![0; BATCH * LONGEST];
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut next = 0;
    let (mut sample, started) = (Sample::default(), Instant::now());
    send(&socket, mix, &mut next, window);
    while more(&sample) {
        let mut slices: Vec<_> =
            input.chunks_exact_mut(LONGEST).map(|chunk| [IoSliceMut::new(chunk)]).collect();
        let flags = MsgFlags::MSG_WAITFORONE;
        let came = recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None);
        let lengths: Vec<usize> = match came {
            Ok(came) => came.map(|one| one.bytes).collect(),
            Err(Errno::EAGAIN) => {
                sample.lost += window;
                send(&socket, mix, &mut next, window);
                continue;
            }
            Err(Errno::EINTR) => continue,
            Err(error) => panic!("receiving from {address}: {error}"),
        };
        let replies = lengths.iter().zip(input.chunks_exact(LONGEST));
        let wrong = replies.filter(|(length, reply)| !mix.is_right(&reply[..**length]));
        sample.wrong += wrong.count();
        sample.answers += lengths.len();
        send(&socket, mix, &mut next, lengths.len());
    }
    sample.seconds = started.elapsed().as_secs_f64();
    sample
}

/// As fast as they are answered, for `span`.
pub(crate) fn udp_for(address: SocketAddr, mix: &Mix, span: Duration) -> Sample {
    let started = Instant::now();
    udp(address, mix, WINDOW, |_| started.elapsed() < span)
}

/// All questions once, a few at a time, so that whoever keeps answers has them.
pub(crate) fn warm(address: SocketAddr, mix: &Mix) -> Sample {
    udp(address, mix, 8, |sample| sample.answers < mix.packets.len() && sample.lost == 0)
}

fn send(socket: &UdpSocket, mix: &Mix, next: &mut usize, count: usize) {
    let mut rest = count;
    while rest > 0 {
        let places = (*next..*next + rest.min(BATCH)).map(|place| place % mix.packets.len());
        let slices: Vec<_> = places.map(|place| [IoSlice::new(&mix.packets[place])]).collect();
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(slices.len(), None);
        let to = vec![None; slices.len()];
        let fd = socket.as_raw_fd();
        let sent = sendmmsg(fd, &mut headers, slices.iter(), to, [], MsgFlags::empty())
            .map(Iterator::count)
            .unwrap();
        *next += sent;
        rest -= sent;
    }
}

/// Asks over some connections, on each a batch at a time: the server always has one to answer.
pub(crate) fn tcp_for(address: SocketAddr, mix: &Mix, span: Duration) -> Sample {
    let connect = |_| {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let mut streams: Vec<TcpStream> = (0..CONNECTIONS).map(connect).collect();
    let mut next = 0;
    let (mut sample, started) = (Sample::default(), Instant::now());
    streams.iter_mut().for_each(|stream| write(stream, mix, &mut next));
    let mut input = vec![0; PIPELINED * LONGEST];
    while started.elapsed() < span {
        for stream in &mut streams {
            read(stream, mix, &mut input, &mut sample);
            write(stream, mix, &mut next);
        }
    }
    sample.seconds = started.elapsed().as_secs_f64();
    sample
}

fn write(stream: &mut TcpStream, mix: &Mix, next: &mut usize) {
    let mut bytes = Vec::new();
    for _ in 0..PIPELINED {
        let packet = &mix.packets[*next % mix.packets.len()];
        bytes.extend(u16::try_from(packet.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(packet);
        *next += 1;
    }
    stream.write_all(&bytes).unwrap();
}

/// Reads one batch of answers.
fn read(stream: &mut TcpStream, mix: &Mix, input: &mut [u8], sample: &mut Sample) {
    let (mut have, mut at, mut answers) = (0, 0, 0);
    while answers < PIPELINED {
        have += match stream.read(&mut input[have..]).unwrap() {
            0 => panic!("the server closed a connection"),
            got => got,
        };
        while let Some((length, rest)) = input[at..have].split_first_chunk() {
            let length = usize::from(u16::from_be_bytes(*length));
            let Some(reply) = rest.get(..length) else { break };
            sample.wrong += usize::from(!mix.is_right(reply));
            answers += 1;
            at += 2 + length;
        }
    }
    sample.answers += answers;
}
