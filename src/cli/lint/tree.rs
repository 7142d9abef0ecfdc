//! YAML with the lines in which keys and values stand.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A value and the line in which it begins.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) line: usize,
    pub(super) node: Node,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Null,
    /// Text, numbers and truth as they are written.
    Scalar(String),
    List(Vec<Tree>),
    /// Keys with their lines.
    Map(Vec<(String, usize, Tree)>),
}

impl Tree {
    /// All documents of a text; the error is a line and a reason.
    pub(super) fn read(text: &str) -> Result<Vec<Self>, (usize, String)> {
        let wrong = |error: &serde_saphyr::Error| {
            let reason = error.render_with_options(serde_saphyr::render_options! {
                formatter: &serde_saphyr::UserMessageFormatter,
                snippets: serde_saphyr::SnippetMode::Off,
            });
            let line = error.location().map_or(1, |at| usize::try_from(at.line()).unwrap_or(1));
            (line, reason.lines().map(str::trim).collect::<Vec<_>>().join(" "))
        };
        let policy = serde_saphyr::DuplicateKeyPolicy::LastWins;
        let options = serde_saphyr::options! { duplicate_keys: policy };
        let read: Result<Vec<Spanned<Node>>, _> =
            serde_saphyr::from_multiple_with_options(text, options);
        Ok(read.map_err(|error| wrong(&error))?.into_iter().map(Self::of).collect())
    }

    fn of(spanned: Spanned<Node>) -> Self {
        let line = usize::try_from(spanned.referenced.line()).unwrap_or_default();
        Self { line, node: spanned.value }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().rev().find(|(known, ..)| known == key).map(|(.., value)| value)
    }

    /// The value at the end of a path of keys.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |tree, key| tree.get(key))
    }

    pub(super) fn entries(&self) -> &[(String, usize, Self)] {
        match &self.node {
            Node::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(super) fn items(&self) -> &[Self] {
        match &self.node {
            Node::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.node {
            Node::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// The lines of all keys, those of mappings inside by dotted key.
    pub(super) fn lines(&self) -> Vec<(String, usize)> {
        let mut lines = Vec::new();
        for (key, line, value) in self.entries() {
            lines.push((key.clone(), *line));
            let below = value.lines().into_iter();
            lines.extend(below.map(|(inner, line)| (format!("{key}.{inner}"), line)));
        }
        lines
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Nodes)
    }
}

struct Nodes;

impl<'de> Visitor<'de> for Nodes {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Node>>()? {
            list.push(Tree::of(item));
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<String>, Spanned<Node>>()? {
            let line = usize::try_from(key.referenced.line()).unwrap_or_default();
            map.push((key.value, line, Tree::of(value)));
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_have_lines() {
        let text = "services:\n  a: &x\n    command:\n      - etcd\n      - --name=1\n  b: *x\n\
                    n: 2380\nt: yes\ne:\n---\nkind: Service\n";
        let trees = Tree::read(text).unwrap();
        assert_eq!(trees.len(), 2);
        let items = trees[0].at(&["services", "b", "command"]).unwrap().items();
        assert_eq!(items[1].text(), Some("--name=1"));
        let items = trees[0].at(&["services", "a", "command"]).unwrap().items();
        assert_eq!(items.iter().map(|it| it.line).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(trees[0].get("n").and_then(Tree::text), Some("2380"));
        assert!(matches!(trees[0].get("e").unwrap().node, Node::Null));
        let lines = trees[0].lines();
        assert!(lines.contains(&("services.a.command".to_owned(), 3)), "{lines:?}");
        assert_eq!(trees[1].get("kind").unwrap().line, 11);
        assert_eq!(Tree::read("a: [\n").unwrap_err().0, 1);
    }
}
