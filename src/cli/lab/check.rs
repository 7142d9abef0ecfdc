//! Is it one cluster? Asked with the same gRPC calls that every client makes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tonic::transport::{Channel, Endpoint};

use super::Error;
use super::screen::Screen;
use super::sketch::{Node, Sketch};
use crate::cli::output::counted;
use crate::membership::{ClusterId, MemberId};
use crate::proto::etcdserverpb::cluster_client::ClusterClient;
use crate::proto::etcdserverpb::kv_client::KvClient;
use crate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use crate::proto::etcdserverpb::{MemberListRequest, PutRequest, RangeRequest, StatusRequest};

const CALL: Duration = Duration::from_secs(5);

/// One node and the way to it.
struct Client<'a> {
    node: &'a Node,
    channel: Channel,
}

/// Compares what all nodes say about the cluster, then writes through each and reads through all.
pub(super) async fn cluster(sketch: &Sketch, screen: &Screen) -> Result<(), Error> {
    let clients: Vec<Client<'_>> =
        sketch.nodes.iter().map(Client::new).collect::<Result<_, _>>()?;
    let mut views = BTreeSet::new();
    for client in &clients {
        views.insert(client.view().await?);
    }
    let (Some(view), 1) = (views.first(), views.len()) else {
        let problem = format!("nodes disagree: {views:?}");
        return Err(Error::Check { node: "cluster".to_owned(), what: "member list", problem });
    };
    let members = counted(view.members.len(), "member");
    screen.step(format_args!("one cluster    {}, {members}", view.cluster));
    for (id, name) in &view.members {
        let leads = if *id == view.leader { "  (leader)" } else { "" };
        screen.step(format_args!("  {id:<16}  {name}{leads}"));
    }
    for writer in &clients {
        let started = Instant::now();
        let key = format!("quorate/lab/{}", writer.node.name);
        writer.put(&key, "written by the lab").await?;
        let written = started.elapsed();
        for reader in &clients {
            reader.expect(&key, "written by the lab").await?;
        }
        screen.step(format_args!(
            "write and read written through {} in {:.1} ms, read back through {} in {:.1} ms",
            writer.node.name,
            written.as_secs_f64() * 1e3,
            counted(clients.len(), "node"),
            (started.elapsed() - written).as_secs_f64() * 1e3,
        ));
    }
    Ok(())
}

/// What one node says about the cluster.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct View {
    cluster: ClusterId,
    leader: MemberId,
    members: Vec<(MemberId, String)>,
}

impl<'a> Client<'a> {
    fn new(node: &'a Node) -> Result<Self, Error> {
        let endpoint = Endpoint::from_shared(node.client_url.clone());
        let endpoint = endpoint.map_err(|error| failed(node, "address", &error))?;
        Ok(Self { node, channel: endpoint.timeout(CALL).connect_timeout(CALL).connect_lazy() })
    }

    async fn view(&self) -> Result<View, Error> {
        let mut cluster = ClusterClient::new(self.channel.clone());
        let list = cluster.member_list(MemberListRequest { linearizable: true }).await;
        let list = list.map_err(|status| refused(self.node, "member list", &status))?.into_inner();
        let mut maintenance = MaintenanceClient::new(self.channel.clone());
        let status = maintenance.status(StatusRequest {}).await;
        let status = status.map_err(|status| refused(self.node, "status", &status))?.into_inner();
        let members = list.members.into_iter().map(|member| (MemberId(member.id), member.name));
        let mut members: Vec<_> = members.collect();
        members.sort();
        let cluster = ClusterId(list.header.unwrap_or_default().cluster_id);
        Ok(View { cluster, leader: MemberId(status.leader), members })
    }

    async fn put(&self, key: &str, value: &str) -> Result<(), Error> {
        let request = PutRequest {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            ..PutRequest::default()
        };
        let put = KvClient::new(self.channel.clone()).put(request).await;
        put.map(drop).map_err(|status| refused(self.node, "put", &status))
    }

    async fn expect(&self, key: &str, value: &str) -> Result<(), Error> {
        let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
        let range = KvClient::new(self.channel.clone()).range(request).await;
        let range = range.map_err(|status| refused(self.node, "range", &status))?.into_inner();
        match range.kvs.first() {
            Some(found) if found.value == value.as_bytes() => Ok(()),
            found => {
                let problem = format!("`{key}` is {found:?}, acknowledged was `{value}`");
                Err(Error::Check { node: self.node.name.clone(), what: "range", problem })
            }
        }
    }
}

fn refused(node: &Node, what: &'static str, status: &tonic::Status) -> Error {
    let problem = format!("{}: {}", status.code(), status.message());
    Error::Check { node: node.name.clone(), what, problem }
}

fn failed(node: &Node, what: &'static str, error: &dyn std::error::Error) -> Error {
    Error::Check { node: node.name.clone(), what, problem: error.to_string() }
}
