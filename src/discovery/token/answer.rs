use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::discovery::roll::Entry;
use crate::discovery::token_error::Error;

/// Why a request brought no answer to work with.
#[derive(Debug)]
pub(super) enum Failure {
    /// May pass: connection trouble, a server error.
    Passing(String),
    /// No answer within the limit.
    Silent,
    /// Asking again brings the same.
    Final(Error),
}

/// What a success says; everything else in the answer is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) node: Node,
    /// Whether the key is gone.
    pub(super) gone: bool,
    /// The index of the state that the answer shows.
    pub(super) index: Option<u64>,
}

/// A key as services show it. Unlike [`crate::v2::Node`] this takes what any service may leave out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    pub(super) key: String,
    pub(super) value: Option<String>,
    pub(super) nodes: Option<Vec<Self>>,
    #[serde(rename = "createdIndex")]
    pub(super) created_index: Option<u64>,
    #[serde(rename = "modifiedIndex")]
    pub(super) modified_index: Option<u64>,
}

#[derive(Deserialize)]
struct Success {
    #[serde(default)]
    action: Value,
    node: Option<Node>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Refusal {
    #[serde(rename = "errorCode")]
    code: u64,
    message: String,
    cause: String,
    index: u64,
}

impl Node {
    /// The registration this key is.
    pub(super) fn into_entry(self) -> Entry {
        let id = self.key.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
        Entry {
            id,
            value: self.value.unwrap_or_default(),
            created_index: self.created_index.unwrap_or_default(),
        }
    }
}

/// Judges an answer; `None` is a success without a body, which ends a poll without an event.
pub(super) fn judge(
    status: StatusCode,
    index: Option<&str>,
    body: &[u8],
    endpoint: &str,
) -> Result<Option<Answer>, Failure> {
    match status {
        StatusCode::OK | StatusCode::CREATED => {
            let index = index
                .map(|text| {
                    text.parse().map_err(|_not_a_number| Error::BadIndex { text: text.to_owned() })
                })
                .transpose()
                .map_err(Failure::Final)?;
            if body.is_empty() {
                return Ok(None);
            }
            let success: Success = serde_json::from_slice(body)
                .map_err(|_garbage| Failure::Final(Error::InvalidJson))?;
            // etcd crashes on an answer without a node.
            let node = success.node.ok_or(Failure::Final(Error::InvalidJson))?;
            let gone =
                matches!(success.action.as_str(), Some("delete" | "expire" | "compareAndDelete"));
            Ok(Some(Answer { node, gone, index }))
        }
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE => {
            Err(Failure::Passing(format!("client: etcd member {endpoint} has no leader")))
        }
        status if status.is_server_error() => {
            let phrase = status.canonical_reason().unwrap_or(status.as_str());
            Err(Failure::Passing(format!(
                "client: etcd member {endpoint} returns server error [{phrase}]"
            )))
        }
        _ => {
            let refusal: Refusal = serde_json::from_slice(body)
                .map_err(|_garbage| Failure::Final(Error::InvalidJson))?;
            let Refusal { code, message, cause, index } = refusal;
            Err(Failure::Final(Error::Refused { code, message, cause, index }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged_as_etcd_does() {
        let node = r#"{"action":"get","node":{"key":"/d/t","dir":true,"nodes":null,"zzz":1}}"#;
        let cases: &[(u16, Option<&str>, &str, &str)] = &[
            (200, Some("4"), node, "ok /d/t 4"),
            (201, None, node, "ok /d/t -"),
            (200, Some("4"), "", "empty"),
            (200, Some("abc"), node, "strconv.ParseUint: parsing \"abc\": invalid syntax"),
            (
                200,
                None,
                "{}",
                "client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint",
            ),
            (
                200,
                None,
                r#"{"Node":{}}"#,
                "client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint",
            ),
            (
                200,
                None,
                r#"{"node":{"createdIndex":-1}}"#,
                "client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint",
            ),
            (
                200,
                None,
                "<html>",
                "client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint",
            ),
            (
                404,
                None,
                r#"{"errorCode":100,"message":"Key not found","cause":"/d/none","index":12}"#,
                "100: Key not found (/d/none) [12]",
            ),
            (400, None, "{}", "0:  () [0]"),
            (
                400,
                None,
                "unable to GET token\n",
                "client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint",
            ),
            (
                204,
                None,
                "",
                "client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint",
            ),
            (503, None, "", "passing client: etcd member http://h:1 has no leader"),
            (
                502,
                None,
                "",
                "passing client: etcd member http://h:1 returns server error [Bad Gateway]",
            ),
        ];
        for (status, index, body, judged) in cases {
            let status = StatusCode::from_u16(*status).unwrap();
            let text = match judge(status, *index, body.as_bytes(), "http://h:1") {
                Ok(None) => "empty".to_owned(),
                Ok(Some(answer)) => format!(
                    "ok {} {}",
                    answer.node.key,
                    answer.index.map_or_else(|| "-".to_owned(), |index| index.to_string())
                ),
                Err(Failure::Final(error)) => error.to_string(),
                Err(Failure::Passing(detail)) => format!("passing {detail}"),
                Err(Failure::Silent) => "silent".to_owned(),
            };
            assert_eq!(text, *judged, "{status} {body}");
        }
    }
}
