use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

fn load(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Config, Problems> {
    let arguments = std::iter::once("serve").chain(arguments.iter().copied());
    let flags = Line::parse_from(arguments).flags;
    let lookup = |name: &str| {
        environment.iter().find(|(held, _)| *held == name).map(|(_, text)| (*text).to_owned())
    };
    Config::load(&flags, lookup)
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let config = load(&[], &[]).unwrap();
    assert_eq!(config.data_dir, PathBuf::from("quorate.data"));
    assert_eq!(config.http_addresses, ["127.0.0.1:8087".parse().unwrap()]);
    assert_eq!(config.dns_addresses, ["127.0.0.1:8053".parse().unwrap()]);
    assert_eq!(config.max_size, 9);
    assert_eq!((config.dns_nsid, config.dns_rate_limit), (None, Some(200)));
    assert_eq!(config.token_ttl.get().as_secs(), 86_400);
    assert_eq!(config.sealed_ttl.get().as_secs(), 7 * 86_400);
    assert_eq!((config.public_url, config.cluster_domain), (None, None));
    assert!(!config.zones_dir_is_given);
}

#[test]
fn flag_wins_over_environment_and_environment_over_file() {
    let file = file("max-size = 3\ntoken-ttl = \"1h\"\nlog-level = \"warn\"\n");
    let path = file.path().to_str().unwrap();
    let environment = [
        ("QUORATE_CONFIG_FILE", path),
        ("QUORATE_TOKEN_TTL", "2h"),
        ("QUORATE_LOG_LEVEL", "debug"),
        ("QUORATE_SEALED_TTL", ""),
    ];
    let config = load(&["--log-level", "trace"], &environment).unwrap();
    assert_eq!(config.max_size, 3);
    assert_eq!(config.token_ttl, Ttl::from_hours(2));
    assert_eq!(config.sealed_ttl, Ttl::from_hours(7 * 24));
    assert_eq!(config.log_level, LevelFilter::TRACE);
}

#[test]
fn addresses_repeat_in_every_place_and_can_be_off() {
    let two = ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()];
    let flags = ["--http-addr", "127.0.0.1:1", "--http-addr", "[::1]:2", "--dns-addr", "off"];
    let config = load(&flags, &[]).unwrap();
    assert_eq!((config.http_addresses, config.dns_addresses), (two.to_vec(), vec![]));
    let config = load(&[], &[("QUORATE_HTTP_ADDR", "127.0.0.1:1, [::1]:2")]).unwrap();
    assert_eq!(config.http_addresses, two);
    let file = file("http-addr = [\"127.0.0.1:1\", \"[::1]:2\"]");
    let config = load(&["--config-file", file.path().to_str().unwrap()], &[]).unwrap();
    assert_eq!(config.http_addresses, two);
}

#[test]
fn all_problems_are_reported_at_once_with_their_places() {
    let file = file("max-size = 0\nno-such = 1\nlog-format = [1]\n");
    let path = file.path().to_str().unwrap();
    let arguments = [
        "--config-file",
        path,
        "--http-addr",
        ":8087",
        "--public-url",
        "ftp://h",
        "--log-level",
        "loud",
    ];
    let environment = [("QUORATE_TOKEN_TTL", "soon"), ("QUORATE_CLUSTER_DOMAIN", "a..b")];
    let text = load(&arguments, &environment).unwrap_err().to_string();
    for part in [
        "8 problems",
        "the key `no-such` is unknown",
        "log-format: a text, a number",
        "--http-addr `:8087`: an IP address and a port",
        "--public-url `ftp://h`: the scheme",
        "--log-level `loud`: choose",
        "QUORATE_TOKEN_TTL `soon`: `soon` is no time span",
        "QUORATE_CLUSTER_DOMAIN `a..b`",
        "max-size `0`: a number from 1",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn an_address_that_is_none_is_answered_with_a_port_of_that_service() {
    for (flag, example) in [
        ("--http-addr", "such as 127.0.0.1:8087, 0.0.0.0:8087 or [::]:8087"),
        ("--dns-addr", "such as 127.0.0.1:8053, 0.0.0.0:8053 or [::]:8053"),
        ("--dot-addr", "such as 127.0.0.1:853, 0.0.0.0:853 or [::]:853"),
    ] {
        let text = load(&[flag, "10.0.0.1"], &[]).unwrap_err().to_string();
        assert!(text.contains(example), "{text}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let cases: [(&[&str], &str); 8] = [
        (&["--http-addr", "off", "--dns-addr", "off"], "nothing is left to serve"),
        (&["--cluster-domain", "c.test", "--dns-addr", "off"], "--dns-addr is `off`"),
        (&["--dot-addr", "127.0.0.1:853"], "--dot-addr needs --tls-cert"),
        (&["--dns-check"], "there is no --cluster-domain"),
        (&["--dns-notify", "10.0.0.2", "--dns-addr", "off"], "--dns-addr is `off`"),
        (&["--public-url", "http://h", "--http-addr", "off"], "--http-addr is `off`"),
        (&["--http-addr", "off", "--http-addr", "127.0.0.1:1"], "stands beside"),
        (&["--http-addr", "127.0.0.1:1", "--http-addr", "127.0.0.1:1"], "given twice"),
    ];
    for (arguments, part) in cases {
        let text = load(arguments, &[]).unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
    }
    let text = load(&["--config-file", "/no/such/file"], &[]).unwrap_err().to_string();
    assert!(text.contains("`/no/such/file` cannot be read"), "{text}");
}

#[test]
fn the_public_url_keeps_its_spelling_but_no_slash_at_the_end() {
    for (text, kept) in [
        ("http://Discovery.example:8087/", "http://Discovery.example:8087"),
        ("https://example.org/discovery", "https://example.org/discovery"),
    ] {
        let config = load(&["--public-url", text], &[]).unwrap();
        assert_eq!(config.public_url.unwrap().as_str(), kept);
    }
    for text in ["discovery.example", "http://u:p@h", "http://h?x", "http://h#x", ""] {
        assert!(load(&["--public-url", text], &[]).is_err(), "{text}");
    }
}

#[test]
fn hosts_files_may_be_several() {
    let two = [PathBuf::from("/etc/hosts"), PathBuf::from("b")];
    assert_eq!(load(&["--hosts", "/etc/hosts", "--hosts", "b"], &[]).unwrap().hosts, two);
    assert_eq!(load(&[], &[("QUORATE_HOSTS", "/etc/hosts, b")]).unwrap().hosts, two);
    let text = load(&["--hosts", "b", "--dns-addr", "off"], &[]).unwrap_err().to_string();
    assert!(text.contains("--hosts"), "{text}");
}

#[test]
fn dnsmasq_files_may_be_several() {
    let two = [PathBuf::from("a"), PathBuf::from("b")];
    let typed = load(&["--dnsmasq-conf", "a", "--dnsmasq-conf", "b"], &[]).unwrap();
    assert_eq!(typed.dnsmasq_conf, two);
    assert_eq!(load(&[], &[("QUORATE_DNSMASQ_CONF", "a,b")]).unwrap().dnsmasq_conf, two);
}

#[test]
fn upstreams_and_their_clients_are_checked() {
    let config = load(&["--upstream", "10.0.0.1", "--upstream", "[::1]:5353"], &[]).unwrap();
    let servers: Vec<String> = config.upstream.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.0.0.1:53", "[::1]:5353"]);
    assert_eq!(config.recursion_allow.len(), Network::PRIVATE.len());
    let config = load(&[], &[("QUORATE_RECURSION_ALLOW", "10.0.0.0/8")]).unwrap();
    assert_eq!(config.recursion_allow.len(), 1);
    let flags = ["--upstream", "dns.example", "--recursion-allow", "10/8"];
    let text = load(&flags, &[]).unwrap_err().to_string();
    assert!(text.contains("--upstream `dns.example`: an IP address"), "{text}");
    assert!(text.contains("--recursion-allow `10/8`: a network is expected"), "{text}");
}

#[test]
fn tls_and_the_limits_of_the_port_are_checked() {
    let config = load(&[], &[]).unwrap();
    assert_eq!((config.tls, config.max_body_bytes), (None, 64 << 10));
    assert_eq!(config.body_timeout, Duration::from_secs(4));
    assert_eq!(config.http.max_head_bytes, 16 << 10);
    assert_eq!(config.http.max_concurrent_streams, Some(256));
    assert_eq!(config.http.idle_timeout, Some(Duration::from_secs(300)));
    assert!(config.http.trusted_proxies.is_empty());
    let flags = ["--tls-cert", "c", "--tls-key", "k", "--tls-client-ca", "a", "--max-resets", "5"];
    let config = load(&flags, &[("QUORATE_TRUSTED_PROXY", "10.0.0.0/8,::1")]).unwrap();
    assert_eq!(config.tls, Some(Pair { cert: "c".into(), key: "k".into() }));
    assert_eq!((config.http.max_resets, config.http.trusted_proxies.len()), (5, 2));
    let cases: [(&[&str], &str); 8] = [
        (&["--tls-cert", "c"], "--tls-cert and --tls-key go together"),
        (&["--tls-client-ca", "a"], "--tls-client-ca needs --tls-cert"),
        (&["--tls-cert", "c", "--tls-key", "k", "--public-url", "http://h"], "says http"),
        (&["--tls-cert", "c", "--tls-key", "k", "--http-addr", "off"], "--http-addr is `off`"),
        (&["--trusted-proxy", "proxy"], "a network is expected"),
        (&["--max-head-bytes", "100"], "a number from 8192 to 1048576"),
        (&["--idle-timeout", "5"], "a time span up to a day is expected"),
        (&["--body-timeout", "0s"], "a time span up to a day is expected"),
    ];
    for (arguments, part) in cases {
        let text = load(arguments, &[]).unwrap_err().to_string();
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn limits_rates_and_keys_are_settings() {
    let config = load(&[], &[]).unwrap();
    assert_eq!(config.new_rate.unwrap().to_string(), "60/min");
    assert_eq!(config.token_rate.unwrap().to_string(), "50000/s");
    assert_eq!((config.admin_key_file, config.new_key_file), (None, None));
    assert_eq!(config.limits, Limits { value_bytes: 2048, name_bytes: 128, urls: 16, surplus: 64 });
    assert_eq!(config.waiters, WaiterLimits { total: 100_000, per_token: 4096 });
    let flags = [
        "--new-rate=off",
        "--token-rate=1000/s",
        "--max-value-bytes=100",
        "--max-name-bytes=10",
        "--max-urls=2",
        "--max-surplus=3",
        "--max-waiters=4",
        "--max-waiters-per-token=5",
        "--new-key-file=n",
    ];
    let config = load(&flags, &[("QUORATE_ADMIN_KEY_FILE", "a")]).unwrap();
    assert_eq!((config.new_rate, config.token_rate), (None, Some("1000/s".parse().unwrap())));
    assert_eq!(config.limits, Limits { value_bytes: 100, name_bytes: 10, urls: 2, surplus: 3 });
    assert_eq!(config.waiters, WaiterLimits { total: 4, per_token: 5 });
    assert_eq!(config.admin_key_file, Some(PathBuf::from("a")));
    assert_eq!(config.new_key_file, Some(PathBuf::from("n")));
    let text = load(&["--new-rate=fast", "--max-urls=0"], &[]).unwrap_err().to_string();
    assert!(text.contains("--new-rate `fast`: a number, a slash and s, min or h"), "{text}");
    assert!(text.contains("--max-urls `0`: a number from 1 to"), "{text}");
}
#[test]
fn dns_answers_can_be_named_limited_and_logged() {
    let flags = ["--dns-nsid", "ns1.test", "--dns-rate-limit", "off", "--dns-query-log", "q.log"];
    let config = load(&flags, &[]).unwrap();
    assert_eq!(config.dns_nsid.as_deref(), Some("ns1.test"));
    assert_eq!(config.dns_rate_limit, None);
    assert_eq!(config.dns_query_log, Some(PathBuf::from("q.log")));
    for (flag, wrong) in [("--dns-rate-limit", "0"), ("--dns-rate-limit", "x"), ("--dns-nsid", "")]
    {
        let text = load(&[flag, wrong], &[]).unwrap_err().to_string();
        assert!(text.contains(&format!("{flag} `{wrong}`")), "{text}");
    }
}
