use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Created, Error, NewToken, Order, RefusedAttempt, Registration};
use crate::admission::{Application, Founding, UnixMillis};
use crate::token::TokenPath;

type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What may be asked of the writer, and where the answer goes.
#[derive(Debug)]
pub(super) enum Command {
    Create {
        token: NewToken,
        now: UnixMillis,
        reply: Reply<Created>,
    },
    Register {
        path: TokenPath,
        application: Application,
        now: UnixMillis,
        reply: Reply<Registration>,
    },
    /// A refusal that needs no look at the token.
    RecordRefusal {
        refused: RefusedAttempt,
        reply: Reply<()>,
    },
    Operate {
        path: TokenPath,
        order: Order,
        by: String,
        now: UnixMillis,
        reply: Reply<Arc<Founding>>,
    },
    Sweep {
        now: UnixMillis,
        reply: Reply<()>,
    },
    /// Makes sure that memory shows what other services wrote before this was asked.
    CatchUp {
        reply: Reply<()>,
    },
}

/// What a command comes to, once the group it belongs to is written.
#[derive(Debug)]
pub(super) enum Answer {
    Created(Result<Created, Error>),
    Registered(Result<Registration, Error>),
    Operated(Result<Arc<Founding>, Error>),
    Done,
}

impl Command {
    /// Tells whoever asked; one that has gone away does not hear it.
    pub(super) fn answer(self, answer: Answer) {
        match (self, answer) {
            (Self::Create { reply, .. }, Answer::Created(created)) => {
                let _ = reply.send(created);
            }
            (Self::Register { reply, .. }, Answer::Registered(registered)) => {
                let _ = reply.send(registered);
            }
            (Self::Operate { reply, .. }, Answer::Operated(operated)) => {
                let _ = reply.send(operated);
            }
            (
                Self::RecordRefusal { reply, .. }
                | Self::Sweep { reply, .. }
                | Self::CatchUp { reply },
                Answer::Done,
            ) => {
                let _ = reply.send(Ok(()));
            }
            (command, answer) => unreachable!("{command:?} was answered with {answer:?}"),
        }
    }

    /// Tells whoever asked that nothing came of it.
    pub(super) fn fail(self, error: Error) {
        match self {
            Self::Create { reply, .. } => {
                let _ = reply.send(Err(error));
            }
            Self::Register { reply, .. } => {
                let _ = reply.send(Err(error));
            }
            Self::Operate { reply, .. } => {
                let _ = reply.send(Err(error));
            }
            Self::RecordRefusal { reply, .. }
            | Self::Sweep { reply, .. }
            | Self::CatchUp { reply } => {
                let _ = reply.send(Err(error));
            }
        }
    }
}
