use super::{Flag, flag};
use crate::config::node::flag::Treatment::{ClientTls, Honoured, PeerTls};
use crate::config::node::value::Kind::{Bool, Origins, Text, Uint};

#[rustfmt::skip] // a table reads by its lines
pub(super) const FLAGS: &[Flag] = &[
    flag("cert-file", Text, "", ClientTls, "Certificate of the client port.").at("client-transport-security.cert-file"),
    flag("key-file", Text, "", ClientTls, "Its key.").at("client-transport-security.key-file"),
    flag("client-cert-auth", Bool, "false", ClientTls, "Require certificates of clients, whose common names are users.").at("client-transport-security.client-cert-auth"),
    flag("client-cert-file", Text, "", ClientTls, "Certificate this member shows as a client.").at("client-transport-security.client-cert-file"),
    flag("client-key-file", Text, "", ClientTls, "Its key.").at("client-transport-security.client-key-file"),
    flag("client-crl-file", Text, "", ClientTls, "List of revoked client certificates, PEM or DER.").at("client-transport-security.client-crl-file"),
    flag("client-cert-allowed-cn", Text, "", ClientTls, "Comma-separated common names of which a client certificate must carry one; in etcd a key of the file only.").at("client-transport-security.allowed-cn"),
    flag("client-cert-allowed-hostname", Text, "", ClientTls, "Comma-separated names of which a client certificate must carry one.").at("client-transport-security.allowed-hostname"),
    flag("trusted-ca-file", Text, "", ClientTls, "Authority of client certificates.").at("client-transport-security.trusted-ca-file"),
    flag("auto-tls", Bool, "false", ClientTls, "Make a certificate for the client port, in fixtures/client of the data directory.").at("client-transport-security.auto-tls"),
    flag("peer-cert-file", Text, "", PeerTls, "Certificate of the peer port.").at("peer-transport-security.cert-file"),
    flag("peer-key-file", Text, "", PeerTls, "Its key.").at("peer-transport-security.key-file"),
    flag("peer-client-cert-auth", Bool, "false", PeerTls, "Require certificates of members; so does --peer-trusted-ca-file.").at("peer-transport-security.client-cert-auth"),
    flag("peer-client-cert-file", Text, "", PeerTls, "Certificate this member shows to others.").at("peer-transport-security.client-cert-file"),
    flag("peer-client-key-file", Text, "", PeerTls, "Its key.").at("peer-transport-security.client-key-file"),
    flag("peer-trusted-ca-file", Text, "", PeerTls, "Authority of member certificates.").at("peer-transport-security.trusted-ca-file"),
    flag("peer-cert-allowed-cn", Text, "", PeerTls, "Comma-separated common names of which a member's certificate must carry one.").at("peer-transport-security.allowed-cn"),
    flag("peer-cert-allowed-hostname", Text, "", PeerTls, "Comma-separated names of which a member's certificate must carry one.").at("peer-transport-security.allowed-hostname"),
    flag("peer-auto-tls", Bool, "false", PeerTls, "Make a certificate for the peer port, in fixtures/peer of the data directory; others are then not verified.").at("peer-transport-security.auto-tls"),
    flag("peer-crl-file", Text, "", PeerTls, "List of revoked member certificates, PEM or DER.").at("peer-transport-security.crl-file"),
    flag("peer-skip-client-san-verification", Bool, "false", PeerTls, "Do not check that the names in a member's certificate fit its address.").at("peer-transport-security.skip-client-san-verification"),
    flag("self-signed-cert-validity", Uint, "1", Honoured, "Years that a made certificate is valid."),
    flag("cipher-suites", Text, "", Honoured, "Comma-separated TLS 1.2 cipher suites by their IANA names; all safe ones without it."),
    flag("tls-min-version", Text, "TLS1.2", Honoured, "Oldest TLS version, TLS1.2 or TLS1.3."),
    flag("tls-max-version", Text, "", Honoured, "Newest TLS version."),
    flag("cors", Origins, "*", Honoured, "Origins that browsers may call from."),
    flag("host-whitelist", Text, "*", Honoured, "Host headers that are accepted without TLS."),
];

#[rustfmt::skip] // a table reads by its lines
pub(super) const AUTH: &[Flag] = &[
    flag("auth-token", Text, "simple", Honoured, "'simple', or 'jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=10m'."),
    flag("bcrypt-cost", Uint, "10", Honoured, "Cost of a password hash, 4 to 31; another means 10."),
    flag("auth-token-ttl", Uint, "300", Honoured, "Seconds a simple token lives unused."),
];
