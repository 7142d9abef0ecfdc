use serde::{Deserialize, Serialize};

/// What happened to a key, with the key before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub action: Action,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Node>,
    #[serde(rename = "prevNode", default, skip_serializing_if = "Option::is_none")]
    pub prev_node: Option<Node>,
}

/// The verbs of the v2 API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    Get,
    Create,
    Set,
    Update,
    Delete,
    CompareAndSwap,
    CompareAndDelete,
    Expire,
}

/// A key or a directory as answers show it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub dir: bool,
    /// RFC 3339 in UTC with nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<String>,
    /// Seconds left.
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub ttl: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Self>,
    #[serde(rename = "modifiedIndex", skip_serializing_if = "is_zero_u64")]
    pub modified_index: u64,
    #[serde(rename = "createdIndex", skip_serializing_if = "is_zero_u64")]
    pub created_index: u64,
}

impl Event {
    /// An event with a node and no state before.
    pub fn new(action: Action, node: Node) -> Self {
        Self { action, node: Some(node), prev_node: None }
    }
}

impl Node {
    /// A key that was made at `index` and never changed.
    pub fn file(key: String, value: String, index: u64) -> Self {
        let (modified_index, created_index) = (index, index);
        Self { key, value: Some(value), modified_index, created_index, ..Self::default() }
    }

    /// A directory that was made at `index`.
    pub fn directory(key: String, nodes: Vec<Self>, index: u64) -> Self {
        let (modified_index, created_index) = (index, index);
        Self { key, dir: true, nodes, modified_index, created_index, ..Self::default() }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero_i64(number: &i64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero_u64(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v2::to_json;

    /// Captured from etcd 3.4.23.
    #[test]
    fn answers_are_written_as_etcd_writes_them() {
        let member = |id: &str, value: &str, index| {
            Node::file(format!("/discovery/tok1/{id}"), value.to_owned(), index)
        };
        let cases = [
            (
                Event::new(
                    Action::Create,
                    member("6af27103607f24d3", "n1=http://127.0.0.1:3001", 5),
                ),
                r#"{"action":"create","node":{"key":"/discovery/tok1/6af27103607f24d3","value":"n1=http://127.0.0.1:3001","modifiedIndex":5,"createdIndex":5}}"#,
            ),
            (
                Event::new(Action::Get, Node::directory("/discovery/tok1".into(), vec![], 4)),
                r#"{"action":"get","node":{"key":"/discovery/tok1","dir":true,"modifiedIndex":4,"createdIndex":4}}"#,
            ),
            (
                Event::new(Action::Get, Node::file("/a".into(), "<&>\u{2028}\u{8}é".into(), 7)),
                r#"{"action":"get","node":{"key":"/a","value":"\u003c\u0026\u003e\u2028\u0008é","modifiedIndex":7,"createdIndex":7}}"#,
            ),
            (
                Event::new(Action::Get, Node::file("/a".into(), String::new(), 7)),
                r#"{"action":"get","node":{"key":"/a","value":"","modifiedIndex":7,"createdIndex":7}}"#,
            ),
        ];
        for (event, text) in cases {
            assert_eq!(String::from_utf8(to_json(&event)).unwrap(), format!("{text}\n"));
            assert_eq!(serde_json::from_str::<Event>(text).unwrap(), event);
        }
        assert_eq!(
            String::from_utf8(to_json(&Action::CompareAndSwap)).unwrap(),
            "\"compareAndSwap\"\n"
        );
    }
}
