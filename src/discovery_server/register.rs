use tracing::info;

use super::{Service, WRITE_LIMIT, request_id};
use crate::admission::{Application, Door, Label};
use crate::registry::{self, Created, Error, NewToken, Outcome, RefusedAttempt, Registration};
use crate::token::TokenPath;

impl Service {
    /// Makes a token by its size, or finds it made with the same size.
    pub(super) async fn create(&self, token: NewToken) -> Result<Created, Error> {
        let from = token.from;
        let creating = self.registry().create(token, registry::now());
        let created = tokio::time::timeout(WRITE_LIMIT, creating).await;
        let created = created.unwrap_or(Err(Error::Unavailable))?;
        if !created.existed {
            let founding = &created.founding;
            info!(
                request.id = request_id::current(),
                client.address = from.map(tracing::field::display),
                token.id = %founding.path.public_id(),
                token.size = founding.size.get(),
                token.label = founding.label.as_ref().map(Label::as_str),
                "token created"
            );
        }
        Ok(created)
    }

    /// Registers a node that came through this door, and logs what became of it.
    pub(super) async fn register(
        &self,
        token: &TokenPath,
        id: &str,
        value: &str,
        door: &Door,
    ) -> Result<Registration, Error> {
        let registered = match Application::check(id, value, token, door) {
            Ok(application) => {
                let writing = self.registry().register(token.clone(), application, registry::now());
                let registered = tokio::time::timeout(WRITE_LIMIT, writing).await;
                registered.unwrap_or(Err(Error::Unavailable))
            }
            Err(refusal) => {
                let refused =
                    RefusedAttempt::before(token, id, value, &refusal, door.from, registry::now());
                // A refusal is told even when it cannot be written down.
                let noting = self.registry().record_refusal(refused);
                let _ = tokio::time::timeout(WRITE_LIMIT, noting).await;
                Err(refusal.into())
            }
        };
        match &registered {
            Ok(registration) => {
                let id = request_id::current();
                let founding = &registration.founding;
                let held = &registration.registered;
                self.metrics().registered(registration.outcome, founding, held);
                info!(
                    request.id = id,
                    token.id = %token.public_id(),
                    token.label = founding.label.as_ref().map(Label::as_str),
                    member.id = %held.key,
                    member.name = held.name(),
                    founders = founding.founders.len(),
                    size = founding.size.get(),
                    "{}",
                    sentence(registration.outcome)
                );
            }
            Err(Error::Refused(refusal)) => {
                self.recent().refused(token, id, refusal, door.from, registry::now());
                info!(
                    request.id = request_id::current(),
                    client.address = door.from.map(tracing::field::display),
                    token.id = %token.public_id(),
                    member.id = %token.redact(id),
                    refusal.code = refusal.code(),
                    "registration refused"
                );
            }
            Err(_) => {}
        }
        registered
    }
}

fn sentence(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Founded => "member registered",
        Outcome::Sealed => "member registered, the cluster is complete",
        Outcome::Resumed => "member resumed its registration",
        Outcome::Surplus => "member came after the cluster was complete",
    }
}
