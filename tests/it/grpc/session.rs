//! A run of a script: its calls again, with the answers of these members.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BufMut as _, Bytes};
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, MethodDescriptor,
    ReflectMessage as _,
};
use quorate::proto::etcdserverpb::auth_client::AuthClient;
use quorate::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate::proto::etcdserverpb::{AuthenticateRequest, MemberAddRequest, MemberListRequest};
use serde_json::Value as Json;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{MetadataKey, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use super::message;
use crate::harness::{Flavor, Node, leader, wait};

/// How long a message may take that is expected: much more than it does.
const PATIENCE: Duration = Duration::from_secs(60);
/// Ids that were drawn are larger.
const DRAWN: u64 = 1 << 40;

pub(super) struct Session {
    flavor: Flavor,
    nodes: Vec<Node>,
    dir: PathBuf,
    runtime: Runtime,
    channels: Vec<Channel>,
    pool: DescriptorPool,
    /// Ids of members, in the order in which they were seen.
    members: Vec<u64>,
    /// Leases with ids that the server has drawn.
    leases: Vec<u64>,
    /// A field that is not compared.
    hidden: Option<String>,
    /// What every call carries.
    metadata: Vec<(String, String)>,
    /// Tokens of users, by name; the one that a call drew last is `login`.
    tokens: BTreeMap<String, String>,
    /// Those that stay open, by name.
    streams: BTreeMap<String, Open>,
}

struct Open {
    input: MessageDescriptor,
    requests: mpsc::Sender<DynamicMessage>,
    answers: Streaming<Bytes>,
    output: MessageDescriptor,
}

/// What stands in front of a call, in parentheses.
#[derive(Default)]
struct How<'a> {
    /// Messages to read of a stream.
    count: Option<usize>,
    user: Option<(&'a str, &'a str)>,
    /// Under which name the token is to be remembered.
    keep: Option<&'a str>,
    /// Which remembered token goes along.
    kept: Option<&'a str>,
    metadata: Vec<(&'a str, &'a str)>,
    to: Option<&'a str>,
    stream: Option<&'a str>,
    /// Whether to ask again until the recorded answer comes.
    again: bool,
}

impl Session {
    pub(super) fn new(
        flavor: Flavor,
        nodes: Vec<Node>,
        dir: &std::path::Path,
        hidden: Option<&str>,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let channels = nodes.iter().map(|node| channel(&runtime, &node.client_url())).collect();
        let pool = DescriptorPool::decode(quorate::proto::DESCRIPTORS).unwrap();
        let id = |node: &Node| node.client().status().unwrap().header.unwrap().member_id;
        let members = nodes.iter().map(id).collect();
        Self {
            flavor,
            nodes,
            dir: dir.to_owned(),
            runtime,
            channels,
            pool,
            members,
            leases: Vec::new(),
            hidden: hidden.map(str::to_owned),
            metadata: Vec::new(),
            tokens: BTreeMap::new(),
            streams: BTreeMap::new(),
        }
    }

    /// Of a discovery service, which has no members; every call carries the metadata, `name=value name=value`.
    pub(super) fn of_service(url: &str, metadata: &str) -> Self {
        let mut session = Self::new(Flavor::Ours, Vec::new(), std::path::Path::new(""), None);
        session.channels.push(channel(&session.runtime, url));
        let pairs = metadata.split(' ').filter_map(|pair| pair.split_once('='));
        session.metadata.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        session
    }

    /// The script again, with these answers; comments and `~` lines stay.
    pub(super) fn run(&mut self, script: &str) -> String {
        let mut answered = String::new();
        let lines: Vec<&str> = script.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            if line.is_empty() || line.starts_with(['#', '~']) {
                answered += &format!("{line}\n");
            }
            let Some(command) = line.strip_prefix("> ") else { continue };
            let recorded: Vec<&str> = lines[at + 1..]
                .iter()
                .take_while(|line| !line.starts_with('>'))
                .filter(|line| !line.is_empty() && !line.starts_with(['#', '~']))
                .copied()
                .collect();
            let mut answer = self.call(command, &recorded.join("\n"));
            for (member, number) in self.members.iter().zip(1..) {
                // As text, in the errors of a status.
                answer = answer.replace(&member.to_string(), &format!("$m{number}"));
            }
            answered += &format!("{line}\n{answer}");
        }
        answered
    }

    /// One call; what was recorded is only for `again`.
    pub(super) fn call(&mut self, command: &str, recorded: &str) -> String {
        let (how, rest) = how(command);
        let rest = self.with_ids(rest);
        let (verb, rest) = rest.split_once(' ').unwrap_or((&rest, ""));
        match verb {
            "kill" => self.kill(rest),
            "start" => self.start(rest.parse().unwrap()),
            "learner" => self.join_learner(),
            "resume" => {
                let open = self.streams.get_mut(how.stream.unwrap()).unwrap();
                for request in requests(&open.input, rest) {
                    open.requests.try_send(request).unwrap();
                }
                return self.hear(how.stream.unwrap(), how.count.unwrap_or(1));
            }
            method => {
                let started = Instant::now();
                let mut answer = String::new();
                wait("the recorded answer", || {
                    answer = self.ask(&how, method, rest);
                    let same = recorded.is_empty() || answer.trim_end() == recorded;
                    (!how.again || same || started.elapsed() > 2 * PATIENCE).then_some(())
                });
                return answer;
            }
        }
        String::new()
    }

    fn with_ids(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, ids) in [("$m", &self.members), ("$l", &self.leases)] {
            for (number, id) in (1..).zip(ids) {
                text = text.replace(&format!("{name}{number}"), &id.to_string());
            }
        }
        text
    }

    /// A place among the members, from 0.
    fn place(&self, of: Option<&str>) -> usize {
        match of {
            None => 0,
            Some("leader") => leader(&self.nodes),
            Some("follower") => {
                let leader = leader(&self.nodes);
                usize::from(leader == 0)
            }
            Some(number) => number.parse::<usize>().unwrap() - 1,
        }
    }

    fn kill(&mut self, which: &str) {
        let place = self.place(Some(which));
        self.nodes[place].kill();
    }

    fn start(&mut self, number: usize) {
        self.nodes[number - 1].start();
        self.nodes[number - 1].wait_until_healthy();
    }

    /// Adds one more member, as a learner, and starts it.
    fn join_learner(&mut self) {
        let name = format!("n{}", self.nodes.len() + 1);
        let mut node = Node::new(self.flavor, &name, &self.dir).unwrap();
        let url = node.peer_url();
        let led = self.channels[leader(&self.nodes)].clone();
        let request = MemberAddRequest { peer_ur_ls: vec![url.clone()], is_learner: true };
        // What failed for the client, such as by a change of the leader, may have been done.
        let add = || {
            let mut cluster = ClusterClient::new(led.clone());
            let members = self.runtime.block_on(async {
                if let Ok(added) = cluster.member_add(request.clone()).await {
                    return Some(added.into_inner().members);
                }
                let list = MemberListRequest { linearizable: true };
                Some(cluster.member_list(list).await.ok()?.into_inner().members)
            })?;
            members.into_iter().find(|member| member.peer_ur_ls == [url.clone()])
        };
        let id = wait("the learner to be added", add).id;
        let list = crate::harness::initial_cluster(&self.nodes);
        node.bootstrap = vec![
            format!("--initial-cluster={list},{name}={url}"),
            "--initial-cluster-state=existing".to_owned(),
        ];
        node.start();
        let quick = || crate::harness::Client::connect_for(&node.client_url(), PATIENCE).status();
        wait("the learner to follow", || quick().ok().filter(|status| status.leader != 0));
        self.channels.push(channel(&self.runtime, &node.client_url()));
        self.nodes.push(node);
        self.members.push(id);
    }

    fn ask(&mut self, how: &How<'_>, method: &str, bodies: &str) -> String {
        let channel = self.channels[self.place(how.to)].clone();
        let drawn = how.user.map(|(name, password)| self.token(channel.clone(), name, password));
        let token = drawn.or_else(|| how.kept.map(|name| self.tokens[name].clone()));
        if let (Some(name), Some(token)) = (how.keep, &token) {
            self.tokens.insert(name.to_owned(), token.clone());
        }
        let (path, kind) = self.method(method);
        let empty = self.pool.get_message_by_name("etcdserverpb.StatusRequest").unwrap();
        let (input, output) = match &kind {
            Some(kind) => (kind.input(), kind.output()),
            None => (empty.clone(), empty),
        };
        let messages = requests(&input, bodies);
        let (send, receive) = mpsc::channel(64);
        for message in messages {
            send.try_send(message).unwrap();
        }
        let streams = kind.as_ref().is_some_and(|kind| kind.is_client_streaming());
        // Whoever sends one message has sent all.
        let kept = (streams && how.count.is_some()).then_some(send);
        let mut request = Request::new(ReceiverStream::new(receive));
        if !streams && bodies.is_empty() {
            let (send, receive) = mpsc::channel(1);
            send.try_send(DynamicMessage::new(input.clone())).unwrap();
            *request.get_mut() = ReceiverStream::new(receive);
        }
        let own = token.as_deref().map(|token| ("token", token));
        let always = self.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.into_iter().chain(how.metadata.iter().copied()).chain(always) {
            let name = MetadataKey::from_bytes(name.as_bytes()).unwrap();
            request.metadata_mut().insert(name, MetadataValue::try_from(value).unwrap());
        }
        let opened = self.runtime.block_on(async {
            let mut client =
                tonic::client::Grpc::new(channel).max_decoding_message_size(usize::MAX);
            client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
            let call = client.streaming(request, path.parse().unwrap(), Raw);
            let late = |_| Status::unknown("(no answer)");
            tokio::time::timeout(PATIENCE, call).await.map_err(late)?
        });
        let answers = match opened {
            Ok(answers) => answers.into_inner(),
            Err(status) => return refusal(&status),
        };
        let name = how.stream.unwrap_or("");
        let requests = kept.unwrap_or_else(|| mpsc::channel(1).0);
        self.streams.insert(name.to_owned(), Open { input, requests, answers, output });
        let heard = self.hear(name, how.count.unwrap_or(usize::MAX));
        self.streams.remove("");
        heard
    }

    /// So many messages of a stream, or all until it ends.
    fn hear(&mut self, stream: &str, count: usize) -> String {
        let mut open = self.streams.remove(stream).unwrap();
        let mut text = String::new();
        let mut shown = 0;
        while shown < count {
            let next = async { tokio::time::timeout(PATIENCE, open.answers.message()).await };
            match self.runtime.block_on(next) {
                Err(_) => {
                    text += "(nothing)\n";
                    break;
                }
                Ok(Ok(None)) => {
                    text += if shown == 0 || count != usize::MAX { "(end)\n" } else { "" };
                    break;
                }
                Ok(Err(status)) => {
                    text += &refusal(&status);
                    break;
                }
                Ok(Ok(Some(bytes))) => {
                    let message = DynamicMessage::decode(open.output.clone(), bytes).unwrap();
                    self.learn(&message);
                    text += &message::show(&message, &|field, value| self.name(field, value));
                    text.push('\n');
                    shown += 1;
                }
            }
        }
        self.streams.insert(stream.to_owned(), open);
        text
    }

    /// Remembers what the server has drawn.
    fn learn(&mut self, message: &DynamicMessage) {
        let text = message::show(message, &|_, _| None);
        let json: Json = serde_json::from_str(&text).unwrap_or_default();
        let new =
            |ids: &[u64], id: &Json| id.as_u64().filter(|id| *id > DRAWN && !ids.contains(id));
        match message.descriptor().name() {
            "LeaseGrantResponse" => self.leases.extend(new(&self.leases, &json["ID"])),
            "AuthenticateResponse" => {
                let token = json["token"].as_str().unwrap_or_default();
                drop(self.tokens.insert("login".to_owned(), token.to_owned()));
            }
            "MemberAddResponse" => self.members.extend(new(&self.members, &json["member"]["ID"])),
            _ => {}
        }
    }

    /// What differs from run to run has a name instead.
    fn name(&self, field: &FieldDescriptor, value: u64) -> Option<String> {
        let named = |sign: char, ids: &[u64]| {
            let place = ids.iter().position(|id| *id == value)?;
            Some(format!("${sign}{}", place + 1))
        };
        let kind = field.full_name();
        let name = kind.rsplit('.').next().unwrap();
        match (kind.rsplit('.').nth(1).unwrap(), name) {
            _ if self.hidden.as_deref() == Some(name) => Some("N".to_owned()),
            (_, "cluster_id") => Some("CLUSTER".to_owned()),
            (_, "raft_term" | "raftTerm") if value > 0 => Some("TERM".to_owned()),
            ("StatusResponse", "raftIndex" | "raftAppliedIndex" | "dbSize") => Some("N".to_owned()),
            ("HashResponse", "hash") | ("SnapshotResponse", "remaining_bytes") => {
                Some("N".to_owned())
            }
            ("LeaseTimeToLiveResponse", "TTL") if value < DRAWN => Some("N".to_owned()),
            ("StatusResponse", "version") => Some("VERSION".to_owned()),
            ("AuthenticateResponse", "token") => Some("TOKEN".to_owned()),
            ("Member", "peerURLs" | "clientURLs") => Some("URL".to_owned()),
            // Who leads and who follows differs, and a service has an id of its own.
            ("ResponseHeader", "member_id") if self.nodes.len() != 1 => Some("MEMBER".to_owned()),
            (_, "member_id" | "memberID" | "leader" | "targetID") => named('m', &self.members),
            ("Member", "ID") => named('m', &self.members),
            (_, "ID" | "lease") => named('l', &self.leases),
            _ => None,
        }
    }

    fn token(&self, channel: Channel, name: &str, password: &str) -> String {
        let (name, password) = (name.to_owned(), password.to_owned());
        let request = AuthenticateRequest { name, password };
        let answer = self.runtime.block_on(AuthClient::new(channel).authenticate(request));
        answer.unwrap().into_inner().token
    }

    /// `KV/Put`: the services of etcd need no package.
    fn method(&self, name: &str) -> (String, Option<MethodDescriptor>) {
        let (service, method) = name.split_once('/').unwrap();
        let service = if service.contains('.') {
            service.to_owned()
        } else {
            format!("etcdserverpb.{service}")
        };
        let kind = self.pool.get_service_by_name(&service);
        let kind = kind.and_then(|kind| kind.methods().find(|it| it.name() == method));
        (format!("/{service}/{method}"), kind)
    }
}

fn channel(runtime: &Runtime, url: &str) -> Channel {
    let _inside = runtime.enter();
    Endpoint::from_shared(url.to_owned()).unwrap().connect_lazy()
}

/// JSON objects, one after the other.
fn requests(kind: &MessageDescriptor, bodies: &str) -> Vec<DynamicMessage> {
    let bodies = serde_json::Deserializer::from_str(bodies).into_iter::<Json>();
    bodies.map(|body| message::read(kind, &body.unwrap())).collect()
}

fn refusal(status: &Status) -> String {
    // The number of the request is another one each time.
    let text = status.message().split(" [request ").next().unwrap_or_default();
    format!("! {} {text}\n", i32::from(status.code()))
}

/// `(2, as root:pw, to leader) KV/Range {...}`.
fn how(command: &str) -> (How<'_>, &str) {
    let mut how = How::default();
    let Some((options, rest)) = command.strip_prefix('(').and_then(|it| it.split_once(") ")) else {
        return (how, command);
    };
    for option in options.split(", ") {
        match option.split_once(' ') {
            None if option == "again" => how.again = true,
            None => how.count = Some(option.parse().unwrap()),
            Some(("as", user)) => how.user = user.split_once(':'),
            Some(("keep", name)) => how.keep = Some(name),
            Some(("kept", name)) => how.kept = Some(name),
            Some(("with", pair)) => how.metadata.extend(pair.split_once('=')),
            Some(("to", member)) => how.to = Some(member),
            Some(("stream", name)) => how.stream = Some(name),
            Some(_) => panic!("no such option: {option}"),
        }
    }
    (how, rest)
}

/// Messages go out as they are and come in as bytes.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = DynamicMessage;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item.encode_to_vec());
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
