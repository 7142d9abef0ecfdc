//! etcd's words for every refusal: clients match code and text byte for byte.

use tonic::{Code, Status};

use crate::apply;
use crate::auth;
use crate::node::{Error, JwtError};
use crate::replica::MembershipError;

/// A gRPC code and the text beside it.
pub(super) type Words = (Code, &'static str);

/// A member that is to be added or moved has unusable URLs.
pub(super) const BAD_MEMBER_URLS: Words =
    (Code::InvalidArgument, "etcdserver: given member URLs are invalid");

/// A client names its version, and not in text (etcd 3.6).
pub(super) const INVALID_CLIENT_VERSION: Words =
    (Code::InvalidArgument, "etcdserver: invalid client api version");

/// etcd hands out the client's form of this one, which has no code.
const NOT_ENOUGH_STARTED: Words =
    (Code::Unknown, "etcdserver: re-configuration failed due to not enough started members");

/// The text of a refusal.
pub(in crate::api) fn text(error: &Error) -> &'static str {
    words(error).1
}

pub(super) fn refuse((code, text): Words) -> Status {
    Status::new(code, text)
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        refuse(words(&error))
    }
}

impl From<apply::Error> for Status {
    fn from(error: apply::Error) -> Self {
        Error::Apply(error).into()
    }
}

fn words(error: &Error) -> Words {
    use Code::{FailedPrecondition, InvalidArgument, Unavailable, Unknown};
    match error {
        Error::Apply(error) => apply_words(error),
        Error::Membership(error) => membership_words(error),
        Error::Timeout | Error::FateUnknown => (Unavailable, "etcdserver: request timed out"),
        Error::TimeoutLeaderLost => {
            (Unavailable, "etcdserver: request timed out, possibly due to previous leader failure")
        }
        Error::TimeoutConnectionLost => {
            (Unavailable, "etcdserver: request timed out, possibly due to connection lost")
        }
        // Go's words: etcd has none of its own for it.
        Error::TimeoutNoLeader => (Code::DeadlineExceeded, "context deadline exceeded"),
        Error::NoLeader => (Unavailable, "etcdserver: no leader"),
        Error::LeaderChanged => (Unavailable, "etcdserver: leader changed"),
        Error::NotLeader => (FailedPrecondition, "etcdserver: not leader"),
        // As with `NOT_ENOUGH_STARTED`.
        Error::TooManyRequests => (Unknown, "etcdserver: too many requests"),
        Error::NotEnoughStarted => {
            (Unknown, "etcdserver: re-configuration failed due to not enough started members")
        }
        Error::RequestTooLarge { .. } => (InvalidArgument, "etcdserver: request is too large"),
        Error::Unhealthy => (Unavailable, "etcdserver: unhealthy cluster"),
        Error::LearnerNotReady => (
            FailedPrecondition,
            "etcdserver: can only promote a learner member which is in sync with leader",
        ),
        Error::Learner => (FailedPrecondition, "etcdserver: rpc not supported for learner"),
        Error::BadTransferee => (FailedPrecondition, "etcdserver: bad leader transferee"),
        // As Go's library says it.
        Error::PasswordTooLong => (Unknown, "bcrypt: password length exceeds 72 bytes"),
        Error::Token(JwtError::VerifyOnly) => {
            (Unknown, "auth: token signing attempted with verify-only key")
        }
        Error::Token(_) => (Unknown, "auth: token cannot be signed"),
        Error::Stopped => (Unavailable, "etcdserver: server stopped"),
    }
}

fn membership_words(error: &MembershipError) -> Words {
    use Code::{FailedPrecondition, NotFound};
    match error {
        MembershipError::IdExists(_) => (FailedPrecondition, "etcdserver: member ID already exist"),
        MembershipError::PeerUrlExists(_) => {
            (FailedPrecondition, "etcdserver: Peer URLs already exists")
        }
        MembershipError::NotFound(_) => (NotFound, "etcdserver: member not found"),
        MembershipError::NotLearner(_) => {
            (FailedPrecondition, "etcdserver: can only promote a learner member")
        }
        MembershipError::TooManyLearners => {
            (FailedPrecondition, "etcdserver: too many learner members in cluster")
        }
        MembershipError::LastVoter(_) => NOT_ENOUGH_STARTED,
        MembershipError::Malformed => BAD_MEMBER_URLS,
    }
}

fn apply_words(error: &apply::Error) -> Words {
    use Code::{
        DataLoss, FailedPrecondition, InvalidArgument, NotFound, OutOfRange, ResourceExhausted,
        Unavailable,
    };
    use apply::Error as E;
    match error {
        E::EmptyKey => (InvalidArgument, "etcdserver: key is not provided"),
        E::KeyNotFound => (InvalidArgument, "etcdserver: key not found"),
        E::ValueProvided => (InvalidArgument, "etcdserver: value is provided"),
        E::LeaseProvided => (InvalidArgument, "etcdserver: lease is provided"),
        E::TooManyOps => (InvalidArgument, "etcdserver: too many operations in txn request"),
        E::DuplicateKey => (InvalidArgument, "etcdserver: duplicate key given in txn request"),
        E::InvalidSortOption => (InvalidArgument, "etcdserver: invalid sort option"),
        E::Compacted => (OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
        E::FutureRevision => {
            (OutOfRange, "etcdserver: mvcc: required revision is a future revision")
        }
        E::NoSpace => (ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
        E::Corrupt => (DataLoss, "etcdserver: corrupt cluster"),
        E::LeaseNotFound => (NotFound, "etcdserver: requested lease not found"),
        E::LeaseExists => (FailedPrecondition, "etcdserver: lease already exists"),
        E::LeaseTtlTooLarge => (OutOfRange, "etcdserver: too large lease TTL"),
        E::LeaderChanged => (Unavailable, "etcdserver: leader changed"),
        E::Auth(error) => auth_words(*error),
        // Not an answer: this member alone cannot read its disk, and stops.
        E::Storage(_) => (Unavailable, "etcdserver: server stopped"),
    }
}

fn auth_words(error: auth::Error) -> Words {
    use Code::{FailedPrecondition, InvalidArgument, PermissionDenied, Unauthenticated, Unknown};
    use auth::Error as E;
    match error {
        E::RootUserNotExist => (FailedPrecondition, "etcdserver: root user does not exist"),
        E::RootRoleNotExist => {
            (FailedPrecondition, "etcdserver: root user does not have root role")
        }
        E::UserAlreadyExist => (FailedPrecondition, "etcdserver: user name already exists"),
        E::UserEmpty => (InvalidArgument, "etcdserver: user name is empty"),
        E::UserNotFound => (FailedPrecondition, "etcdserver: user name not found"),
        E::RoleAlreadyExist => (FailedPrecondition, "etcdserver: role name already exists"),
        E::RoleNotFound => (FailedPrecondition, "etcdserver: role name not found"),
        E::RoleEmpty => (InvalidArgument, "etcdserver: role name is empty"),
        E::Failed => {
            (InvalidArgument, "etcdserver: authentication failed, invalid user ID or password")
        }
        // etcd has no code for this one.
        E::NoPasswordUser => {
            (Unknown, "auth: authentication failed, password was given for no password user")
        }
        E::PermissionNotGiven => (InvalidArgument, "etcdserver: permission not given"),
        E::PermissionDenied => (PermissionDenied, "etcdserver: permission denied"),
        E::RoleNotGranted => (FailedPrecondition, "etcdserver: role is not granted to the user"),
        E::PermissionNotGranted => {
            (FailedPrecondition, "etcdserver: permission is not granted to the role")
        }
        E::NotEnabled => (FailedPrecondition, "etcdserver: authentication is not enabled"),
        E::InvalidToken => (Unauthenticated, "etcdserver: invalid auth token"),
        E::InvalidManagement => (InvalidArgument, "etcdserver: invalid auth management"),
        E::OldRevision => (InvalidArgument, "etcdserver: revision of auth store is old"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::MemberId;
    use crate::mvcc::StorageError;

    /// What clients see, as measured on etcd: without the prefix that all share.
    #[allow(clippy::too_many_lines, reason = "a table")]
    fn table() -> Vec<(Error, i32, &'static str)> {
        use MembershipError as M;
        use apply::Error as A;
        use auth::Error as U;
        let id = MemberId(7);
        let io = StorageError::Corrupt { file: "f".into(), what: "w".into() };
        let mut table = vec![
            (Error::Timeout, 14, "request timed out"),
            (Error::FateUnknown, 14, "request timed out"),
            (
                Error::TimeoutLeaderLost,
                14,
                "request timed out, possibly due to previous leader failure",
            ),
            (
                Error::TimeoutConnectionLost,
                14,
                "request timed out, possibly due to connection lost",
            ),
            (Error::NoLeader, 14, "no leader"),
            (Error::LeaderChanged, 14, "leader changed"),
            (Error::NotLeader, 9, "not leader"),
            (Error::TooManyRequests, 2, "too many requests"),
            (Error::RequestTooLarge { size: 2, limit: 1 }, 3, "request is too large"),
            (
                Error::NotEnoughStarted,
                2,
                "re-configuration failed due to not enough started members",
            ),
            (Error::Unhealthy, 14, "unhealthy cluster"),
            (
                Error::LearnerNotReady,
                9,
                "can only promote a learner member which is in sync with leader",
            ),
            (Error::Learner, 9, "rpc not supported for learner"),
            (Error::BadTransferee, 9, "bad leader transferee"),
            (Error::Stopped, 14, "server stopped"),
        ];
        table.extend(
            [
                (M::IdExists(id), 9, "member ID already exist"),
                (M::PeerUrlExists("u".into()), 9, "Peer URLs already exists"),
                (M::NotFound(id), 5, "member not found"),
                (M::NotLearner(id), 9, "can only promote a learner member"),
                (M::TooManyLearners, 9, "too many learner members in cluster"),
                (M::Malformed, 3, "given member URLs are invalid"),
                (M::LastVoter(id), 2, "re-configuration failed due to not enough started members"),
            ]
            .map(|(error, code, text)| (Error::Membership(error), code, text)),
        );
        table.extend(
            [
                (A::EmptyKey, 3, "key is not provided"),
                (A::KeyNotFound, 3, "key not found"),
                (A::ValueProvided, 3, "value is provided"),
                (A::LeaseProvided, 3, "lease is provided"),
                (A::TooManyOps, 3, "too many operations in txn request"),
                (A::DuplicateKey, 3, "duplicate key given in txn request"),
                (A::InvalidSortOption, 3, "invalid sort option"),
                (A::Compacted, 11, "mvcc: required revision has been compacted"),
                (A::FutureRevision, 11, "mvcc: required revision is a future revision"),
                (A::NoSpace, 8, "mvcc: database space exceeded"),
                (A::Corrupt, 15, "corrupt cluster"),
                (A::LeaseNotFound, 5, "requested lease not found"),
                (A::LeaseExists, 9, "lease already exists"),
                (A::LeaseTtlTooLarge, 11, "too large lease TTL"),
                (A::LeaderChanged, 14, "leader changed"),
                (A::Storage(io), 14, "server stopped"),
            ]
            .map(|(error, code, text)| (Error::Apply(error), code, text)),
        );
        table.extend(
            [
                (U::RootUserNotExist, 9, "root user does not exist"),
                (U::RootRoleNotExist, 9, "root user does not have root role"),
                (U::UserAlreadyExist, 9, "user name already exists"),
                (U::UserEmpty, 3, "user name is empty"),
                (U::UserNotFound, 9, "user name not found"),
                (U::RoleAlreadyExist, 9, "role name already exists"),
                (U::RoleNotFound, 9, "role name not found"),
                (U::RoleEmpty, 3, "role name is empty"),
                (U::Failed, 3, "authentication failed, invalid user ID or password"),
                (U::PermissionNotGiven, 3, "permission not given"),
                (U::PermissionDenied, 7, "permission denied"),
                (U::RoleNotGranted, 9, "role is not granted to the user"),
                (U::PermissionNotGranted, 9, "permission is not granted to the role"),
                (U::NotEnabled, 9, "authentication is not enabled"),
                (U::InvalidToken, 16, "invalid auth token"),
                (U::InvalidManagement, 3, "invalid auth management"),
                (U::OldRevision, 3, "revision of auth store is old"),
            ]
            .map(|(error, code, text)| (Error::Apply(error.into()), code, text)),
        );
        table
    }

    #[test]
    fn every_refusal_has_the_code_and_text_of_etcd() {
        for (error, code, text) in table() {
            let status = Status::from(error.clone());
            assert_eq!(i32::from(status.code()), code, "{error:?}");
            assert_eq!(status.message(), format!("etcdserver: {text}"), "{error:?}");
        }
    }

    #[test]
    fn what_etcd_has_no_words_for_is_told_in_those_of_its_libraries() {
        let late = Status::from(Error::TimeoutNoLeader);
        assert_eq!(
            (late.code(), late.message()),
            (Code::DeadlineExceeded, "context deadline exceeded")
        );
        let cases = [
            (
                Error::from(auth::Error::NoPasswordUser),
                "auth: authentication failed, password was given for no password user",
            ),
            (Error::PasswordTooLong, "bcrypt: password length exceeds 72 bytes"),
            (
                Error::Token(JwtError::VerifyOnly),
                "auth: token signing attempted with verify-only key",
            ),
        ];
        for (error, text) in cases {
            let status = Status::from(error);
            assert_eq!((status.code(), status.message()), (Code::Unknown, text));
        }
    }

    /// The state machine spells its refusals for the log; the two must not drift apart.
    #[test]
    fn the_state_machine_has_the_same_words() {
        for (error, _, text) in table() {
            if let Error::Apply(error) = error
                && !matches!(error, apply::Error::Storage(_))
            {
                assert_eq!(error.to_string(), format!("etcdserver: {text}"));
            }
        }
    }
}
