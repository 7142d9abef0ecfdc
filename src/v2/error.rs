use serde::{Deserialize, Serialize};

use super::to_json;

/// The codes of the v2 API that this service sends, its refusals included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    KeyNotFound,
    NotAFile,
    KeyExists,
    PeerAddressExists,
    IndexNotANumber,
    InvalidField,
    RaftInternal,
}

impl ErrorCode {
    /// Number, text and HTTP status, as etcd pairs them.
    fn row(self) -> (u16, &'static str, u16) {
        match self {
            Self::KeyNotFound => (100, "Key not found", 404),
            Self::NotAFile => (102, "Not a file", 403),
            Self::KeyExists => (105, "Key already exists", 412),
            Self::PeerAddressExists => (109, "Peer address has existed", 403),
            Self::IndexNotANumber => (203, "The given index in POST form is not a number", 400),
            Self::InvalidField => (209, "Invalid field", 400),
            Self::RaftInternal => (300, "Raft Internal Error", 500),
        }
    }

    pub fn number(self) -> u16 {
        self.row().0
    }

    pub fn message(self) -> &'static str {
        self.row().1
    }

    pub fn http_status(self) -> u16 {
        self.row().2
    }
}

/// The body of an answer that refuses. A node prints it as `code: message (cause) [index]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    #[serde(rename = "errorCode")]
    pub error_code: u16,
    #[serde(default)]
    pub message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cause: String,
    #[serde(default)]
    pub index: u64,
}

impl Error {
    pub fn new(code: ErrorCode, cause: impl Into<String>, index: u64) -> Self {
        let message = code.message().to_owned();
        Self { error_code: code.number(), message, cause: cause.into(), index }
    }

    /// The body, byte for byte as etcd writes it.
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured from etcd 3.4.23.
    #[test]
    fn errors_are_written_as_etcd_writes_them() {
        let cases = [
            (
                Error::new(ErrorCode::KeyExists, "/d/t/aa", 5),
                r#"{"errorCode":105,"message":"Key already exists","cause":"/d/t/aa","index":5}"#,
            ),
            (
                Error::new(ErrorCode::KeyNotFound, "/d/none", 12),
                r#"{"errorCode":100,"message":"Key not found","cause":"/d/none","index":12}"#,
            ),
            (
                Error::new(
                    ErrorCode::InvalidField,
                    r#""wait" can only be used with GET requests"#,
                    0,
                ),
                r#"{"errorCode":209,"message":"Invalid field","cause":"\"wait\" can only be used with GET requests","index":0}"#,
            ),
        ];
        for (error, text) in cases {
            assert_eq!(String::from_utf8(error.to_json()).unwrap(), format!("{text}\n"));
        }
        assert_eq!(ErrorCode::KeyExists.http_status(), 412);
    }
}
