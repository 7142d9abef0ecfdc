use clap::Args;

/// The flags of `quorate serve` as they were typed.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "Every flag has an environment variable, QUORATE_ and its name in upper \
    case (QUORATE_HTTP_ADDR), and a key in the configuration file (http-addr = \"...\"). A flag \
    wins over the environment, the environment over the file. Several values of a repeatable flag \
    are separated by commas in a variable and make an array in the file.")]
pub struct Flags {
    /// TOML file with settings
    #[arg(long, value_name = "FILE")]
    pub config_file: Option<String>,

    /// Directory of the registry; created if missing [default: quorate.data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,

    /// Where the registry is kept: sqlite in the data directory, or an etcd v3 cluster that several
    /// services share, etcd://HOST:PORT,HOST:PORT[/PREFIX], etcds:// with TLS [default: sqlite]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,

    /// User of the --store cluster, NAME:PASSWORD; safer in the environment or in the file
    #[arg(long, value_name = "USER")]
    pub store_user: Option<String>,

    /// Authorities that signed the certificates of an etcds:// store [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub store_cacert: Option<String>,

    /// Certificate to show to an etcds:// store
    #[arg(long, value_name = "FILE")]
    pub store_cert: Option<String>,

    /// Key of that certificate
    #[arg(long, value_name = "FILE")]
    pub store_key: Option<String>,

    /// Address to serve HTTP on, repeatable; `off` serves none [default: 127.0.0.1:8087]
    #[arg(long, value_name = "ADDR")]
    pub http_addr: Vec<String>,

    /// Address to serve DNS on, UDP and TCP, repeatable; `off` serves none [default: 127.0.0.1:8053]
    #[arg(long, value_name = "ADDR")]
    pub dns_addr: Vec<String>,

    /// Address to serve DNS over TLS on, beside one of --dns-addr and with the certificate of
    /// --tls-cert, repeatable; its usual port is 853
    #[arg(long, value_name = "ADDR")]
    pub dot_addr: Vec<String>,

    /// Prefix of the discovery URLs handed out; member ids depend on its spelling
    /// [default: http:// and the first HTTP address]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,

    /// Directory of zone files, *.zone; reloaded when they change [default: dns-zones]
    #[arg(long, value_name = "DIR")]
    pub zones_dir: Option<String>,

    /// Hosts file answered as A, AAAA and PTR, repeatable; reloaded when it changes
    #[arg(long, value_name = "FILE")]
    pub hosts: Vec<String>,

    /// Configuration file of dnsmasq whose names are answered, repeatable; read at the start
    #[arg(long, value_name = "FILE")]
    pub dnsmasq_conf: Vec<String>,

    /// DNS server to ask about names that are not known here, IP or IP:port, repeatable
    #[arg(long, value_name = "ADDR")]
    pub upstream: Vec<String>,

    /// File like resolv.conf whose name servers are asked too; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub resolv_conf: Option<String>,

    /// Network of clients for whom other servers are asked, repeatable
    /// [default: loopback and private networks]
    #[arg(long, value_name = "CIDR")]
    pub recursion_allow: Vec<String>,

    /// Network of servers that may have whole zones (AXFR, IXFR), repeatable
    #[arg(long, value_name = "CIDR")]
    pub dns_transfer_allow: Vec<String>,

    /// File of TSIG keys as BIND writes them, key "name" { algorithm hmac-sha256; secret "..."; };
    /// with it every zone transfer has to be signed
    #[arg(long, value_name = "FILE")]
    pub dns_transfer_key: Option<String>,

    /// Server to tell when a zone has changed, IP or IP:port, repeatable
    #[arg(long, value_name = "ADDR")]
    pub dns_notify: Vec<String>,

    /// Name that this DNS server gives itself when asked for its NSID
    #[arg(long, value_name = "TEXT")]
    pub dns_nsid: Option<String>,

    /// DNS answers per second for a network of strangers, `off` for no limit; clients of
    /// --recursion-allow have none [default: 200]
    #[arg(long, value_name = "N")]
    pub dns_rate_limit: Option<String>,

    /// File that gets a line for each DNS answer
    #[arg(long, value_name = "FILE")]
    pub dns_query_log: Option<String>,

    /// Zone in which complete clusters are published
    #[arg(long, value_name = "NAME")]
    pub cluster_domain: Option<String>,

    /// Leave members whose client port is closed out of the answers for clients of a cluster
    #[arg(long)]
    pub dns_check: bool,

    /// File of users of v3 discovery, a line name:password for each, bcrypt hashes allowed
    /// [default: whoever knows a token]
    #[arg(long, value_name = "FILE")]
    pub discovery_users: Option<String>,

    /// Largest cluster size that is granted, 64 at most [default: 9]
    #[arg(long, value_name = "N")]
    pub max_size: Option<String>,

    /// How long a token waits for its founders [default: 24h]
    #[arg(long, value_name = "SPAN")]
    pub token_ttl: Option<String>,

    /// How long a complete token is kept [default: 7d]
    #[arg(long, value_name = "SPAN")]
    pub sealed_ttl: Option<String>,

    /// Certificate chain of the HTTP port, PEM: everything there is HTTPS then; taken again when it changes
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<String>,

    /// Its key
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<String>,

    /// Authority of client certificates: operators show one beside their key, others may, and a wrong
    /// one is refused
    #[arg(long, value_name = "FILE")]
    pub tls_client_ca: Option<String>,

    /// Network of proxies whose X-Forwarded-For says who asks, repeatable
    #[arg(long, value_name = "CIDR")]
    pub trusted_proxy: Vec<String>,

    /// Connections to each HTTP address at a time; more wait [default: 16384]
    #[arg(long, value_name = "N")]
    pub max_connections: Option<String>,

    /// Most bytes of a request's head [default: 16384]
    #[arg(long, value_name = "N")]
    pub max_head_bytes: Option<String>,

    /// Most bytes of a request's body [default: 65536]
    #[arg(long, value_name = "N")]
    pub max_body_bytes: Option<String>,

    /// How long a request's head may take, and a client be silent before it [default: 60s]
    #[arg(long, value_name = "SPAN")]
    pub head_timeout: Option<String>,

    /// How long a request's body may take [default: 4s]
    #[arg(long, value_name = "SPAN")]
    pub body_timeout: Option<String>,

    /// How long a connection may have no open request [default: 5m]
    #[arg(long, value_name = "SPAN")]
    pub idle_timeout: Option<String>,

    /// Open requests on one HTTP/2 connection [default: 256]
    #[arg(long, value_name = "N")]
    pub max_streams: Option<String>,

    /// Requests on one HTTP/2 connection that a client may take back before they are looked at [default: 100]
    #[arg(long, value_name = "N")]
    pub max_resets: Option<String>,
    /// Keys of operators, `name:key` lines; made if missing [default: admin.key in --data-dir]
    #[arg(long, value_name = "FILE")]
    pub admin_key_file: Option<String>,

    /// Keys to make tokens with, `name:key` lines; with it whoever is not on loopback needs one
    #[arg(long, value_name = "FILE")]
    pub new_key_file: Option<String>,

    /// Tokens that one address or one key may make, such as 60/min; `off` for any number
    /// [default: 60/min]
    #[arg(long, value_name = "RATE")]
    pub new_rate: Option<String>,

    /// Requests for one token, such as 1000/s, or `off`; further ones are held back [default: 50000/s]
    #[arg(long, value_name = "RATE")]
    pub token_rate: Option<String>,

    /// Longest value that a node may register [default: 2048]
    #[arg(long, value_name = "N")]
    pub max_value_bytes: Option<String>,

    /// Longest member name [default: 128]
    #[arg(long, value_name = "N")]
    pub max_name_bytes: Option<String>,

    /// Most peer URLs of one member [default: 16]
    #[arg(long, value_name = "N")]
    pub max_urls: Option<String>,

    /// Most registrations of one token beyond its size [default: 64]
    #[arg(long, value_name = "N")]
    pub max_surplus: Option<String>,

    /// Most nodes that wait at a time [default: 100000]
    #[arg(long, value_name = "N")]
    pub max_waiters: Option<String>,

    /// Most nodes that wait for one token [default: 4096]
    #[arg(long, value_name = "N")]
    pub max_waiters_per_token: Option<String>,

    /// error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl Flags {
    /// What was typed for a setting.
    pub(super) fn typed(&self, name: &str) -> Vec<String> {
        let one = |value: &Option<String>| value.iter().cloned().collect();
        match name {
            "data-dir" => one(&self.data_dir),
            "store" => one(&self.store),
            "store-user" => one(&self.store_user),
            "store-cacert" => one(&self.store_cacert),
            "store-cert" => one(&self.store_cert),
            "store-key" => one(&self.store_key),
            "http-addr" => self.http_addr.clone(),
            "dns-addr" => self.dns_addr.clone(),
            "dot-addr" => self.dot_addr.clone(),
            "public-url" => one(&self.public_url),
            "zones-dir" => one(&self.zones_dir),
            "hosts" => self.hosts.clone(),
            "dnsmasq-conf" => self.dnsmasq_conf.clone(),
            "upstream" => self.upstream.clone(),
            "resolv-conf" => one(&self.resolv_conf),
            "recursion-allow" => self.recursion_allow.clone(),
            "dns-transfer-allow" => self.dns_transfer_allow.clone(),
            "dns-transfer-key" => one(&self.dns_transfer_key),
            "dns-notify" => self.dns_notify.clone(),
            "dns-nsid" => one(&self.dns_nsid),
            "dns-rate-limit" => one(&self.dns_rate_limit),
            "dns-query-log" => one(&self.dns_query_log),
            "cluster-domain" => one(&self.cluster_domain),
            "dns-check" => self.dns_check.then(|| "true".to_owned()).into_iter().collect(),
            "discovery-users" => one(&self.discovery_users),
            "max-size" => one(&self.max_size),
            "token-ttl" => one(&self.token_ttl),
            "sealed-ttl" => one(&self.sealed_ttl),
            "tls-cert" => one(&self.tls_cert),
            "tls-key" => one(&self.tls_key),
            "tls-client-ca" => one(&self.tls_client_ca),
            "trusted-proxy" => self.trusted_proxy.clone(),
            "max-connections" => one(&self.max_connections),
            "max-head-bytes" => one(&self.max_head_bytes),
            "max-body-bytes" => one(&self.max_body_bytes),
            "head-timeout" => one(&self.head_timeout),
            "body-timeout" => one(&self.body_timeout),
            "idle-timeout" => one(&self.idle_timeout),
            "max-streams" => one(&self.max_streams),
            "max-resets" => one(&self.max_resets),
            "admin-key-file" => one(&self.admin_key_file),
            "new-key-file" => one(&self.new_key_file),
            "new-rate" => one(&self.new_rate),
            "token-rate" => one(&self.token_rate),
            "max-value-bytes" => one(&self.max_value_bytes),
            "max-name-bytes" => one(&self.max_name_bytes),
            "max-urls" => one(&self.max_urls),
            "max-surplus" => one(&self.max_surplus),
            "max-waiters" => one(&self.max_waiters),
            "max-waiters-per-token" => one(&self.max_waiters_per_token),
            "log-level" => one(&self.log_level),
            "log-format" => one(&self.log_format),
            "config-file" => one(&self.config_file),
            _ => Vec::new(),
        }
    }
}
