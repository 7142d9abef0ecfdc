//! The discovery token.
