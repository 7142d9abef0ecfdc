use std::error::Error;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{Bound, Catalog, Settings, serve};

mod agreed;
mod differential;
mod forward;
mod fuzz;
mod hosts;
mod protocol;
mod published;
mod reload;
mod rfc;
mod upstream;
mod wire;

/// Far more than anything here takes; only a failure waits for it.
const DEADLINE: Duration = Duration::from_secs(60);
const RFC_ZONE: &str = include_str!("../zone/testdata/rfc.test.zone");

/// A server of its own on a port of its own, stopped and waited for when dropped.
struct Service {
    catalog: Arc<Catalog>,
    address: SocketAddr,
    stop: CancellationToken,
    task: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
    runtime: Option<tokio::runtime::Runtime>,
    zones: TempDir,
}

impl Service {
    fn start(files: &[(&str, &str)]) -> Self {
        Self::start_with(files, Settings::default())
    }

    fn start_with(files: &[(&str, &str)], settings: Settings) -> Self {
        let zones = TempDir::new().unwrap();
        for (file, text) in files {
            std::fs::write(zones.path().join(file), text).unwrap();
        }
        let (catalog, warnings) = Catalog::load(zones.path()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        Self::serving(catalog, zones, settings)
    }

    fn serving(catalog: Catalog, zones: TempDir, settings: Settings) -> Self {
        let catalog = Arc::new(catalog);
        let bound = Bound::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = bound.local_addr();
        let stop = CancellationToken::new();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let serving = serve(vec![bound], Arc::clone(&catalog), settings, stop.clone());
        let task = Some(runtime.spawn(serving));
        Self { catalog, address, stop, task, runtime: Some(runtime), zones }
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.zones.path().join(file)
    }

    /// Stops the server; it has to end by itself and without an error.
    fn stop(&mut self) {
        self.stop.cancel();
        if let (Some(task), Some(runtime)) = (self.task.take(), &self.runtime) {
            let ended = runtime.block_on(async { tokio::time::timeout(DEADLINE, task).await });
            ended.unwrap().unwrap().unwrap();
        }
    }

    fn udp(&self, packet: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        socket.connect(self.address).unwrap();
        let mut answer = vec![0; 65535];
        // Datagrams get lost on a busy machine, so clients ask again.
        let mut attempts = (0..10).map(|_| {
            socket.send(packet).unwrap();
            socket.recv(&mut answer)
        });
        let length = attempts.find_map(Result::ok).expect("an answer within ten attempts");
        answer.truncate(length);
        answer
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    fn tcp(&self, packet: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        send(&mut stream, packet);
        receive(&mut stream)
    }

    fn ask(&self, name: &str, kind: RecordType) -> Message {
        let packet = question(name, kind).to_vec().unwrap();
        Message::from_vec(&self.udp(&packet)).unwrap()
    }

    /// The data of the answers, one after the other.
    fn data(&self, name: &str, kind: RecordType) -> Vec<String> {
        let answer = self.ask(name, kind);
        let mut data: Vec<String> =
            answer.answers.iter().map(|record| record.data.to_string()).collect();
        data.sort();
        data
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn send(stream: &mut TcpStream, packet: &[u8]) {
    let length = u16::try_from(packet.len()).unwrap();
    stream.write_all(&[&length.to_be_bytes()[..], packet].concat()).unwrap();
}

fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut packet).unwrap();
    packet
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x2222, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

/// Waits until `done`; a test that waits in vain fails.
fn eventually(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Scripts of `dig NAME TYPE [tcp] [noedns] [bufsize=N] [version=N] [do] [z] [option] [rec]
/// [class=C] [opcode=N] [empty] [tsig]`; names are relative to the zone.
struct Runner {
    service: Service,
}

impl goldenscript::Runner for Runner {
    type Command = goldenscript::Command;

    fn run(
        &mut self,
        command: &goldenscript::Command,
        _context: &goldenscript::Context,
    ) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let name = args.next_pos().ok_or("a name")?;
        let name = match name {
            "@" => "rfc.test.".to_owned(),
            name if name.ends_with('.') => name.to_owned(),
            name => format!("{name}.rfc.test."),
        };
        let kind = args.next_pos().ok_or("a type")?;
        let kind = match kind.strip_prefix("TYPE") {
            Some(number) => RecordType::from(number.parse::<u16>()?),
            None => kind.parse()?,
        };
        let mut message = question(&name, kind);
        let mut edns = Some(Edns::new());
        let mut tcp = false;
        if let Some(size) = args.take_key("bufsize") {
            edns.as_mut().ok_or("edns")?.set_max_payload(size.parse()?);
        }
        if let Some(version) = args.take_key("version") {
            edns.as_mut().ok_or("edns")?.set_version(version.parse()?);
        }
        if let Some(class) = args.take_key("class") {
            message.queries[0].set_query_class(class.parse::<DNSClass>()?);
        }
        if let Some(opcode) = args.take_key("opcode") {
            message.metadata.op_code = OpCode::from_u8(opcode.parse()?);
        }
        while let Some(flag) = args.next_pos() {
            match flag {
                "tcp" => tcp = true,
                "noedns" => edns = None,
                "rec" => message.metadata.recursion_desired = true,
                "empty" => message.queries.clear(),
                "twice" => message.queries.push(message.queries[0].clone()),
                "do" => drop(edns.as_mut().map(|edns| edns.set_dnssec_ok(true).version())),
                "z" => edns.as_mut().ok_or("edns")?.flags_mut().z = 0x40,
                "option" => {
                    let options = edns.as_mut().ok_or("edns")?.options_mut();
                    options.insert(EdnsOption::Unknown(65001, vec![0x78]));
                }
                other => return Err(format!("unknown flag {other}").into()),
            }
        }
        args.reject_next()?;
        if let Some(edns) = edns {
            message.set_edns(edns);
        }
        let packet = message.to_vec()?;
        let reply = if tcp { self.service.tcp(&packet) } else { self.service.udp(&packet) };
        show(&reply)
    }
}

fn show(reply: &[u8]) -> Result<String, Box<dyn Error>> {
    const SHOWN: usize = 8;
    let message = Message::from_vec(reply)?;
    assert_eq!(message.id, 0x2222);
    assert_eq!(message.message_type, MessageType::Response);
    let mut out = match message.response_code {
        // The number means one thing in an OPT record and another in a signature.
        ResponseCode::BADSIG if message.edns.is_some() => "BadVers".to_owned(),
        code => format!("{code:?}"),
    };
    for (flag, set) in [
        ("aa", message.authoritative),
        ("tc", message.truncation),
        ("rd", message.recursion_desired),
        ("ra", message.recursion_available),
        ("ad", message.authentic_data),
    ] {
        if set {
            write!(out, " {flag}")?;
        }
    }
    let sizes = [(512, "at most 512"), (1232, "at most 1232"), (65535, "more than 1232")];
    let size = sizes.iter().find(|(limit, _)| reply.len() <= *limit).ok_or("too long")?.1;
    writeln!(out, ", {size} bytes")?;
    if let Some(edns) = &message.edns {
        let options = edns.options().as_ref().len();
        let (version, size, flags) = (edns.version(), edns.max_payload(), edns.flags());
        writeln!(
            out,
            "edns: version {version}, size {size}, do {}, z {}, options {options}",
            flags.dnssec_ok, flags.z
        )?;
    }
    for query in &message.queries {
        writeln!(out, "question: {} {}", query.name(), type_text(query.query_type()))?;
    }
    for (section, records) in [
        ("answer", &message.answers),
        ("authority", &message.authorities),
        ("additional", &message.additionals),
    ] {
        let mut texts: Vec<String> = records.iter().map(record_text).collect();
        // Servers come in random order.
        if records.iter().all(|record| record.record_type() == RecordType::SRV) {
            texts.sort();
        }
        for text in texts.iter().take(SHOWN) {
            writeln!(out, "{section}: {text}")?;
        }
        if records.len() > SHOWN {
            writeln!(out, "{section}: and {} more", records.len() - SHOWN)?;
        }
    }
    Ok(out)
}

fn type_text(kind: RecordType) -> String {
    match kind {
        RecordType::Unknown(number) => format!("TYPE{number}"),
        kind => kind.to_string(),
    }
}

fn record_text(record: &Record) -> String {
    let data = match &record.data {
        RData::Unknown { rdata, .. } => format!("{:02x?}", rdata.anything),
        data => data.to_string(),
    };
    format!("{} {} {} {data}", record.name, record.ttl, type_text(record.record_type()))
}

/// The RFC checklist, over real sockets.
#[test]
fn checklist() {
    let service = Service::start(&[("rfc.test.zone", RFC_ZONE)]);
    let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/dns_server/testdata"));
    goldenscript::run(&mut Runner { service }, script.join("checklist.txt")).unwrap();
}
