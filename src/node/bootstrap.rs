//! What a node does first: go on with its log, found or join a cluster, or forward to one.
//!
//! A log decides alone. Who has one asks nobody, so that a member comes back without discovery
//! service and DNS, and cannot be talked into another cluster by changed flags.

use std::path::Path;

use tracing::{info, warn};

use super::data_dir::{DataDir, DataDirError};
use super::{Founding, proxy};
use crate::discovery::{self, Found, Memo, Request, discover};
use crate::membership::{MemberId, PeerUrl, Roster, RosterEntry};
use crate::wal::{self, Wal};

/// The store of a member, as `node::start` names it.
const STORE: &str = "member/store.redb";

/// How a node starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// From its log.
    Restart,
    /// Without a log, as this member.
    Found(Founding),
    /// As a proxy of the cluster that has these peer URLs.
    Proxy { peer_urls: Vec<PeerUrl> },
}

#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Discovery(#[from] discovery::Error),
    #[error(transparent)]
    Wal(#[from] wal::Error),
    #[error("the members to forward to cannot be kept in `proxy/cluster`")]
    ProxyState { source: std::io::Error },
}

/// Decides. Without a log this waits until a cluster is found.
pub async fn decide(
    dir: &DataDir,
    log_dir: &Path,
    request: &Request,
    proxy_when_full: bool,
) -> Result<Start, BootstrapError> {
    let path = dir.path();
    let has_log = Wal::exists(log_dir)?;
    let kept = proxy::read_state(path).map_err(|source| BootstrapError::ProxyState { source })?;
    match (has_log, kept) {
        (true, Some(_)) => Err(DataDirError::MemberAndProxy { path: path.to_owned() }.into()),
        (true, None) => Ok(Start::Restart),
        (false, Some(peer_urls)) => {
            info!(dir_type = "proxy", "server has been already initialized");
            Ok(Start::Proxy { peer_urls })
        }
        (false, None) if path.join(STORE).exists() => {
            let (path, log) = (path.to_owned(), log_dir.to_owned());
            Err(DataDirError::LogLost { path, log }.into())
        }
        (false, None) => find(dir, request, proxy_when_full).await,
    }
}

/// The registration of a token is kept in the log from now on.
pub fn settled(dir: &DataDir) {
    if let Err(error) = Memo::new(dir.path()).remove() {
        warn!(error = %error, "discovery.json cannot be removed; remove it by hand");
    }
}

async fn find(
    dir: &DataDir,
    request: &Request,
    proxy_when_full: bool,
) -> Result<Start, BootstrapError> {
    match discover(request, dir.path()).await {
        Ok(Found::New { founders, token }) => {
            let member = founders.member_id(&request.name, &token);
            let member = member.expect("discovery ends in a list with the own name");
            let cluster = founders.cluster_id(&token);
            let roster = founders.roster(&token);
            info!(member.id = %member, cluster.id = %cluster, members = %founders, "founding a cluster");
            Ok(Start::Found(Founding { member, cluster, roster, join: false }))
        }
        Ok(Found::Running { cluster, members, own }) => {
            info!(member.id = %own.id, cluster.id = %cluster, "joining a running cluster");
            let roster = Roster { members: entries(&members), ..Roster::default() };
            Ok(Start::Found(Founding { member: own.id, cluster, roster, join: true }))
        }
        Err(discovery::Error::Full { peer_urls }) if proxy_when_full => {
            warn!("discovery cluster is full, falling back to proxy");
            proxy::write_state(dir.path(), &peer_urls)
                .map_err(|source| BootstrapError::ProxyState { source })?;
            // What is a proxy from now on registered nothing.
            settled(dir);
            Ok(Start::Proxy { peer_urls })
        }
        Err(error) => Err(error.into()),
    }
}

fn entries(members: &[discovery::PeerMember]) -> std::collections::BTreeMap<MemberId, RosterEntry> {
    let entry = |member: &discovery::PeerMember| {
        let urls = member.peer_urls.iter().filter_map(|url| PeerUrl::parse(url).ok());
        (member.id, RosterEntry { peer_urls: urls.collect(), learner: member.learner })
    };
    members.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::discovery::Way;

    fn request(list: &str) -> Request {
        Request {
            name: "default".to_owned(),
            peer_urls: vec![PeerUrl::parse("http://localhost:2380").unwrap()],
            way: Way::Static(list.parse().unwrap()),
            cluster_token: "etcd-cluster".to_owned(),
            existing: false,
            tls: None,
        }
    }

    async fn check(dir: &Path, list: &str) -> Result<Start, String> {
        let data_dir = DataDir::open(dir).unwrap();
        let start = decide(&data_dir, &dir.join("member/wal"), &request(list), true).await;
        start.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn the_data_directory_decides_before_any_lookup() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        // A list that cannot be met; only a node without a log looks at it.
        let hopeless = "other=http://localhost:2380";
        let Start::Found(founding) = check(path, "default=http://localhost:2380").await.unwrap()
        else {
            panic!("an empty directory founds");
        };
        assert_eq!(founding.member.to_string(), "8e9e05c52164694d");
        assert_eq!(founding.cluster.to_string(), "cdf818194e3a8c32");
        assert_eq!(
            check(path, hopeless).await.unwrap_err(),
            "couldn't find local name \"default\" in the initial cluster configuration"
        );
        let peer_urls = vec![PeerUrl::parse("http://127.0.0.1:3001").unwrap()];
        proxy::write_state(path, &peer_urls).unwrap();
        assert_eq!(check(path, hopeless).await, Ok(Start::Proxy { peer_urls }));
        fs::create_dir_all(path.join("member/wal")).unwrap();
        fs::write(path.join("member/wal/0000000000000000-0000000000000000.wal"), "").unwrap();
        assert!(
            check(path, hopeless)
                .await
                .unwrap_err()
                .starts_with("invalid datadir; both member and proxy directories exist")
        );
        fs::remove_dir_all(path.join("proxy")).unwrap();
        assert_eq!(check(path, hopeless).await, Ok(Start::Restart));
        fs::remove_dir_all(path.join("member/wal")).unwrap();
        fs::write(path.join(STORE), "").unwrap();
        assert!(check(path, hopeless).await.unwrap_err().contains("has a store and no log"));
    }
}
