//! The level of etcd that clients may take this node for. The only place that names it.

/// What `/version` and `Status` call the server.
pub const SERVER: &str = "3.6.14";
/// The cluster version: no member may do what this level does not know.
pub const CLUSTER: &str = "3.6.0";
/// The version of the stored data.
pub const STORAGE: &str = "3.6.0";
