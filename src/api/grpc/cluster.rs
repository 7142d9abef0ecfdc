use std::time::{SystemTime, UNIX_EPOCH};

use tonic::{Request, Response, Status};

use super::caller::{require_name, require_root};
use super::error::{BAD_MEMBER_URLS, refuse};
use super::{On, admit};
use crate::membership::{Member, MemberId, PeerUrl};
use crate::node::Handle;
use crate::proto::etcdserverpb as pb;
use crate::proto::quorate::replica::MembershipChange;
use crate::proto::quorate::replica::membership_change::Kind;

/// Who is in the cluster, and changing that.
#[derive(Debug)]
pub(super) struct Cluster(pub(super) Handle);

impl From<Member> for pb::Member {
    fn from(member: Member) -> Self {
        let Member { id, name, peer_urls, client_urls, learner } = member;
        Self {
            id: id.0,
            name,
            peer_ur_ls: peer_urls,
            client_ur_ls: client_urls,
            is_learner: learner,
        }
    }
}

impl Cluster {
    /// Membership has no revision, and etcd says 0.
    fn header(&self) -> Option<pb::ResponseHeader> {
        Some(self.0.header_at(0))
    }

    async fn change(
        &self,
        kind: Kind,
        member: MemberId,
        peer_urls: Vec<String>,
    ) -> Result<Vec<pb::Member>, Status> {
        let change = MembershipChange {
            kind: kind.into(),
            member_id: member.0,
            peer_urls,
            ..MembershipChange::default()
        };
        Ok(shown(self.0.change_membership(change).await?))
    }
}

fn shown(members: Vec<Member>) -> Vec<pb::Member> {
    members.into_iter().map(pb::Member::from).collect()
}

/// Checks the URLs of a request.
fn peer_urls(urls: &[String]) -> Result<Vec<String>, Status> {
    let parsed: Result<Vec<_>, _> = urls.iter().map(|url| PeerUrl::parse(url)).collect();
    match parsed {
        Ok(urls) if !urls.is_empty() => {
            Ok(urls.iter().map(|url| url.as_str().to_owned()).collect())
        }
        _ => Err(refuse(BAD_MEMBER_URLS)),
    }
}

#[tonic::async_trait]
impl pb::cluster_server::Cluster for Cluster {
    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        let mut urls = peer_urls(&request.get_ref().peer_ur_ls)?;
        // As etcd does before it derives an id from them; an update leaves them as they are given.
        urls.sort_unstable();
        require_root(&self.0, &request).await?;
        let is_learner = request.into_inner().is_learner;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        let id = MemberId::derive(urls.iter().map(String::as_str), &now.to_string());
        let kind = if is_learner { Kind::AddLearner } else { Kind::Add };
        let members = self.change(kind, id, urls).await?;
        let member = members.iter().find(|member| member.id == id.0).cloned();
        Ok(Response::new(pb::MemberAddResponse { header: self.header(), member, members }))
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        require_root(&self.0, &request).await?;
        let id = MemberId(request.into_inner().id);
        let members = self.change(Kind::Remove, id, Vec::new()).await?;
        Ok(Response::new(pb::MemberRemoveResponse { header: self.header(), members }))
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        let urls = peer_urls(&request.get_ref().peer_ur_ls)?;
        require_root(&self.0, &request).await?;
        let id = request.into_inner().id;
        let members = self.change(Kind::Update, MemberId(id), urls).await?;
        Ok(Response::new(pb::MemberUpdateResponse { header: self.header(), members }))
    }

    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        if request.get_ref().linearizable {
            self.0.linearize().await?;
        }
        require_name(&self.0, &request).await?;
        let members = shown(self.0.members());
        Ok(Response::new(pb::MemberListResponse { header: self.header(), members }))
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        admit(&self.0, request.metadata(), On::Voters)?;
        require_root(&self.0, &request).await?;
        let id = MemberId(request.into_inner().id);
        let members = self.change(Kind::Promote, id, Vec::new()).await?;
        Ok(Response::new(pb::MemberPromoteResponse { header: self.header(), members }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_urls_are_checked_and_stay_in_order() {
        let list = |urls: &[&str]| urls.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>();
        let checked = peer_urls(&list(&["http://b:2380", "http://a:2380"])).unwrap();
        assert_eq!(checked, ["http://b:2380", "http://a:2380"]);
        for bad in [&[][..], &["a:2380"], &["ftp://a:1"], &["http://a"], &["http://a:1/x"]] {
            let status = peer_urls(&list(bad)).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert_eq!(status.message(), "etcdserver: given member URLs are invalid", "{bad:?}");
        }
    }
}
