use std::net::IpAddr;
use std::sync::Arc;

use prost::Message;

use crate::admission::{ClusterSize, Founding, Registered, State, UnixMillis};
use crate::membership::MemberId;
use crate::token::TokenPath;

/// A token in a fifth of the memory of its [`Founding`].
///
/// What a look at all tokens asks for can be read as it is; the rest is a protobuf message.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) expires_at: UnixMillis,
    size: ClusterSize,
    founders: u32,
    pub(super) is_revoked: bool,
    pub(super) is_labelled: bool,
    pub(super) expiry_recorded: bool,
    body: Box<[u8]>,
}

#[derive(Clone, PartialEq, Message)]
struct Body {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(string, optional, tag = "2")]
    label: Option<String>,
    #[prost(uint64, tag = "3")]
    created_at: u64,
    #[prost(uint64, optional, tag = "4")]
    revoked_at: Option<u64>,
    #[prost(uint32, tag = "5")]
    noted: u32,
    #[prost(uint32, optional, tag = "6")]
    client_port: Option<u32>,
    #[prost(uint64, tag = "7")]
    first_entry: u64,
    #[prost(message, repeated, tag = "8")]
    founders: Vec<Member>,
    #[prost(message, repeated, tag = "9")]
    surplus: Vec<Member>,
}

/// The members of a [`Body`], as they are added to one that is packed: fields that repeat may stand
/// anywhere.
#[derive(Clone, PartialEq, Message)]
struct More {
    #[prost(message, optional, tag = "8")]
    founder: Option<Member>,
    #[prost(message, optional, tag = "9")]
    surplus: Option<Member>,
}

#[derive(Clone, PartialEq, Message)]
struct Member {
    #[prost(fixed64, tag = "1")]
    key: u64,
    #[prost(string, tag = "2")]
    value: String,
    #[prost(uint64, tag = "3")]
    index: u64,
    /// Milliseconds before the end of the token, which takes fewer bytes than the moment.
    #[prost(sint64, tag = "4")]
    before: i64,
    /// The octets of an address.
    #[prost(bytes = "vec", tag = "5")]
    from: Vec<u8>,
}

impl Packed {
    pub(super) fn of(founding: &Founding) -> Self {
        let all = |held: &[Arc<Registered>]| {
            held.iter().map(|one| Member::of(one, founding.expires_at)).collect()
        };
        let body = Body {
            path: founding.path.as_str().to_owned(),
            label: founding.label.as_ref().map(|label| label.as_str().to_owned()),
            created_at: founding.created_at.0,
            revoked_at: founding.revoked_at.map(|at| at.0),
            noted: founding.noted,
            client_port: founding.client_port.map(u32::from),
            first_entry: founding.first_entry,
            founders: all(&founding.founders),
            surplus: all(&founding.surplus),
        };
        Self {
            expires_at: founding.expires_at,
            size: founding.size,
            founders: count(founding.founders.len()),
            is_revoked: founding.revoked_at.is_some(),
            is_labelled: founding.label.is_some(),
            expiry_recorded: founding.expiry_recorded,
            body: body.encode_to_vec().into(),
        }
    }

    /// Adds a member behind those that are there; `false` if there is no room for one more founder.
    pub(super) fn add(&mut self, registered: &Registered, is_founder: bool) -> bool {
        let member = Some(Member::of(registered, self.expires_at));
        let more = match is_founder {
            true => More { founder: member, surplus: None },
            false => More { founder: None, surplus: member },
        };
        self.founders += u32::from(is_founder);
        self.body = [&self.body[..], &more.encode_to_vec()].concat().into();
        self.founders <= self.size.get()
    }

    pub(super) fn state(&self, now: UnixMillis) -> State {
        let is_full = self.founders >= self.size.get();
        State::of(self.is_revoked, self.expires_at, is_full, now)
    }

    /// All of the token that was made at `created_index`.
    pub(super) fn unpack(&self, created_index: u64) -> Founding {
        let body = Body::decode(&self.body[..]).expect("what was packed here is well-formed");
        let all = |held: Vec<Member>| -> Vec<Arc<Registered>> {
            held.into_iter().map(|one| Arc::new(one.registered(self.expires_at))).collect()
        };
        let (founders, surplus) = (all(body.founders), all(body.surplus));
        let indexes = founders.iter().chain(&surplus).map(|held| held.index);
        Founding {
            path: TokenPath::stored(body.path),
            size: self.size,
            label: body.label.map(|text| text.parse().expect("it was a label")),
            created_index,
            index: indexes.max().unwrap_or(created_index),
            created_at: UnixMillis(body.created_at),
            expires_at: self.expires_at,
            revoked_at: body.revoked_at.map(UnixMillis),
            noted: body.noted,
            expiry_recorded: self.expiry_recorded,
            client_port: body.client_port.map(|port| port.try_into().expect("it was a port")),
            first_entry: body.first_entry,
            founders,
            surplus,
        }
    }
}

impl Member {
    fn of(registered: &Registered, end: UnixMillis) -> Self {
        let from = match registered.from {
            Some(IpAddr::V4(address)) => address.octets().to_vec(),
            Some(IpAddr::V6(address)) => address.octets().to_vec(),
            None => Vec::new(),
        };
        Self {
            key: registered.key.0,
            value: registered.value.clone(),
            index: registered.index,
            before: end.0.wrapping_sub(registered.at.0).cast_signed(),
            from,
        }
    }

    fn registered(self, end: UnixMillis) -> Registered {
        let v4 = || <[u8; 4]>::try_from(&self.from[..]).map(IpAddr::from);
        let v6 = || <[u8; 16]>::try_from(&self.from[..]).map(IpAddr::from);
        let from = v4().or_else(|_longer| v6()).ok();
        Registered {
            key: MemberId(self.key),
            index: self.index,
            at: UnixMillis(end.0.wrapping_sub(self.before.cast_unsigned())),
            from,
            value: self.value,
        }
    }
}

fn count(members: usize) -> u32 {
    u32::try_from(members).expect("a cluster has few members")
}
