//! A document as a tree that remembers where each part was written.

use serde_json::Value as Json;

use crate::path::{Path, Segment};

/// A stretch of a file's text, in bytes from its start; `end` is just past the last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
}

/// One value of a document and where it was written.
///
/// A value that took the place of a `${name}` keeps the span of the place where it is used.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What was written.
    pub value: Value,
    /// Where it was written.
    pub span: Span,
}

/// What a node holds, by the core schema of YAML 1.2: `yes` and `.inf` stay text.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order it was written, each key once.
    Map(Vec<Entry>),
    /// A place whose variable has no value. The problem has been told by [`crate::read`]; no check complains again.
    Unresolved,
}

/// A number and how it was written: `1.10` as part of a longer text has to stay `1.10`.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    /// Its value.
    pub value: serde_json::Number,
    /// Its letters in the document.
    pub written: String,
}

/// One key of a mapping with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key, as text whatever it looks like.
    pub key: String,
    /// Where the key was written.
    pub key_span: Span,
    /// The value.
    pub node: Node,
}

impl Node {
    /// The value of `key`, where this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The entry of `key`, where this is a mapping that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The entries, where this is a mapping; otherwise none.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The text, where this is text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The same tree without spans. A place without a value becomes `null`.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Null | Value::Unresolved => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(number) => Json::Number(number.value.clone()),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect())
            }
        }
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node),
            _ => None,
        }
    }

    pub(crate) fn unresolved(&self) -> bool {
        match &self.value {
            Value::Unresolved => true,
            Value::List(items) => items.iter().any(Node::unresolved),
            Value::Map(entries) => entries.iter().any(|entry| entry.node.unresolved()),
            _ => false,
        }
    }

    /// Where to point for `path`: at the deepest part of it that exists.
    pub(crate) fn spot(&self, path: &Path) -> Span {
        let (mut node, mut key) = (self, None);
        for segment in path.segments() {
            let next = match (segment, &node.value) {
                (Segment::Field(name), Value::Map(_)) => node.entry(name).map(|e| (&e.node, Some(e.key_span))),
                (Segment::Item(index), Value::List(items)) => items.get(*index).map(|item| (item, None)),
                _ => None,
            };
            let Some(next) = next else { break };
            (node, key) = next;
        }
        node.point(key)
    }

    /// Where to point for this node, written under `key`: a mapping or list is shown by its key, a scalar by itself.
    pub(crate) fn point(&self, key: Option<Span>) -> Span {
        let itself = !matches!(self.value, Value::List(_) | Value::Map(_)) && self.span.start < self.span.end;
        key.filter(|_| !itself).unwrap_or(self.span)
    }
}
