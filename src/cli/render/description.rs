//! A cluster as it is described, and the settings of each of its members.

use std::collections::BTreeSet;
use std::net::IpAddr;

use clap::Args;

use crate::cli::predict::LIST_SHAPE;
use crate::discovery_server::{Joining, Release, Settings};
use crate::membership::{InitialCluster, PeerUrl};

const CLIENT_PORT: u16 = 2379;
/// Where data are kept unless another place is named.
pub(super) const DATA_DIR: &str = "/var/lib/etcd";

/// Flags that say what the cluster is.
#[derive(Debug, Clone, Args)]
pub(super) struct Description {
    /// The members, name=url,name=url, each with the URL under which the others reach it
    #[arg(long, value_name = "LIST", conflicts_with_all = ["discovery", "discovery_srv"], required_unless_present = "members")]
    pub(super) initial_cluster: Option<String>,
    /// The same, with --discovery or --discovery-srv
    #[arg(long, value_name = "LIST")]
    pub(super) members: Option<String>,
    /// Discovery URL by which they find each other, as `quorate new` prints it
    #[arg(long, value_name = "URL", requires = "members", conflicts_with = "discovery_srv")]
    pub(super) discovery: Option<String>,
    /// Domain whose SRV records name them
    #[arg(long, value_name = "DOMAIN", requires = "members")]
    pub(super) discovery_srv: Option<String>,
    /// Keeps clusters with equal URLs apart
    #[arg(long, value_name = "TOKEN")]
    pub(super) initial_cluster_token: Option<String>,
    /// The member to print, where one is printed
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Where clients are served [default: 2379, or the peer port less one for members on one host]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) client_port: Option<u16>,
    /// What is started: 3.4, 3.5, 3.6, 3.7 or quorate-node
    #[arg(long, value_name = "RELEASE", value_parser = Release::parse, default_value = "quorate-node")]
    pub(super) etcd: Release,
    /// The program on the machine [default: /usr/local/bin/quorate-node, /usr/bin/etcd]
    #[arg(long, value_name = "PATH")]
    pub(super) program: Option<String>,
    /// Image of a container; needed for etcd [default: quorate]
    #[arg(long, value_name = "IMAGE")]
    pub(super) image: Option<String>,
    /// Where data are kept on a machine [default: /var/lib/etcd]
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<String>,
    /// Certificates as `quorate certs` makes them: ca.pem, NAME.pem and NAME-key.pem
    #[arg(long, value_name = "DIR")]
    pub(super) tls_dir: Option<String>,
}

/// A cluster with all that its members need.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) members: Vec<Member>,
    pub(super) etcd: Release,
    pub(super) program: String,
    pub(super) image: Option<String>,
    pub(super) data_dir: String,
    pub(super) tls_dir: Option<String>,
}

/// One member: what is its own, and how it finds the others.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) urls: Vec<PeerUrl>,
    pub(super) client_port: u16,
    own: Settings,
    way: Settings,
}

impl Description {
    pub(super) fn release(&self) -> Release {
        self.etcd
    }

    /// All members; `here` if they are on the machine of whoever reads this.
    pub(super) fn cluster(&self, here: bool) -> Result<Cluster, String> {
        let (flag, list) = match (&self.initial_cluster, &self.members) {
            (Some(list), None) => ("--initial-cluster", list),
            (None, Some(list)) if self.discovery.is_some() || self.discovery_srv.is_some() => {
                ("--members", list)
            }
            (None, _) => {
                return Err("--members is for --discovery and --discovery-srv; a static list is \
                            --initial-cluster"
                    .to_owned());
            }
            (Some(_), Some(_)) => {
                return Err(
                    "--initial-cluster and --members both name the members; keep one".to_owned()
                );
            }
        };
        let list: InitialCluster =
            list.parse().map_err(|error| format!("{flag}: {error}; {LIST_SHAPE}"))?;
        if list.is_empty() {
            return Err(format!("{flag} names no member; write name=http://ADDRESS:2380"));
        }
        self.check_tls(&list)?;
        let way = self.way(&list)?;
        let mut members = Vec::new();
        for (name, urls) in list.members() {
            let client_port = self.client_port(&list, urls)?;
            let scheme = if self.tls_dir.is_some() { "https" } else { "http" };
            let host = urls[0].host();
            let is_own = host.parse::<IpAddr>().is_ok_and(|it| here || it.is_loopback());
            let listen = is_own.then_some(host);
            let own = Settings::of_member(name, urls, (scheme, client_port), listen);
            let (name, urls, way) = (name.to_owned(), urls.to_vec(), way.clone());
            members.push(Member { name, urls, client_port, own, way });
        }
        let is_quorate = self.etcd == Release::Quorate;
        let program = if is_quorate { "/usr/local/bin/quorate-node" } else { "/usr/bin/etcd" };
        let image = self.image.clone().or_else(|| is_quorate.then(|| "quorate".to_owned()));
        Ok(Cluster {
            members,
            etcd: self.etcd,
            program: self.program.clone().unwrap_or_else(|| program.to_owned()),
            image,
            data_dir: self.data_dir.clone().unwrap_or_else(|| DATA_DIR.to_owned()),
            tls_dir: self.tls_dir.clone(),
        })
    }

    fn check_tls(&self, list: &InitialCluster) -> Result<(), String> {
        let urls = || list.members().flat_map(|(_, urls)| urls);
        match (&self.tls_dir, urls().find(|url| url.is_https()), urls().find(|url| !url.is_https()))
        {
            (None, Some(url), _) => Err(format!(
                "{url} needs certificates; say where they are with --tls-dir, or write http://"
            )),
            (Some(_), _, Some(url)) => Err(format!(
                "with --tls-dir every member is reached by TLS; write {url} with https://"
            )),
            _ => Ok(()),
        }
    }

    /// How all of them find each other.
    fn way(&self, list: &InitialCluster) -> Result<Settings, String> {
        let token =
            self.initial_cluster_token.clone().map(|token| ("initial-cluster-token", token));
        let mut way = match (&self.discovery, &self.discovery_srv) {
            (Some(url), _) => {
                if token.is_some() {
                    return Err(
                        "--initial-cluster-token has no meaning with --discovery; take it out"
                            .to_owned(),
                    );
                }
                return Joining::of_url(url).settings(self.etcd);
            }
            (None, Some(domain)) => Settings::new([("discovery-srv", domain.clone())]),
            (None, None) => Settings::new([("initial-cluster", list.to_string())]),
        };
        way.extend(token);
        way.extend([("initial-cluster-state", "new".to_owned())]);
        Ok(way)
    }

    /// Members on one host cannot all serve clients on the same port.
    fn client_port(&self, list: &InitialCluster, urls: &[PeerUrl]) -> Result<u16, String> {
        let host = urls[0].host();
        let shares = list.members().filter(|(_, urls)| urls[0].host() == host).count() > 1;
        match (self.client_port, shares) {
            (Some(port), true) => Err(format!(
                "{host} has more than one member, which cannot all serve clients on port {port}; leave \
                 --client-port out, and each serves them on its peer port less one"
            )),
            (Some(port), false) => Ok(port),
            (None, true) => Ok(urls[0].port().saturating_sub(1).max(1)),
            (None, false) => Ok(CLIENT_PORT),
        }
    }
}

impl Cluster {
    /// The member that is asked for.
    pub(super) fn one(&self, name: Option<&str>) -> Result<Member, String> {
        let names: Vec<&str> = self.members.iter().map(|member| member.name.as_str()).collect();
        match (name, self.members.as_slice()) {
            (None, [only]) => Ok(only.clone()),
            (None, _) => Err(format!("say for which member with --name: {}", names.join(", "))),
            (Some(name), members) => {
                let member = members.iter().find(|member| member.name == name);
                let names = names.join(", ");
                member
                    .cloned()
                    .ok_or_else(|| format!("--name {name} is no member; there are {names}"))
            }
        }
    }

    /// The image of the containers.
    pub(super) fn image(&self) -> Result<&str, String> {
        self.image.as_deref().ok_or_else(|| {
            format!(
                "say which image has {} with --image, such as the one of its release in \
                 gcr.io/etcd-development/etcd",
                self.etcd.title()
            )
        })
    }

    /// The program inside of the image.
    pub(super) fn program_of_image(&self) -> String {
        format!("/usr/local/bin/{}", self.etcd.program())
    }

    /// All hosts of all members.
    pub(super) fn hosts(&self) -> BTreeSet<&str> {
        self.members.iter().flat_map(|member| &member.urls).map(PeerUrl::host).collect()
    }
}

impl Member {
    /// The settings with that data directory and those certificates.
    pub(super) fn settings(&self, data_dir: Option<&str>, tls_dir: Option<&str>) -> Settings {
        let mut settings = self.own.clone();
        settings.extend(data_dir.map(|dir| ("data-dir", dir.to_owned())));
        settings.extend(self.way.iter().map(|(name, value)| (name, value.to_owned())));
        if let Some(dir) = tls_dir {
            settings.extend(certificates(&self.name, dir.trim_end_matches('/')));
        }
        settings
    }

    /// The settings on a machine of its own.
    pub(super) fn on_host(&self, cluster: &Cluster) -> Settings {
        self.settings(Some(&cluster.data_dir), cluster.tls_dir.as_deref())
    }
}

fn certificates(name: &str, dir: &str) -> Vec<(&'static str, String)> {
    let (cert, key) = (format!("{dir}/{name}.pem"), format!("{dir}/{name}-key.pem"));
    let ca = format!("{dir}/ca.pem");
    vec![
        ("cert-file", cert.clone()),
        ("key-file", key.clone()),
        ("trusted-ca-file", ca.clone()),
        ("client-cert-auth", "true".to_owned()),
        ("peer-cert-file", cert),
        ("peer-key-file", key),
        ("peer-trusted-ca-file", ca),
        ("peer-client-cert-auth", "true".to_owned()),
    ]
}
