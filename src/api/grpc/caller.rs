//! Who calls, and whether they may: what every service asks before it acts.

use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request};

use crate::auth::Caller;
use crate::node::{Credentials, Error, Handle};
use crate::transport::PeerIdentity;

/// Who a call is from, still to be looked up.
#[derive(Debug, Clone, Default)]
pub(super) struct Claim(Credentials);

impl Claim {
    /// Takes down what the call says of its sender, also while nobody is checked: a stream may live to see that
    /// change.
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        let token = token(request.metadata()).map(Credentials::Token);
        let name = || common_name(request.metadata(), request.extensions());
        Self(token.or_else(|| name().map(Credentials::CommonName)).unwrap_or_default())
    }

    /// Looks up who that is.
    pub(super) async fn caller(&self, handle: &Handle) -> Result<Caller, Error> {
        match &self.0 {
            // Spares the copy of nothing.
            Credentials::None => Ok(Caller::Nobody),
            some => handle.identify(some.clone()).await,
        }
    }
}

/// Lets through callers that have a name, for calls that need no more than that.
pub(super) async fn require_name<T>(handle: &Handle, request: &Request<T>) -> Result<(), Error> {
    let caller = Claim::of(request).caller(handle).await?;
    Ok(handle.state().auth().is_named(&caller)?)
}

/// Lets through callers that have the role `root`.
pub(super) async fn require_root<T>(handle: &Handle, request: &Request<T>) -> Result<(), Error> {
    let caller = Claim::of(request).caller(handle).await?;
    Ok(handle.state().auth().is_root(&caller)?)
}

/// The token of a call: in the metadata of gRPC clients, in the header that the JSON gateway passes on.
fn token(metadata: &MetadataMap) -> Option<String> {
    let value = metadata.get("token").or_else(|| metadata.get("authorization"))?;
    // What is not text is no token of anybody, and must not count as none.
    let text = value.to_str().unwrap_or_default();
    Some(text.strip_prefix("Bearer ").unwrap_or(text).to_owned())
}

/// The name in a verified certificate; a certificate without one names the user with the empty name, of whom there is
/// none, as in etcd. The gateway's own certificate says nothing about its callers.
fn common_name(metadata: &MetadataMap, extensions: &Extensions) -> Option<String> {
    if metadata.contains_key("grpcgateway-accept") {
        return None;
    }
    Some(extensions.get::<PeerIdentity>()?.common_name.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_speaks_for_its_own_connection_only() {
        let mut extensions = Extensions::new();
        assert_eq!(common_name(&MetadataMap::new(), &extensions), None);
        extensions.insert(PeerIdentity::default());
        assert_eq!(common_name(&MetadataMap::new(), &extensions).as_deref(), Some(""));
        let common_name_of = Some("alice".to_owned());
        extensions.insert(PeerIdentity { common_name: common_name_of, ..Default::default() });
        assert_eq!(common_name(&MetadataMap::new(), &extensions).as_deref(), Some("alice"));
        let mut gateway = MetadataMap::new();
        gateway.insert("grpcgateway-accept", "*/*".parse().unwrap());
        assert_eq!(common_name(&gateway, &extensions), None);
    }

    #[test]
    fn the_token_comes_from_either_header() {
        let metadata = |pairs: &[(&'static str, &str)]| {
            let mut metadata = MetadataMap::new();
            for (key, value) in pairs {
                metadata.insert(*key, value.parse().unwrap());
            }
            metadata
        };
        for (pairs, wanted) in [
            (&[][..], None),
            (&[("token", "a.1")], Some("a.1")),
            (&[("authorization", "a.1")], Some("a.1")),
            (&[("authorization", "Bearer a.1")], Some("a.1")),
            (&[("authorization", "b.2"), ("token", "Bearer a.1")], Some("a.1")),
            (&[("token", "")], Some("")),
        ] {
            assert_eq!(token(&metadata(pairs)).as_deref(), wanted, "{pairs:?}");
        }
    }
}
