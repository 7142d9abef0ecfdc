use crate::token::{self, Token, TokenPath, ViewId};

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// `/<token>` and below, where the token is known from the form.
    Key { token: TokenPath, leaf: Leaf },
    /// `/v2/keys/...`: a token of that path, or a member of the token one segment shorter. Only
    /// the registry knows which tokens exist.
    Either { token: TokenPath, parent: Option<TokenPath>, last: String },
    /// `/<token>/initial-cluster`.
    InitialCluster { token: TokenPath },
    /// `/<token>/events`: changes of the page.
    Events { token: TokenPath },
    /// `/view/<view id>`: the page without the secret; or its changes.
    View { view: ViewId, events: bool },
    /// Nothing of ours; with the reason, if there is more to say.
    Nothing { reason: Option<token::Error> },
}

/// What is asked of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leaf {
    /// The members.
    Directory,
    /// The hidden directory of the size.
    ConfigDirectory,
    Size,
    Member(String),
}

impl Target {
    /// Understands a path. Doubled slashes and one at the end mean nothing, as in etcd; but where the
    /// token is missing, etcd 3.4 would make one called `discovery` for everybody, and here is none.
    pub(super) fn of(path: &str) -> Self {
        if has_gap(path) {
            return Self::Nothing { reason: Some(token::Error::PathGap) };
        }
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match segments.as_slice() {
            ["v2", "keys", key @ ..] => Self::raw(key),
            ["view", view] => Self::view(view, false),
            ["view", view, "events"] => Self::view(view, true),
            [token, rest @ ..] => match token.parse::<Token>() {
                Ok(token) => Self::short(TokenPath::short(&token), rest),
                Err(reason) => Self::Nothing { reason: Some(reason) },
            },
            [] => Self::Nothing { reason: None },
        }
    }

    /// The tokens that may be meant.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &TokenPath> {
        let (token, parent) = match self {
            Self::Key { token, .. } | Self::InitialCluster { token } | Self::Events { token } => {
                (Some(token), None)
            }
            Self::Either { token, parent, .. } => (Some(token), parent.as_ref()),
            // A view names no token by its path.
            Self::View { .. } | Self::Nothing { .. } => (None, None),
        };
        token.into_iter().chain(parent)
    }

    fn view(view: &str, events: bool) -> Self {
        match view.parse() {
            Ok(view) => Self::View { view, events },
            Err(reason) => Self::Nothing { reason: Some(reason) },
        }
    }

    fn short(token: TokenPath, rest: &[&str]) -> Self {
        let leaf = match rest {
            [] => Leaf::Directory,
            ["_config"] => Leaf::ConfigDirectory,
            ["_config", "size"] => Leaf::Size,
            ["events"] => return Self::Events { token },
            ["initial-cluster"] => return Self::InitialCluster { token },
            [member] => Leaf::Member((*member).to_owned()),
            _ => return Self::Nothing { reason: None },
        };
        Self::Key { token, leaf }
    }

    fn raw(key: &[&str]) -> Self {
        let (key, leaf) = match key {
            [head @ .., "_config", "size"] => (head, Some(Leaf::Size)),
            [head @ .., "_config"] => (head, Some(Leaf::ConfigDirectory)),
            whole => (whole, None),
        };
        let token = match TokenPath::raw(key.iter().copied()) {
            Ok(token) => token,
            Err(reason) => return Self::Nothing { reason: Some(reason) },
        };
        match (leaf, key.split_last()) {
            (Some(leaf), _) => Self::Key { token, leaf },
            (None, Some((last, parent))) => {
                let parent = TokenPath::raw(parent.iter().copied()).ok();
                Self::Either { token, parent, last: (*last).to_owned() }
            }
            (None, None) => Self::Nothing { reason: Some(token::Error::PathEmpty) },
        }
    }
}

/// Whether a part is missing in the path of a size: what a variable leaves that is empty.
fn has_gap(path: &str) -> bool {
    let mut parts = path.split('/');
    let mut named = || parts.find(|part| !part.is_empty());
    if (named(), named()) != (Some("v2"), Some("keys")) {
        return false;
    }
    let key: Vec<&str> = parts.collect();
    let size = key.iter().position(|part| *part == "_config");
    size.is_some_and(|size| key[..size].contains(&""))
}

/// The last part of a path that can be nothing but the secret of a token.
pub(super) fn secret_in(path: &str) -> Option<Token> {
    path.rsplit('/').find_map(|part| part.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "6c007a14875d53d9bf0ef5a6fc0257c8";

    fn short() -> TokenPath {
        TokenPath::short(&TOKEN.parse().unwrap())
    }

    #[test]
    fn short_paths_lead_to_a_leaf_however_many_slashes_they_have() {
        let key = |leaf| Target::Key { token: short(), leaf };
        for (path, target) in [
            (format!("/{TOKEN}"), key(Leaf::Directory)),
            (format!("/{TOKEN}/"), key(Leaf::Directory)),
            (format!("//{TOKEN}//"), key(Leaf::Directory)),
            (format!("/{TOKEN}/_config"), key(Leaf::ConfigDirectory)),
            (format!("/{TOKEN}//_config/size"), key(Leaf::Size)),
            (format!("/{TOKEN}/6af27103607f24d3"), key(Leaf::Member("6af27103607f24d3".into()))),
            (format!("/{TOKEN}/initial-cluster"), Target::InitialCluster { token: short() }),
            (format!("/{TOKEN}/events"), Target::Events { token: short() }),
            (
                format!("/view/{TOKEN}/"),
                Target::View { view: TOKEN.parse().unwrap(), events: false },
            ),
            (
                format!("/view/{TOKEN}/events"),
                Target::View { view: TOKEN.parse().unwrap(), events: true },
            ),
            ("/view/x".into(), Target::Nothing { reason: Some(token::Error::NoViewId) }),
            (format!("/{TOKEN}/a/b"), Target::Nothing { reason: None }),
            ("/".into(), Target::Nothing { reason: None }),
            ("/abc".into(), Target::Nothing { reason: Some(token::Error::NoToken) }),
        ] {
            assert_eq!(Target::of(&path), target, "{path}");
        }
    }

    #[test]
    fn raw_paths_leave_the_choice_to_the_registry() {
        let raw = |segments: &[&str]| TokenPath::raw(segments.iter().copied()).unwrap();
        assert_eq!(
            Target::of("/v2/keys/discovery/tok1/_config/size"),
            Target::Key { token: raw(&["discovery", "tok1"]), leaf: Leaf::Size }
        );
        assert_eq!(
            Target::of("/v2/keys/discovery//tok1/"),
            Target::Either {
                token: raw(&["discovery", "tok1"]),
                parent: Some(raw(&["discovery"])),
                last: "tok1".into()
            }
        );
        assert_eq!(
            Target::of("/v2/keys/tok1"),
            Target::Either { token: raw(&["tok1"]), parent: None, last: "tok1".into() }
        );
        for path in ["/v2/keys", "/v2/keys/", "/v2/keys/_config/size", "/v2/keys/a%20b/c"] {
            assert!(matches!(Target::of(path), Target::Nothing { reason: Some(_) }), "{path}");
        }
    }

    #[test]
    fn a_token_that_is_missing_is_no_token() {
        let missing = Target::Nothing { reason: Some(token::Error::PathGap) };
        for path in [
            "/v2/keys//_config/size",
            "/v2/keys/discovery//_config/size",
            "/v2/keys/discovery//_config",
            "/v2/keys//tok1/_config/size",
            "//v2//keys/discovery///_config/size/",
        ] {
            assert_eq!(Target::of(path), missing, "{path}");
        }
        for path in ["/v2/keys/discovery//tok1/", "/v2/keys/discovery/_config/size/"] {
            assert_ne!(Target::of(path), missing, "{path}");
        }
    }
}
