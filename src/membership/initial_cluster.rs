use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::{ClusterId, MemberId, PeerUrl, Roster, RosterEntry, UrlError};

/// The founders of a cluster: `name=url,...`, each name with one or more peer URLs.
///
/// Parsing follows etcd: a pair is split at the first `=`, empty pairs are skipped, names are not
/// trimmed, and a repeated name adds a URL to that member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InitialCluster {
    members: BTreeMap<String, Vec<PeerUrl>>,
}

/// Why a text is no member list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct ParseError(#[from] pub UrlError);

/// One URL stands twice in the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("initial cluster {list} has duplicate url")]
pub struct DuplicateUrl {
    pub list: String,
    pub url: String,
}

impl InitialCluster {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one URL to the member of that name.
    pub fn add(&mut self, name: &str, url: PeerUrl) {
        let urls = self.members.entry(name.to_owned()).or_default();
        let at = urls.partition_point(|held| held < &url);
        urls.insert(at, url);
    }

    /// The members by name, URLs sorted.
    pub fn members(&self) -> impl Iterator<Item = (&str, &[PeerUrl])> {
        self.members.iter().map(|(name, urls)| (name.as_str(), urls.as_slice()))
    }

    /// The URLs of one member, sorted.
    pub fn urls(&self, name: &str) -> Option<&[PeerUrl]> {
        self.members.get(name).map(Vec::as_slice)
    }

    /// How many different names are listed.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The id of the member of that name in the cluster with this token.
    pub fn member_id(&self, name: &str, token: &str) -> Option<MemberId> {
        let urls = self.members.get(name)?;
        Some(MemberId::derive(urls.iter().map(PeerUrl::as_str), token))
    }

    /// The id of the cluster these members found with this token.
    pub fn cluster_id(&self, token: &str) -> ClusterId {
        ClusterId::derive(self.roster(token).members.into_keys())
    }

    /// The members as consensus starts with them.
    pub fn roster(&self, token: &str) -> Roster {
        let entry = |urls: &Vec<PeerUrl>| {
            let id = MemberId::derive(urls.iter().map(PeerUrl::as_str), token);
            (id, RosterEntry { peer_urls: urls.clone(), learner: false })
        };
        Roster { members: self.members.values().map(entry).collect(), ..Roster::default() }
    }

    /// Refuses a list in which a URL stands twice, even under one name.
    pub fn check_unique_urls(&self) -> Result<(), DuplicateUrl> {
        let mut seen = BTreeSet::new();
        for url in self.members.values().flatten() {
            if !seen.insert(url.as_str()) {
                return Err(DuplicateUrl { list: self.to_string(), url: url.to_string() });
            }
        }
        Ok(())
    }
}

impl FromStr for InitialCluster {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut list = Self::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (name, url) = pair.split_once('=').unwrap_or((pair, ""));
            list.add(name, PeerUrl::parse(url)?);
        }
        Ok(list)
    }
}

/// The text that nodes register and print: all pairs sorted as whole strings.
impl fmt::Display for InitialCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = |(name, urls): (&String, &Vec<PeerUrl>)| {
            urls.iter().map(|url| format!("{name}={url}")).collect::<Vec<_>>()
        };
        let mut pairs: Vec<String> = self.members.iter().flat_map(pair).collect();
        pairs.sort_unstable();
        f.write_str(&pairs.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> InitialCluster {
        text.parse().unwrap()
    }

    /// Ids that real clusters of etcd 3.4 and 3.5 reported.
    #[test]
    fn ids_equal_those_of_etcd() {
        let srv = |scheme: &str| {
            (0..3)
                .map(|n| format!("infra{n}={scheme}://infra{n}.example.test:2380"))
                .collect::<Vec<_>>()
                .join(",")
        };
        let ports = "n1=http://127.0.0.1:3001,n2=http://127.0.0.1:3002,n3=http://127.0.0.1:3003";
        let two_urls = format!("{ports},n3=http://127.0.0.1:3013");
        let https = srv("https");
        let http = srv("http");
        let cases: [(&str, &str, &[&str], &str); 5] = [
            (
                "etcd-cluster",
                "default=http://localhost:2380",
                &["8e9e05c52164694d"],
                "cdf818194e3a8c32",
            ),
            (
                "my token/é",
                &two_urls,
                &["3d8ee3c11b84653f", "f25d824b91e478a0", "516bcbecaf98294"],
                "e4ee3c11dcae7716",
            ),
            (
                "http://127.0.0.1:7000/v2/keys/discovery/tok1",
                ports,
                &["6af27103607f24d3", "96d34debe40b3243", "59d7615f63bd05d9"],
                "db16669bc296b4ea",
            ),
            (
                "tkn",
                &https,
                &["c204e6c39ca5a4b3", "f41a6ec1cb3adaf8", "b3de90171b540ca5"],
                "db7bf9d1b6b14433",
            ),
            (
                "tkn",
                &http,
                &["e62f940871b0ec82", "19e9b619d66cda3b", "459c647e7374021"],
                "1e969ec48578fad0",
            ),
        ];
        for (token, list, members, cluster) in cases {
            let list = parse(list);
            let ids: Vec<String> = list
                .members()
                .map(|(name, _)| list.member_id(name, token).unwrap().to_string())
                .collect();
            assert_eq!(ids, members, "{token}");
            assert_eq!(list.cluster_id(token).to_string(), cluster, "{token}");
        }
    }

    #[test]
    fn refusals_have_the_texts_of_etcd() {
        let cases = [
            (
                "n1=127.0.0.1:3001",
                "parse \"127.0.0.1:3001\": first path segment in URL cannot contain colon",
            ),
            ("n1=http://127.0.0.1:3001/", "URL must not contain a path: http://127.0.0.1:3001/"),
            (
                "n1=http://127.0.0.1",
                "URL address does not have the form \"host:port\": http://127.0.0.1",
            ),
            (
                "n1=ftp://127.0.0.1:3001",
                "URL scheme must be http, https, unix, or unixs: ftp://127.0.0.1:3001",
            ),
            ("n1", "URL scheme must be http, https, unix, or unixs: "),
        ];
        for (text, message) in cases {
            assert_eq!(text.parse::<InitialCluster>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn lists_keep_names_and_sort_pairs() {
        let list = parse("b=http://h:2,, a=http://h:1 ,b=http://h:10,=http://h:3");
        assert_eq!(list.to_string(), " a=http://h:1,=http://h:3,b=http://h:10,b=http://h:2");
        assert_eq!(list.len(), 3);
    }

    #[test]
    fn a_url_may_stand_only_once() {
        let list = parse("n1=http://127.0.0.1:3001,n2=http://127.0.0.1:3001");
        assert_eq!(
            list.check_unique_urls().unwrap_err().to_string(),
            "initial cluster n1=http://127.0.0.1:3001,n2=http://127.0.0.1:3001 has duplicate url"
        );
    }
}
