use super::{Protocol, SizeError};
use crate::membership::{MemberId, UrlError};
use crate::v2::ErrorCode;

/// Why an application or a new token is refused. The text reaches the journal of the refused node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Size(#[from] SizeError),
    #[error("this token has expired; make a new one with /new and start all members with it")]
    Expired,
    #[error("this token was revoked; make a new one with /new and start all members with it")]
    Revoked,
    #[error(
        "the size of this token is {size} and cannot change once it is made; make a new token for \
         another size"
    )]
    SizeFixed { size: u32 },
    #[error("the value has {bytes} bytes, at most {max} are taken; advertise fewer peer URLs")]
    ValueTooLong { bytes: usize, max: usize },
    #[error(
        "the value `{value}` is no member list `name=url`: {reason}; check --name and \
         --initial-advertise-peer-urls"
    )]
    Value { value: String, reason: UrlError },
    #[error(
        "the value `{value}` is no member list `name=url`: `{pair}` has no URL; check --name, \
         which must have no `,`, and --initial-advertise-peer-urls"
    )]
    NoUrl { value: String, pair: String },
    #[error(
        "the value `{value}` names {names} members, a node registers exactly itself; check that --name \
         has no `,` and no `=`"
    )]
    Names { value: String, names: usize },
    #[error(
        "the member name `{name}` is refused: names have 1 to {max} bytes and no control \
         characters; change --name"
    )]
    Name { name: String, max: usize },
    #[error(
        "{urls} peer URLs are more than the {max} that are taken; advertise fewer in \
         --initial-advertise-peer-urls"
    )]
    TooManyUrls { urls: usize, max: usize },
    #[error(
        "the peer URL `{url}` stands twice in the value; remove one from --initial-advertise-peer-urls"
    )]
    UrlTwice { url: String },
    #[error(
        "no other member can reach the peer URL `{url}`: {what}; set --initial-advertise-peer-urls \
         to an address of this machine that the others know"
    )]
    Unreachable { url: String, what: &'static str },
    #[error(
        "the key `{key}` is no member id: lower-case hexadecimal without leading zeros; let etcd choose \
         the key, or compute it with `quorate predict`"
    )]
    Key { key: String },
    #[error(
        "member id {key} does not follow from `{value}` and the {noun} {canonical}, which make \
         {expected}; it follows from {used}: this node would found another cluster; start every \
         member with {flag} {canonical}",
        noun = protocol.noun(),
        flag = protocol.flag()
    )]
    OtherSpelling {
        key: MemberId,
        value: String,
        protocol: Protocol,
        canonical: String,
        expected: MemberId,
        used: String,
    },
    #[error(
        "this node was started with `--discovery-token {used}`, but by v3 the token is bare and ids follow \
         from it: start every member with `--discovery-token {token}`"
    )]
    NotBare { used: String, token: String },
    #[error(
        "this token was made as {canonical}; under another path it is another token, which nobody made: \
         start every member with --discovery {canonical}"
    )]
    OtherPath { canonical: String },
    #[error(
        "member id {key} does not follow from `{value}` and the {noun} {canonical}, which make \
         {expected}; this node was given another spelling of it and would found another cluster; \
         start every member with {flag} {canonical}",
        noun = protocol.noun(),
        flag = protocol.flag()
    )]
    ForeignKey {
        key: MemberId,
        value: String,
        protocol: Protocol,
        canonical: String,
        expected: MemberId,
    },
    #[error(
        "the members of this token were started with `{joined}`, this node with `{tried}`, which \
         gives everybody another id: it would found another cluster; start every member with \
         `{joined}`, or take a new token"
    )]
    OtherProtocol { joined: String, tried: String },
    #[error(
        "the name `{name}` is held by member {holder}; give every member a --name of its own \
         and start this one again"
    )]
    NameHeld { name: String, holder: MemberId },
    #[error(
        "the peer URL `{url}` is held by member {holder} (`{name}`); give every member its own \
         --initial-advertise-peer-urls and start this one again"
    )]
    UrlHeld { url: String, holder: MemberId, name: String },
    #[error(
        "member {key} is registered as `{held}`; a registration cannot change: give every member \
         its own --initial-advertise-peer-urls, or start the node with that name again"
    )]
    Registered { key: MemberId, held: String },
    #[error(
        "member {key} (`{name}`) founded this cluster already; a founder that lost its data must \
         not vote again under its old id: run `etcdctl member remove {key}` and `etcdctl member \
         add {name} --peer-urls={urls}` on a living member, then start the node with \
         --initial-cluster-state=existing and without discovery flags"
    )]
    FounderReturned { key: MemberId, name: String, urls: String },
    #[error(
        "the cluster has its {size} members and {max} late registrations; no more are recorded: \
         start a new cluster with a new token, or add a member to this one with `etcdctl member add`"
    )]
    TooManySurplus { size: u32, max: usize },
}

impl Refusal {
    /// The stable code that documentation and tools know it by.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Size(_) => "Q1001",
            Self::Expired => "Q1002",
            Self::SizeFixed { .. } => "Q1003",
            Self::Revoked => "Q1004",
            Self::ValueTooLong { .. } => "Q1010",
            Self::Value { .. } | Self::NoUrl { .. } => "Q1011",
            Self::Names { .. } => "Q1012",
            Self::Name { .. } => "Q1013",
            Self::TooManyUrls { .. } => "Q1014",
            Self::UrlTwice { .. } => "Q1015",
            Self::Unreachable { .. } => "Q1016",
            Self::Key { .. } => "Q1020",
            Self::OtherSpelling { .. } | Self::NotBare { .. } | Self::OtherPath { .. } => "Q1021",
            Self::ForeignKey { .. } => "Q1022",
            Self::OtherProtocol { .. } => "Q1023",
            Self::NameHeld { .. } => "Q1030",
            Self::UrlHeld { .. } => "Q1031",
            Self::Registered { .. } => "Q1032",
            Self::FounderReturned { .. } => "Q1033",
            Self::TooManySurplus { .. } => "Q1034",
        }
    }

    /// The code of the v2 API that a node expects with it.
    pub fn v2(&self) -> ErrorCode {
        match self {
            Self::SizeFixed { .. } => ErrorCode::KeyExists,
            Self::OtherPath { .. } => ErrorCode::KeyNotFound,
            // A node that hears that its key exists (105) prints words of its own and not ours; any
            // other code ends it in the same way.
            Self::Registered { .. }
            | Self::NameHeld { .. }
            | Self::UrlHeld { .. }
            | Self::FounderReturned { .. } => ErrorCode::PeerAddressExists,
            Self::TooManySurplus { .. } => ErrorCode::NotAFile,
            _ => ErrorCode::InvalidField,
        }
    }
}
