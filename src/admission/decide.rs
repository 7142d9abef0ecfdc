use std::sync::Arc;

use super::{Application, Founding, Protocol, Refusal, Registered, State, UnixMillis};

/// What becomes of an application that is not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is a new founder; `seals` says that it was the last one missing.
    Found { seals: bool },
    /// It came too late; it is recorded, and learns from the directory that the cluster is full.
    RecordSurplus,
    /// It is registered already and goes on with its first registration. Nothing is written.
    Resume(Arc<Registered>),
}

/// Decides about an application to this token, of which so many late registrations are kept.
pub fn decide(
    founding: &Founding,
    application: &Application,
    max_surplus: usize,
    now: UnixMillis,
) -> Result<Decision, Refusal> {
    let state = founding.state(now);
    match state {
        State::Open | State::Full => {}
        State::Expired => return Err(Refusal::Expired),
        State::Revoked => return Err(Refusal::Revoked),
    }
    let key = application.key;
    let tried = Protocol::of(key, application.urls(), &founding.path);
    if let Some(joined) = founding.protocol().filter(|joined| *joined != tried) {
        let words = |protocol: Protocol| {
            let salt = match (protocol, founding.path.token()) {
                (Protocol::V3, Some(token)) => token,
                _ => application.url.as_str(),
            };
            format!("{} {salt}", protocol.flag())
        };
        return Err(Refusal::OtherProtocol { joined: words(joined), tried: words(tried) });
    }
    if let Some(founder) = founding.founders.iter().find(|held| held.key == key) {
        if state == State::Full {
            return Err(Refusal::FounderReturned {
                key,
                name: founder.name().to_owned(),
                urls: founder.urls().collect::<Vec<_>>().join(","),
            });
        }
        if founder.value == application.value {
            return Ok(Decision::Resume(Arc::clone(founder)));
        }
        return Err(Refusal::Registered { key, held: founder.value.clone() });
    }
    if state == State::Full {
        return match founding.surplus.iter().find(|held| held.key == key) {
            Some(held) if held.value == application.value => Ok(Decision::Resume(Arc::clone(held))),
            Some(held) => Err(Refusal::Registered { key, held: held.value.clone() }),
            None if founding.surplus.len() < max_surplus => Ok(Decision::RecordSurplus),
            None => Err(Refusal::TooManySurplus { size: founding.size.get(), max: max_surplus }),
        };
    }
    for founder in &founding.founders {
        if founder.name() == application.name() {
            let name = application.name().to_owned();
            return Err(Refusal::NameHeld { name, holder: founder.key });
        }
        if let Some(url) = application.urls().find(|url| founder.urls().any(|held| held == *url)) {
            let name = founder.name().to_owned();
            return Err(Refusal::UrlHeld { url: url.to_owned(), holder: founder.key, name });
        }
    }
    let seals = founding.founders.len() + 1 == founding.size.get() as usize;
    Ok(Decision::Found { seals })
}
