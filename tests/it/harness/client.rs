use std::process::{Command, Output};
use std::time::Duration;

use quorate::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::lease_client::LeaseClient;
use quorate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::{
    HashKvRequest, LeaseGrantRequest, LeaseKeepAliveRequest, Member, MemberAddRequest,
    MemberListRequest, MemberPromoteRequest, MemberRemoveRequest, PutRequest, RangeRequest,
    RangeResponse, RequestOp, StatusRequest, StatusResponse, TxnRequest, TxnResponse,
};
use tokio::runtime::Runtime;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::tools;

/// No single call takes longer; a node without a majority must say so sooner, after seven seconds on an idle machine.
const CALL: Duration = Duration::from_secs(60);

/// A gRPC client of one node, for tests that do not await.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    channel: Channel,
}

/// A write that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    pub key: String,
    pub value: String,
    pub revision: i64,
}

impl Client {
    pub fn connect(url: &str) -> Self {
        Self::connect_for(url, CALL)
    }

    /// A client whose calls end after so long.
    pub fn connect_for(url: &str, call: Duration) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let endpoint = Endpoint::from_shared(url.to_owned()).unwrap().timeout(call);
        let channel = {
            let _inside = runtime.enter();
            endpoint.connect_timeout(call).connect_lazy()
        };
        Self { runtime, channel }
    }

    pub fn put(&self, key: &str, value: &str) -> Result<Put, Status> {
        let request = PutRequest {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            ..PutRequest::default()
        };
        let mut kv = KvClient::new(self.channel.clone());
        let answer = self.runtime.block_on(kv.put(request))?.into_inner();
        let revision = answer.header.expect("every answer has a header").revision;
        Ok(Put { key: key.to_owned(), value: value.to_owned(), revision })
    }

    pub fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Status> {
        let mut kv = KvClient::new(self.channel.clone());
        Ok(self.runtime.block_on(kv.txn(request))?.into_inner())
    }

    /// Gives a lease this long, and a key to it.
    pub fn lease_key(&self, key: &str, ttl_seconds: i64) -> Result<i64, Status> {
        let mut leases = LeaseClient::new(self.channel.clone());
        let request = LeaseGrantRequest { ttl: ttl_seconds, ..LeaseGrantRequest::default() };
        let lease = self.runtime.block_on(leases.lease_grant(request))?.into_inner().id;
        let put = PutRequest { key: key.to_owned().into(), lease, ..PutRequest::default() };
        let mut kv = KvClient::new(self.channel.clone());
        self.runtime.block_on(kv.put(put))?;
        Ok(lease)
    }

    /// The seconds the lease was renewed for; 0 when there is none.
    pub fn keep_alive(&self, id: i64) -> Result<i64, Status> {
        let mut leases = LeaseClient::new(self.channel.clone());
        let one = tokio_stream::once(LeaseKeepAliveRequest { id });
        self.runtime.block_on(async {
            let mut answers = leases.lease_keep_alive(one).await?.into_inner();
            let none = || Status::unavailable("the stream ended without an answer");
            Ok(answers.message().await?.ok_or_else(none)?.ttl)
        })
    }

    /// Writes many keys at once, with values of `bytes` bytes.
    pub fn put_many(&self, keys: &[String], bytes: usize) -> Result<(), Status> {
        let put = |key: &String| RequestOp {
            request: Some(Request::RequestPut(PutRequest {
                key: key.clone().into(),
                value: vec![b'v'; bytes].into(),
                ..PutRequest::default()
            })),
        };
        let request =
            TxnRequest { success: keys.iter().map(put).collect(), ..TxnRequest::default() };
        let mut kv = KvClient::new(self.channel.clone());
        self.runtime.block_on(kv.txn(request)).map(drop)
    }

    /// The value of a key, linearizable.
    pub fn get(&self, key: &str) -> Result<Option<String>, Status> {
        let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
        let answer = self.range(request)?;
        Ok(answer.kvs.first().map(|kv| String::from_utf8_lossy(&kv.value).into_owned()))
    }

    pub fn range(&self, request: RangeRequest) -> Result<RangeResponse, Status> {
        let mut kv = KvClient::new(self.channel.clone()).max_decoding_message_size(64 << 20);
        Ok(self.runtime.block_on(kv.range(request))?.into_inner())
    }

    pub fn status(&self) -> Result<StatusResponse, Status> {
        let mut maintenance = MaintenanceClient::new(self.channel.clone());
        Ok(self.runtime.block_on(maintenance.status(StatusRequest {}))?.into_inner())
    }

    /// Hash over all the node holds, and the revision it is of.
    pub fn hash(&self) -> Result<(i64, u32), Status> {
        let mut maintenance = MaintenanceClient::new(self.channel.clone());
        let request = HashKvRequest { revision: 0 };
        let answer = self.runtime.block_on(maintenance.hash_kv(request))?.into_inner();
        Ok((answer.header.expect("every answer has a header").revision, answer.hash))
    }

    pub fn add_member(&self, peer_url: String) -> Result<(), Status> {
        let mut cluster = ClusterClient::new(self.channel.clone());
        let request = MemberAddRequest { peer_ur_ls: vec![peer_url], is_learner: false };
        self.runtime.block_on(cluster.member_add(request)).map(drop)
    }

    /// Adds a member without a vote; its id.
    pub fn add_learner(&self, peer_url: String) -> Result<u64, Status> {
        let mut cluster = ClusterClient::new(self.channel.clone());
        let request = MemberAddRequest { peer_ur_ls: vec![peer_url], is_learner: true };
        let answer = self.runtime.block_on(cluster.member_add(request))?.into_inner();
        Ok(answer.member.expect("the answer has the new member").id)
    }

    pub fn remove_member(&self, id: u64) -> Result<(), Status> {
        let mut cluster = ClusterClient::new(self.channel.clone());
        self.runtime.block_on(cluster.member_remove(MemberRemoveRequest { id })).map(drop)
    }

    pub fn promote_member(&self, id: u64) -> Result<(), Status> {
        let mut cluster = ClusterClient::new(self.channel.clone());
        self.runtime.block_on(cluster.member_promote(MemberPromoteRequest { id })).map(drop)
    }

    /// The cluster's id and its members, as this node sees them.
    pub fn members(&self) -> Result<(u64, Vec<Member>), Status> {
        let mut cluster = ClusterClient::new(self.channel.clone());
        let request = MemberListRequest { linearizable: false };
        let answer = self.runtime.block_on(cluster.member_list(request))?.into_inner();
        Ok((answer.header.expect("every answer has a header").cluster_id, answer.members))
    }
}

/// Runs `etcdctl` (v3); `None` when it is not installed.
pub fn etcdctl(endpoints: &str, arguments: &[&str]) -> Option<Output> {
    let program = tools::etcdctl()?;
    let mut command = Command::new(program);
    command.env("ETCDCTL_API", "3").arg(format!("--endpoints={endpoints}")).args(arguments);
    Some(command.output().unwrap())
}
