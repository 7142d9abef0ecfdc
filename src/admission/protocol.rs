use crate::membership::MemberId;
use crate::token::TokenPath;

/// How nodes talk to the registry; it decides which text enters their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// The v2 keys API over HTTP; ids follow from the whole discovery URL.
    #[default]
    V2,
    /// etcd's gRPC services; ids follow from the bare token.
    V3,
}

impl Protocol {
    /// The protocol that made this id: the two texts never give the same one.
    pub(super) fn of<'a>(
        key: MemberId,
        urls: impl Iterator<Item = &'a str>,
        path: &TokenPath,
    ) -> Self {
        let by_token = path.token().map(|token| MemberId::derive(urls, token));
        if by_token == Some(key) { Self::V3 } else { Self::V2 }
    }

    /// The text that enters the ids of all members.
    pub fn salt(self, path: &TokenPath, public_url: &str) -> String {
        match (self, path.token()) {
            (Self::V3, Some(token)) => token.to_owned(),
            _ => path.discovery_url(public_url),
        }
    }

    /// The flag that takes that text.
    pub(super) fn flag(self) -> &'static str {
        match self {
            Self::V2 => "--discovery",
            Self::V3 => "--discovery-token",
        }
    }

    /// What that text is called.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::V2 => "discovery URL",
            Self::V3 => "discovery token",
        }
    }
}
