//! From YAML text to trees.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use crate::node::{Entry, Node, Span, Value};
use crate::path::Path;
use crate::problem::{PROBLEMS_MAX, Problem};
use crate::scalar;
use crate::source::Source;

/// The most bytes a file of documents may have: 1 MiB.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// The most levels of mappings and lists within each other.
pub const DEPTH_MAX: usize = 64;
/// The most values in a file, those that aliases and variables repeat counted each time.
pub const NODES_MAX: usize = 100_000;
/// The most bytes of text in a file, that which aliases and variables repeat counted each time: 4 MiB.
pub const EXPANDED_BYTES_MAX: usize = 4 << 20;

/// What a file may still use up of its limits.
#[derive(Debug)]
pub(crate) struct Budget {
    nodes: usize,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { nodes: NODES_MAX, bytes: EXPANDED_BYTES_MAX }
    }
}

impl Budget {
    /// Uses up the room of `node`, at `depth`; or says which limit it passes.
    pub(crate) fn take(&mut self, node: &Node, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} levels of mappings and lists"));
        }
        self.nodes = self.nodes.checked_sub(1).ok_or_else(|| format!("more than {NODES_MAX} values"))?;
        match &node.value {
            Value::Text(text) => self.take_bytes(text.len()),
            Value::Number(number) => self.take_bytes(number.written.len()),
            Value::List(items) => items.iter().try_for_each(|item| self.take(item, depth + 1)),
            Value::Map(entries) => entries.iter().try_for_each(|entry| {
                self.take_bytes(entry.key.len())?;
                self.take(&entry.node, depth + 1)
            }),
            Value::Null | Value::Bool(_) | Value::Unresolved => Ok(()),
        }
    }

    pub(crate) fn take_bytes(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.ok_or_else(|| format!("more than {EXPANDED_BYTES_MAX} bytes of text"))?;
        Ok(())
    }
}

/// The documents of a file, each a tree; empty ones are left out.
///
/// What stands before a syntax error is still returned.
pub(crate) fn parse(source: &Source, budget: &mut Budget, problems: &mut Vec<Problem>) -> Vec<Node> {
    let mut builder = Builder {
        source,
        offsets: Offsets::new(&source.text),
        budget,
        problems,
        stack: Vec::new(),
        anchors: HashMap::new(),
        documents: Vec::new(),
    };
    if source.text.len() > FILE_BYTES_MAX {
        let found = format!("a file of {} bytes", source.text.len());
        builder.tell(Span::default(), found, &format!("at most {FILE_BYTES_MAX} bytes"));
        return builder.documents;
    }
    for event in Parser::new_from_str(&source.text) {
        let done = match event {
            Ok((event, span)) => {
                let span = builder.offsets.span(span);
                builder.event(event, span).map_err(|limit| (span, limit, "a smaller document"))
            }
            Err(error) => {
                let start = builder.offsets.byte(error.marker().index());
                Err((Span { start, end: start }, format!("no valid YAML: {}", error.info()), ""))
            }
        };
        if let Err((span, found, expected)) = done {
            builder.tell(span, found, expected);
            builder.hint(span);
            break;
        }
        if builder.problems.len() >= PROBLEMS_MAX {
            break;
        }
    }
    builder.documents
}

struct Builder<'a> {
    source: &'a Source,
    offsets: Offsets,
    budget: &'a mut Budget,
    problems: &'a mut Vec<Problem>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    documents: Vec<Node>,
}

/// A mapping or list whose end has not come yet.
struct Frame {
    value: Value,
    start: usize,
    anchor: usize,
    key: Key,
    /// In a mapping: its keys so far, each with its place.
    keys: HashMap<String, Span>,
}

/// What a mapping waits for.
#[derive(Default)]
enum Key {
    /// A key.
    #[default]
    Next,
    /// The value of this key.
    Named(String, Span),
    /// The value of a key that can't stand, which is dropped with it.
    Dropped,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(text, style, tag.as_deref(), span);
                self.budget.take(&Node { value: Value::Null, span }, self.stack.len())?;
                self.finish(Node { value, span }, anchor)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().unwrap_or_else(|| {
                    self.tell(
                        span,
                        "an alias of a value that holds the alias".to_owned(),
                        "an alias of an earlier value",
                    );
                    Node { value: Value::Unresolved, span }
                });
                self.budget.take(&node, self.stack.len())?;
                self.finish(node, 0)
            }
            Event::SequenceStart(anchor, tag) => self.open(Value::List(Vec::new()), span, anchor, tag.as_deref()),
            Event::MappingStart(anchor, tag) => self.open(Value::Map(Vec::new()), span, anchor, tag.as_deref()),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(frame) = self.stack.pop() else { return Ok(()) };
                let span = Span { start: frame.start, end: span.end.max(frame.start) };
                self.finish(Node { value: frame.value, span }, frame.anchor)
            }
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => Ok(()),
        }
    }

    fn open(&mut self, value: Value, span: Span, anchor: usize, tag: Option<&Tag>) -> Result<(), String> {
        self.refuse_tag(tag, span);
        self.budget.take(&Node { value: Value::Null, span }, self.stack.len() + 1)?;
        self.stack.push(Frame { value, start: span.start, anchor, key: Key::Next, keys: HashMap::new() });
        Ok(())
    }

    fn scalar(&mut self, text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Value {
        if tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str") {
            return Value::Text(text.into_owned());
        }
        self.refuse_tag(tag, span);
        match style {
            ScalarStyle::Plain => scalar::plain(&text),
            _ => Value::Text(text.into_owned()),
        }
    }

    /// A tag of YAML's own says what is seen anyhow; any other would have to mean something here.
    fn refuse_tag(&mut self, tag: Option<&Tag>, span: Span) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.tell(span, format!("tag `{}{}`", tag.handle, tag.suffix), "a value without a tag");
        }
    }

    /// Puts a finished node where it belongs: into its list, its mapping, or among the documents.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        if let Value::Text(text) = &node.value {
            self.budget.take_bytes(text.len())?;
        }
        let Some(frame) = self.stack.last_mut() else {
            self.documents.extend(Some(node).filter(|node| node.value != Value::Null));
            return Ok(());
        };
        match (&mut frame.value, std::mem::take(&mut frame.key)) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(entries), Key::Named(key, key_span)) => entries.push(Entry { key, key_span, node }),
            (_, Key::Dropped) => {}
            _ => {
                let key = self.key(&node).map_or(Key::Dropped, |key| Key::Named(key, node.span));
                if let Some(frame) = self.stack.last_mut() {
                    frame.key = key;
                }
            }
        }
        Ok(())
    }

    /// The text of a key, or none for one that can't stand: it is told, and its value dropped.
    fn key(&mut self, node: &Node) -> Option<String> {
        let key = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.written.clone(),
            Value::Bool(value) => value.to_string(),
            Value::Null => "null".to_owned(),
            Value::List(_) | Value::Map(_) | Value::Unresolved => {
                self.tell(node.span, "a mapping or list as a key".to_owned(), "text as a key");
                return None;
            }
        };
        let first = self.stack.last_mut().and_then(|frame| match frame.keys.entry(key.clone()) {
            Slot::Occupied(first) => Some(*first.get()),
            Slot::Vacant(slot) => {
                slot.insert(node.span);
                None
            }
        });
        let Some(first) = first else { return Some(key) };
        let line = self.source.place(first).line;
        self.tell(node.span, format!("key `{key}` a second time"), "each key once");
        if let Some(problem) = self.problems.last_mut() {
            problem.hint = Some(format!("the first is in line {line}"));
        }
        None
    }

    /// What may help with text that is no YAML: two things that are often meant otherwise.
    fn hint(&mut self, span: Span) {
        let line = self.source.line(span);
        let Some(problem) = self.problems.last_mut().filter(|problem| problem.expected.is_empty()) else { return };
        if line.trim_start_matches(' ').starts_with('\t') {
            problem.hint = Some("YAML is indented by spaces, not by tabs".to_owned());
        } else if line.contains("${") {
            problem.hint = Some("within `{}` or `[]`, put text with a `${name}` in quotes".to_owned());
        }
    }

    fn tell(&mut self, span: Span, found: String, expected: &str) {
        let path = self.stack.iter().fold(Path::default(), |path, frame| match (&frame.value, &frame.key) {
            (Value::List(items), _) => path.item(items.len()),
            (_, Key::Named(key, _)) => path.field(key),
            _ => path,
        });
        self.problems.push(Problem::at(path).found(found).expected(expected).place(self.source.place(span)));
    }
}

/// The parser counts characters; spans count bytes.
struct Offsets {
    /// The byte of each character, or none where all are ASCII.
    bytes: Option<Vec<usize>>,
    len: usize,
}

impl Offsets {
    fn new(text: &str) -> Offsets {
        let bytes = (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect());
        Offsets { bytes, len: text.len() }
    }

    fn byte(&self, index: usize) -> usize {
        match &self.bytes {
            Some(bytes) => bytes.get(index).copied().unwrap_or(self.len),
            None => index.min(self.len),
        }
    }

    fn span(&self, span: saphyr_parser::Span) -> Span {
        let start = self.byte(span.start.index());
        Span { start, end: self.byte(span.end.index()).max(start) }
    }
}
