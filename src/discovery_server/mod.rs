//! discovery_server
