//! Refusals as gRPC statuses. The text starts with our code, and reaches the journal of the node.

use tonic::{Code, Status};

use super::Service;
use crate::admission::Refusal;
use crate::discovery_server::answer::trouble;
use crate::discovery_server::gate::TurnedAway;
use crate::discovery_server::request_id::named;
use crate::{registry, token};

/// The key that `etcdctl endpoint health` reads. It takes these words of etcd, and no others, for the sign
/// that an endpoint answers.
pub(super) fn health() -> Status {
    Status::permission_denied("etcdserver: permission denied")
}

/// A call that a registry does not answer.
pub(super) fn absent() -> Status {
    Status::unimplemented(
        "the discovery service answers Range, Put, Watch, Authenticate and the list of alarms, and no other calls",
    )
}

/// A service of etcd with the methods that a registry has, and refusals for those that it has not.
macro_rules! service {
    (
        impl $($service:ident)::+ for $own:ty { $($has:tt)* }
        absent { $($method:ident: $asked:ident -> $answer:ident),* $(,)? }
    ) => {
        #[tonic::async_trait]
        impl $($service)::+ for $own {
            $($has)*

            $(async fn $method(
                &self,
                _: tonic::Request<$crate::proto::etcdserverpb::$asked>,
            ) -> Result<tonic::Response<$crate::proto::etcdserverpb::$answer>, tonic::Status> {
                Err($crate::discovery_server::grpc::refuse::absent())
            })*
        }
    };
}
pub(super) use service;

/// An option of a call that a registry does not know.
pub(super) fn option(name: &str) -> Status {
    Status::invalid_argument(format!("`{name}` is not supported by a discovery service"))
}

/// etcd's words for a read ahead of time.
pub(super) fn future() -> Status {
    Status::out_of_range("etcdserver: mvcc: required revision is a future revision")
}

pub(super) fn no_token(error: &token::Error) -> Status {
    Status::invalid_argument(error.to_string())
}

/// A token that nobody made, or whose time is over.
pub(super) fn unknown() -> Status {
    let text =
        "the token is unknown or has expired; make one with /new, or by writing its _config/size";
    Status::not_found(named(text.to_owned()))
}

/// Nobody may make tokens without a key, or that many.
pub(super) fn turned_away(why: TurnedAway) -> Status {
    let text = named(format!("{}: {why}", why.code()));
    match why {
        TurnedAway::NoKey => Status::unauthenticated(text),
        TurnedAway::TooFast { .. } => Status::resource_exhausted(text),
    }
}

/// The service stops; clients take this as a reason to connect again.
pub(super) fn stopping() -> Status {
    Status::unavailable("the discovery service stops")
}

impl Service {
    /// Why a write did not happen.
    pub(super) fn status(&self, error: &registry::Error) -> Status {
        match error {
            registry::Error::Refused(refusal) => {
                self.metrics().refused(refusal.code());
                Status::new(code(refusal), named(format!("{}: {refusal}", refusal.code())))
            }
            registry::Error::Unknown => unknown(),
            registry::Error::LabelTaken { .. }
            | registry::Error::Full
            | registry::Error::Unavailable => {
                let (code, _) = trouble(error);
                self.metrics().refused(code);
                let text = named(format!("{code}: {error}, try again"));
                match error {
                    registry::Error::Full => Status::resource_exhausted(text),
                    _ => Status::unavailable(text),
                }
            }
        }
    }
}

fn code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Expired | Refusal::Revoked => Code::NotFound,
        Refusal::NameHeld { .. } | Refusal::UrlHeld { .. } => Code::AlreadyExists,
        Refusal::SizeFixed { .. }
        | Refusal::Registered { .. }
        | Refusal::FounderReturned { .. }
        | Refusal::OtherProtocol { .. } => Code::FailedPrecondition,
        Refusal::TooManySurplus { .. } => Code::ResourceExhausted,
        _ => Code::InvalidArgument,
    }
}
