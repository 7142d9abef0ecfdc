use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::Failure;
use super::output::{self, Format};
use crate::membership::{InitialCluster, PeerUrl};

/// What to compute ids from.
#[derive(Debug, Args)]
pub(super) struct Predict {
    #[command(flatten)]
    expected: Expected,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

/// What a list of members looks like, for whoever wrote another one.
pub(super) const LIST_SHAPE: &str =
    "write name=http://ADDRESS:2380, and the next member behind a comma";

/// A cluster as it was planned.
#[derive(Debug, Args)]
pub(super) struct Expected {
    /// Members as etcd's flag has them: name=url,name=url
    #[arg(long, value_name = "LIST", env = "ETCD_INITIAL_CLUSTER")]
    initial_cluster: String,
    /// What the ids are salted with: --initial-cluster-token of a static or SRV start, the whole
    /// discovery URL of a token start, the bare token of a v3 discovery
    #[arg(
        long,
        visible_alias = "initial-cluster-token",
        value_name = "TOKEN",
        default_value = "etcd-cluster",
        env = "ETCD_INITIAL_CLUSTER_TOKEN"
    )]
    token: String,
}

impl Expected {
    /// The members, of whom each URL belongs to one.
    pub(super) fn list(&self) -> Result<InitialCluster, Failure> {
        let wrong = |error: String| Failure::Configuration(error.into());
        let list: InitialCluster = self
            .initial_cluster
            .parse()
            .map_err(|error| wrong(format!("--initial-cluster: {error}; {LIST_SHAPE}")))?;
        if list.is_empty() {
            return Err(wrong("--initial-cluster names no member".to_owned()));
        }
        list.check_unique_urls().map_err(|error| wrong(error.to_string()))?;
        Ok(list)
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }
}

/// The ids that a cluster will have, in the form in which etcd prints them.
#[derive(Debug, PartialEq, Serialize)]
struct Prediction {
    cluster_id: String,
    members: Vec<Predicted>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Predicted {
    id: String,
    name: String,
    peer_urls: Vec<String>,
}

impl Predict {
    /// Prints the ids; starts and asks nothing.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let prediction = self.predict()?;
        output::print(&match self.output {
            Format::Text => prediction.text(),
            Format::Json => output::json(&prediction),
        })
    }

    fn predict(&self) -> Result<Prediction, Failure> {
        let list = self.expected.list()?;
        let token = self.expected.token();
        let members = list.members().filter_map(|(name, urls)| {
            Some(Predicted {
                id: list.member_id(name, token)?.to_string(),
                name: name.to_owned(),
                peer_urls: urls.iter().map(PeerUrl::to_string).collect(),
            })
        });
        let cluster_id = list.cluster_id(token).to_string();
        Ok(Prediction { cluster_id, members: members.collect() })
    }
}

impl Prediction {
    fn text(&self) -> String {
        let mut text = format!("cluster {}\n", self.cluster_id);
        for member in &self.members {
            let urls = member.peer_urls.join(",");
            writeln!(text, "member  {}  {}  {urls}", member.id, member.name)
                .expect("a string takes everything");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predict(list: &str, token: &str) -> Result<Prediction, Failure> {
        let (initial_cluster, token) = (list.to_owned(), token.to_owned());
        let expected = Expected { initial_cluster, token };
        Predict { expected, output: Format::Text }.predict()
    }

    /// The ids that the Procfile of etcd's tutorial prints.
    #[test]
    fn the_tutorial_cluster_is_known_before_it_starts() {
        let list = "infra1=http://127.0.0.1:12380,infra2=http://127.0.0.1:22380,\
                    infra3=http://127.0.0.1:32380";
        let prediction = predict(list, "etcd-cluster-1").unwrap();
        let ids: Vec<&str> = prediction.members.iter().map(|member| member.id.as_str()).collect();
        assert_eq!(ids, ["8211f1d0f64f3269", "91bc3c398fb3c146", "fd422379fda50e48"]);
        assert!(
            prediction.text().contains("member  91bc3c398fb3c146  infra2  http://127.0.0.1:22380")
        );
    }

    #[test]
    fn a_list_that_cannot_be_is_refused() {
        for (list, named) in [
            ("", "names no member"),
            ("n1=ftp://h:1", "URL scheme must be"),
            ("n1=h:2380", "write name=http://ADDRESS:2380"),
            ("n1=http://h:1,n2=http://h:1", "has duplicate url"),
        ] {
            let Err(Failure::Configuration(error)) = predict(list, "t") else {
                panic!("{list} was accepted")
            };
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
