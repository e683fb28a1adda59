//! Words for what was found and what is expected.

use serde_json::{Map, Value as Json};

use super::Checker;
use crate::node::{Node, Value};
use crate::path::{Path, Segment};

/// More names than this are not listed.
const NAMES_MAX: usize = 12;
/// A text longer than this is cut short.
const TEXT_MAX: usize = 60;

/// The part that a sentence is about: the last step of its path.
pub(super) fn subject(path: &Path) -> String {
    match path.segments() {
        [] => "the document".to_owned(),
        [.., Segment::Field(name)] => format!("`{}`", short(name)),
        [.., Segment::Field(list), Segment::Item(index)] => format!("`{}[{index}]`", short(list)),
        [.., Segment::Item(index)] => format!("item {index}"),
    }
}

/// What a node is.
pub(super) fn node(node: &Node) -> String {
    match &node.value {
        Value::Null | Value::Unresolved => "nothing".to_owned(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Number(number) => format!("the number `{}`", short(&number.written)),
        Value::Text(text) => format!("the text `{}`", short(text)),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
    }
}

/// A text that fits in a message: its beginning, on one line.
pub(super) fn short(text: &str) -> String {
    let mut letters = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let start: String = letters.by_ref().take(TEXT_MAX).collect();
    if letters.next().is_some() { format!("{start}...") } else { start }
}

/// Names as a list in a sentence.
pub(super) fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut all: Vec<String> = Vec::new();
    for name in names.into_iter().map(|name| format!("`{name}`")) {
        // A union may offer the same name in two shapes.
        if !all.contains(&name) {
            all.push(name);
        }
    }
    match all.len() {
        1 => all.concat(),
        0..=NAMES_MAX => format!("one of {}", all.join(", ")),
        _ => format!("one of {}, ...", all[..NAMES_MAX].join(", ")),
    }
}

/// Whether a node is of a type of JSON Schema.
pub(super) fn is_type(node: &Node, name: &str) -> bool {
    match &node.value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::Number(number) => name == "number" || name == "integer" && !number.value.is_f64(),
        Value::Text(_) => name == "string",
        Value::List(_) => name == "array",
        Value::Map(_) => name == "object",
        Value::Unresolved => true,
    }
}

/// Whether a schema names a type among its types.
pub(super) fn is_type_name(keywords: &Map<String, Json>, name: &str) -> bool {
    match keywords.get("type") {
        Some(Json::String(only)) => only == name,
        Some(Json::Array(names)) => names.iter().any(|one| one == name),
        _ => false,
    }
}

/// What a schema asks for.
pub(super) fn schema(checker: &Checker<'_>, keywords: &Map<String, Json>) -> String {
    let mut parts = Vec::new();
    collect(checker, keywords, &mut parts, 0);
    parts.dedup();
    match parts.pop() {
        None => "another value".to_owned(),
        Some(last) if parts.is_empty() => last,
        Some(last) => format!("{} or {last}", parts.join(", ")),
    }
}

fn collect(checker: &Checker<'_>, keywords: &Map<String, Json>, parts: &mut Vec<String>, depth: usize) {
    if let Some(told) = told(keywords) {
        parts.push(told);
        return;
    }
    let branches = super::branches(keywords);
    if !branches.is_empty() && depth < 4 {
        let shapes = super::union::Shapes::new(checker, &branches);
        let words = shapes.words.iter().copied().chain(shapes.tags.iter().map(|(tag, _)| *tag));
        let words: Vec<&str> = words.collect();
        let keyed = if shapes.words.is_empty() { "a mapping with " } else { "" };
        if !words.is_empty() {
            parts.push(format!("{keyed}{}", names(words)));
        }
        for branch in shapes.others {
            collect(checker, branch, parts, depth + 1);
        }
        return;
    }
    let words: Vec<&str> = words(keywords).collect();
    if !words.is_empty() {
        parts.push(names(words));
        return;
    }
    let types = match keywords.get("type") {
        Some(Json::Array(types)) => types.iter().filter_map(Json::as_str).collect(),
        Some(Json::String(name)) => vec![name.as_str()],
        _ => Vec::new(),
    };
    parts.extend(types.into_iter().filter(|name| *name != "null").map(|name| match name {
        "string" => "text".to_owned(),
        "integer" => "a whole number".to_owned(),
        "number" => "a number".to_owned(),
        "boolean" => "`true` or `false`".to_owned(),
        "array" => "a list".to_owned(),
        _ => "a mapping".to_owned(),
    }));
}

/// The words of a schema that allows only some: an `enum` or a `const`.
pub(super) fn words(keywords: &Map<String, Json>) -> impl Iterator<Item = &str> {
    let several = keywords.get("enum").and_then(Json::as_array).into_iter().flatten();
    several.chain(keywords.get("const")).filter_map(Json::as_str)
}

/// What a schema is by its own words: those of our types that are written as text have a title and examples.
pub(super) fn told(keywords: &Map<String, Json>) -> Option<String> {
    if keywords.contains_key("x-secret") {
        return Some("a reference to a secret".to_owned());
    }
    let example = keywords.get("examples")?.as_array()?.first()?;
    let title = keywords.get("title")?.as_str()?;
    match example {
        Json::String(example) => Some(format!("{title} such as `{example}`")),
        example => Some(format!("{title} such as `{example}`")),
    }
}
