//! A tree against the JSON Schema of a type: every problem at once, each at its place.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use crate::envelope::{Envelope, Metadata};
use crate::node::{Node, Span, Value};
use crate::path::{Path, Segment};
use crate::problem::{PROBLEMS_MAX, Problem};
use crate::schema;
use crate::source::Source;

mod describe;
mod mapping;
mod scalar;
mod union;

/// The metadata of a document if it can be had, and what is wrong with the envelope.
pub(crate) fn envelope(root: &Node, source: &Source) -> (Option<Metadata>, Vec<Problem>) {
    static SCHEMA: LazyLock<Json> = LazyLock::new(schema::plain::<Envelope>);
    let problems = walk(root, None, &Path::default(), &SCHEMA, source);
    let metadata = root.get("metadata").and_then(|node| serde_json::from_value(node.to_json()).ok());
    (metadata, problems)
}

/// The part of a text that stands at `path`, as its type. `key` is where the key before it was written.
pub(crate) fn part<T>(node: &Node, key: Option<Span>, path: &Path, source: &Source) -> Result<T, Vec<Problem>>
where
    T: DeserializeOwned + JsonSchema,
{
    let problems = walk(node, key, path, &schema::plain::<T>(), source);
    if !problems.is_empty() || node.unresolved() {
        return Err(problems);
    }
    serde_path_to_error::deserialize(node.to_json()).map_err(|error| {
        let inner = translate(error.path());
        let span = match inner.segments() {
            [] => node.point(key),
            _ => node.spot(&inner),
        };
        let path = inner.segments().iter().fold(path.clone(), |path, segment| match segment {
            Segment::Field(name) => path.field(name),
            Segment::Item(index) => path.item(*index),
        });
        vec![Problem::at(path).found(error.inner().to_string()).place(source.place(span))]
    })
}

fn translate(path: &serde_path_to_error::Path) -> Path {
    use serde_path_to_error::Segment as Step;
    path.iter().fold(Path::default(), |path, step| match step {
        Step::Seq { index } => path.item(*index),
        Step::Map { key } => path.field(key),
        Step::Enum { variant } => path.field(variant),
        Step::Unknown => path,
    })
}

fn walk(node: &Node, key: Option<Span>, path: &Path, schema: &Json, source: &Source) -> Vec<Problem> {
    let mut checker =
        Checker { root: schema, source, problems: Vec::new(), secrets: Vec::new(), patterns: HashMap::new() };
    checker.check(&Spot { node, key, path: path.clone() }, schema);
    for place in checker.problems.iter_mut().filter_map(|problem| problem.place.as_mut()) {
        source.mask(place, &checker.secrets);
    }
    checker.problems
}

/// A node on the walk, with its path and the place of its key.
struct Spot<'n> {
    node: &'n Node,
    key: Option<Span>,
    path: Path,
}

struct Checker<'a> {
    root: &'a Json,
    source: &'a Source,
    problems: Vec<Problem>,
    /// Where something stands that may be a secret written out by mistake.
    secrets: Vec<Span>,
    /// The patterns of the schema, each read once.
    patterns: HashMap<&'a str, Option<Regex>>,
}

impl<'a> Checker<'a> {
    fn check(&mut self, spot: &Spot<'_>, schema: &'a Json) {
        let Json::Object(keywords) = self.resolve(schema) else { return };
        if spot.node.value == Value::Unresolved || self.problems.len() >= PROBLEMS_MAX {
            return;
        }
        if keywords.contains_key("x-secret") && !self.secret(spot) {
            return;
        }
        let branches = branches(keywords);
        let is_mapping = matches!(spot.node.value, Value::Map(_));
        // A mapping with fields of its own beside a union is a flattened one: its fields are checked together.
        let flattened = !branches.is_empty() && keywords.contains_key("properties");
        if !branches.is_empty() && !flattened {
            self.union(spot, keywords, &branches);
        } else if !self.fits(spot.node, keywords) {
            self.mismatch(spot, keywords);
        } else if is_mapping {
            self.mapping(spot, keywords, &branches);
        } else if let Value::List(items) = &spot.node.value {
            self.list(spot, items, keywords);
        } else {
            self.scalar(spot, keywords);
        }
        for part in keywords.get("allOf").and_then(Json::as_array).into_iter().flatten() {
            self.check(spot, part);
        }
    }

    fn pattern(&mut self, pattern: &'a str) -> Option<Regex> {
        self.patterns.entry(pattern).or_insert_with(|| Regex::new(pattern).ok()).clone()
    }

    /// The schema that a reference names, where it is one.
    fn resolve(&self, schema: &'a Json) -> &'a Json {
        const REFERENCES_MAX: usize = 16;
        let mut schema = schema;
        for _ in 0..REFERENCES_MAX {
            let Some(target) = schema.get("$ref").and_then(Json::as_str) else { break };
            let Some(found) = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) else { break };
            schema = found;
        }
        schema
    }

    /// Whether a secret's place holds a reference. Whatever else it holds is told as one problem that doesn't show it.
    fn secret(&mut self, spot: &Spot<'_>) -> bool {
        let node = spot.node;
        let reference = node.get("secret").filter(|_| node.entries().len() == 1);
        let is_reference = reference.is_some_and(|secret| {
            let is_part = |key: &str| matches!(key, "name" | "key");
            matches!(secret.value, Value::Map(_))
                && secret.entries().iter().all(|entry| is_part(&entry.key) && !is_nested(&entry.node))
        });
        if is_reference {
            return true;
        }
        hide(node, &mut self.secrets);
        let subject = describe::subject(&spot.path);
        let found = match node.value {
            Value::Null => format!("{subject} is nothing"),
            Value::Map(_) | Value::List(_) => format!("{subject} is no reference to a secret"),
            _ => format!("{subject} is written out, though it is a secret"),
        };
        let hint = "write `{secret: {name: ..., key: ...}}` and keep the value in the environment or a secrets file";
        self.tell(spot, found, "a reference to a secret".to_owned(), Some(hint.to_owned()));
        false
    }

    fn list(&mut self, spot: &Spot<'_>, items: &[Node], keywords: &'a Map<String, Json>) {
        let first = keywords.get("prefixItems").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
        for (index, node) in items.iter().enumerate() {
            if let Some(schema) = first.get(index).or_else(|| keywords.get("items")) {
                self.check(&Spot { node, key: None, path: spot.path.item(index) }, schema);
            }
        }
        let bound = |key: &str| keywords.get(key).and_then(Json::as_u64).and_then(|bound| usize::try_from(bound).ok());
        let expected = match (bound("minItems"), bound("maxItems")) {
            (Some(least), _) if items.len() < least => format!("at least {least}"),
            (_, Some(most)) if items.len() > most => format!("at most {most}"),
            _ => return,
        };
        self.tell(spot, format!("{} has {} items", describe::subject(&spot.path), items.len()), expected, None);
    }

    /// Whether the node is of a type that the schema names; one that names none takes any.
    fn fits(&self, node: &Node, keywords: &'a Map<String, Json>) -> bool {
        let fits = |name: &str| describe::is_type(node, name);
        match keywords.get("type") {
            Some(Json::String(name)) => fits(name),
            Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).any(fits),
            _ => match branches(keywords) {
                // A union fits where one of its branches does.
                branches if branches.is_empty() => keywords.get("const").is_none_or(|_| is_scalar(node)),
                branches => branches.iter().any(|branch| match self.resolve(branch) {
                    Json::Object(keywords) => self.fits(node, keywords),
                    any => any != &Json::Bool(false),
                }),
            },
        }
    }

    fn mismatch(&mut self, spot: &Spot<'_>, keywords: &'a Map<String, Json>) {
        let found = format!("{} is {}", describe::subject(&spot.path), describe::node(spot.node));
        let expected = describe::schema(self, keywords);
        let any_text = !["enum", "const", "pattern"].iter().any(|key| keywords.contains_key(*key));
        let text_wanted = any_text && describe::is_type_name(keywords, "string");
        let hint = match &spot.node.value {
            Value::Number(number) if text_wanted => Some(format!("as text it is `\"{}\"`", number.written)),
            Value::Null if describe::is_type_name(keywords, "object") && !keywords.contains_key("required") => {
                Some("write `{}` for one that is all defaults".to_owned())
            }
            Value::Bool(value) if text_wanted => Some(format!("as text it is `\"{value}\"`")),
            _ => None,
        };
        self.tell(spot, found, expected, hint);
    }

    fn tell(&mut self, spot: &Spot<'_>, found: String, expected: String, hint: Option<String>) {
        self.tell_at(spot.node.point(spot.key), &spot.path, found, expected, hint);
    }

    fn tell_at(&mut self, span: Span, path: &Path, found: String, expected: String, hint: Option<String>) {
        let mut problem = Problem::at(path).found(found).expected(expected).place(self.source.place(span));
        problem.hint = hint;
        self.problems.push(problem);
    }
}

/// The branches of a union.
fn branches(keywords: &Map<String, Json>) -> Vec<&Json> {
    ["oneOf", "anyOf"].iter().filter_map(|key| keywords.get(*key)?.as_array()).flatten().collect()
}

fn is_scalar(node: &Node) -> bool {
    !is_nested(node)
}

fn is_nested(node: &Node) -> bool {
    matches!(node.value, Value::List(_) | Value::Map(_))
}

/// Notes where the scalars of a tree stand, and the keys that are no part of a reference.
fn hide(node: &Node, secrets: &mut Vec<Span>) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| hide(item, secrets)),
        Value::Map(entries) => entries.iter().for_each(|entry| {
            if !matches!(entry.key.as_str(), "secret" | "name" | "key") {
                secrets.push(entry.key_span);
            }
            hide(&entry.node, secrets);
        }),
        Value::Null | Value::Unresolved => {}
        _ => secrets.push(node.span),
    }
}
