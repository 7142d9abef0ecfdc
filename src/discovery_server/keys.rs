use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};

use super::accept::Wanted;
use super::answer::{not_allowed, options};
use super::asked::Asked;
use super::target::{self, Leaf, Target};
use super::{Service, answer, new, page, poll};
use crate::admission::{Application, ClusterSize, Founding, Refusal, State, codes, decide};
use crate::registry::{self, NewToken, Outcome};
use crate::token::{Token, TokenPath};
use crate::v2::{Action, Error, ErrorCode, Node};

const ALLOW: &str = "GET, HEAD, PUT, OPTIONS";

/// Parameters of a v2 write that ask for something a registry does not do.
const UNSUPPORTED: [&str; 6] = ["ttl", "dir", "refresh", "prevValue", "prevIndex", "stream"];

/// Answers for a key of a token, and says which route it was.
pub(super) async fn answer(
    service: &Service,
    target: Target,
    asked: &Asked,
) -> (&'static str, Response<Body>) {
    match asked.method {
        Method::GET | Method::HEAD | Method::PUT => {}
        Method::OPTIONS => return ("options", options(ALLOW)),
        _ => {
            let why = "registrations are never changed or deleted; make a new token with /new";
            return ("not_allowed", not_allowed(ALLOW, why));
        }
    }
    let (token, leaf) = match resolve(service, target) {
        Ok(found) => found,
        Err(_) if asked.wanted == Wanted::Page && asked.method != Method::PUT => {
            return ("unknown", page::nothing(service));
        }
        Err(reason) => {
            let cause = match reason {
                Some(reason) => format!("{} ({reason})", asked.path),
                None => asked.path.clone(),
            };
            return ("unknown", service.absent(target::secret_in(&asked.path).as_ref(), cause));
        }
    };
    if let Err(early) = service.pace(&token).await {
        let cause = format!("{}: this token is asked for too often", codes::TOKEN_BUSY);
        let mut response = service.busy(StatusCode::SERVICE_UNAVAILABLE, &cause);
        let seconds = HeaderValue::from(early.as_secs() + 1);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
        return ("busy", response);
    }
    if leaf == Leaf::Directory && asked.method != Method::PUT {
        // Only who names these types means them; nodes and curl do not.
        match asked.wanted {
            Wanted::Page => return ("page", page::token(service, &token)),
            Wanted::Events => {
                let events = page::events(service, Some(&token), page::Looker::Joiner, asked);
                return ("events", events);
            }
            Wanted::Json | Wanted::Protocol => {}
        }
    }
    let parameters = &asked.parameters;
    let flags = || {
        Ok(Flags {
            recursive: parameters.flag("recursive")?,
            wait: parameters.flag("wait")?,
            // Read for their errors: the answer is always sorted and always from the one registry.
            _ordered: (parameters.flag("sorted")?, parameters.flag("quorum")?),
            wait_index: parameters.index("waitIndex")?,
            prev_exist: parameters.choice("prevExist")?,
        })
    };
    let flags: Flags = match flags() {
        Ok(flags) => flags,
        Err(error) => return ("bad_request", service.bad_request(&error)),
    };
    match (asked.method == Method::PUT, leaf) {
        (true, _) if flags.wait => {
            let cause = "\"wait\" can only be used with GET requests";
            ("bad_request", service.bad_request(&Error::new(ErrorCode::InvalidField, cause, 0)))
        }
        (true, leaf) => write(service, &token, leaf, &flags, asked).await,
        (false, leaf) => read(service, &token, leaf, &flags).await,
    }
}

/// What a request says beside its path.
struct Flags {
    recursive: bool,
    wait: bool,
    _ordered: (bool, bool),
    wait_index: u64,
    prev_exist: Option<bool>,
}

/// Finds the token that a raw path means: the one with the whole path, else the one above.
fn resolve(
    service: &Service,
    target: Target,
) -> Result<(TokenPath, Leaf), Option<crate::token::Error>> {
    let known = |path: &TokenPath| service.registry().founding(path).is_some();
    match target {
        Target::Key { token, leaf } => Ok((token, leaf)),
        Target::Either { token, parent: Some(parent), last }
            if !known(&token) && known(&parent) =>
        {
            Ok((parent, Leaf::Member(last)))
        }
        Target::Either { token, .. } => Ok((token, Leaf::Directory)),
        Target::InitialCluster { token } | Target::Events { token } => Ok((token, Leaf::Directory)),
        Target::View { .. } => Err(None),
        Target::Nothing { reason } => Err(reason),
    }
}

impl Service {
    /// The token, or the answer for one that is unknown or expired.
    pub(super) fn living(&self, token: &TokenPath) -> Result<Arc<Founding>, Box<Response<Body>>> {
        match self.registry().founding(token) {
            Some(founding) if founding.state(registry::now()) == State::Expired => {
                Err(Box::new(self.refusal(&Refusal::Expired, token.key())))
            }
            Some(founding) => Ok(founding),
            None => {
                let secret = token.end().or_else(|| token.token()?.parse().ok());
                Err(Box::new(self.absent(secret.as_ref(), token.key())))
            }
        }
    }

    /// The answer for what is not there. Who knows the secret of a token, and has a wrong path before
    /// it, learns the right one; nobody else does.
    fn absent(&self, secret: Option<&Token>, key: impl Into<String>) -> Response<Body> {
        let known = secret.and_then(|token| self.registry().elsewhere(token, registry::now()));
        match known {
            Some(path) => {
                let canonical = path.discovery_url(&self.config().public_url);
                self.refusal(&Refusal::OtherPath { canonical }, &key.into())
            }
            None => self.error(ErrorCode::KeyNotFound, key),
        }
    }
}

async fn read(
    service: &Service,
    token: &TokenPath,
    leaf: Leaf,
    flags: &Flags,
) -> (&'static str, Response<Body>) {
    let founding = match service.living(token) {
        Ok(founding) => founding,
        Err(absent) => return ("unknown", *absent),
    };
    if flags.wait {
        let polled = poll::Polled::of(leaf, flags.recursive);
        return ("wait", poll::answer(service, &founding, polled, flags.wait_index).await);
    }
    let (route, node) = match leaf {
        Leaf::Directory => ("directory", answer::directory_node(&founding)),
        Leaf::Size => ("size", answer::size_node(&founding)),
        Leaf::ConfigDirectory => {
            let key = format!("{}/_config", founding.path.key());
            let sizes = vec![answer::size_node(&founding)];
            ("size", Node::directory(key, sizes, founding.created_index))
        }
        Leaf::Member(id) => {
            let held = id.parse().ok().and_then(|key| founding.registered(key));
            match held.filter(|held| held.key.to_string() == id) {
                Some(held) => ("member", answer::member_node(&founding, held)),
                None => {
                    let key = format!("{}/{id}", founding.path.key());
                    return ("member", service.error(ErrorCode::KeyNotFound, key));
                }
            }
        }
    };
    (route, service.node(StatusCode::OK, Action::Get, node, founding.index))
}

async fn write(
    service: &Service,
    token: &TokenPath,
    leaf: Leaf,
    flags: &Flags,
    asked: &Asked,
) -> (&'static str, Response<Body>) {
    if let Some(name) = UNSUPPORTED.iter().find(|name| asked.parameters.text(name).is_some()) {
        let cause = format!("\"{name}\" is not supported by a discovery service");
        let error = Error::new(ErrorCode::InvalidField, cause, 0);
        return ("bad_request", service.bad_request(&error));
    }
    match leaf {
        Leaf::Size => ("create", create(service, token, flags, asked).await),
        Leaf::Member(id) => ("register", register(service, token, &id, flags, asked).await),
        Leaf::Directory | Leaf::ConfigDirectory => match service.living(token) {
            Ok(_) => ("not_a_file", service.error(ErrorCode::NotAFile, token.key())),
            Err(absent) => ("unknown", *absent),
        },
    }
}

/// Makes a token by writing its size, as operators do with a real etcd.
async fn create(
    service: &Service,
    token: &TokenPath,
    flags: &Flags,
    asked: &Asked,
) -> Response<Body> {
    let key = format!("{}/_config/size", token.key());
    let text = asked.parameters.text("value").unwrap_or_default();
    let size = match ClusterSize::parse(text, service.config().max_size) {
        Ok(size) => size,
        Err(error) => return service.refusal(&Refusal::Size(error), &key),
    };
    if flags.prev_exist == Some(true)
        && let Err(absent) = service.living(token)
    {
        return *absent;
    }
    // Writing a size that is there makes nothing.
    if service.registry().founding(token).is_none() {
        let asker = service.asker(&asked.headers, asked.from, false);
        if let Err(refused) = asker.and_then(|asker| service.spend(&asker)) {
            return new::turned_away(asked, refused);
        }
    }
    let token = NewToken {
        path: token.clone(),
        size,
        label: None,
        ttl: None,
        client_port: None,
        from: asked.from,
    };
    match service.create(token).await {
        Ok(created) if created.existed && flags.prev_exist == Some(false) => {
            service.error(ErrorCode::KeyExists, key)
        }
        Ok(created) => {
            let founding = created.founding;
            let status = if created.existed { StatusCode::OK } else { StatusCode::CREATED };
            let action = if flags.prev_exist == Some(false) { Action::Create } else { Action::Set };
            service.node(status, action, answer::size_node(&founding), founding.index)
        }
        Err(registry::Error::Refused(refusal)) => service.refusal(&refusal, &key),
        Err(error) => service.trouble(&error),
    }
}

/// Registers a node. It tries once only, so a refusal must say everything it needs.
async fn register(
    service: &Service,
    token: &TokenPath,
    id: &str,
    flags: &Flags,
    asked: &Asked,
) -> Response<Body> {
    let key = format!("{}/{id}", token.key());
    let founding = match service.living(token) {
        Ok(founding) => founding,
        Err(absent) => return *absent,
    };
    let door = service.door(asked);
    let value = asked.parameters.text("value").unwrap_or_default();
    if flags.prev_exist == Some(true)
        && id.parse().ok().and_then(|id| founding.registered(id)).is_none()
    {
        // Nothing is written, as there is nothing to overwrite; so `quorate doctor` can ask whether
        // a registration would be taken.
        let surplus = service.config().limits.surplus;
        let rehearsed = Application::check(id, value, token, &door)
            .and_then(|applied| decide(&founding, &applied, surplus, registry::now()));
        return match rehearsed {
            Err(refusal) => service.refusal(&refusal, &key),
            Ok(_) => service.error(ErrorCode::KeyNotFound, key),
        };
    }
    match service.register(token, id, value, &door).await {
        Ok(registration) => {
            let founding = &registration.founding;
            let held = &registration.registered;
            let status = match registration.outcome {
                Outcome::Resumed => StatusCode::OK,
                Outcome::Founded | Outcome::Sealed | Outcome::Surplus => StatusCode::CREATED,
            };
            let node = answer::member_node(founding, held);
            service.node(status, Action::Create, node, founding.index)
        }
        Err(registry::Error::Refused(refusal)) => service.refusal(&refusal, &key),
        Err(registry::Error::Unknown) => service.error(ErrorCode::KeyNotFound, token.key()),
        Err(error) => service.trouble(&error),
    }
}
