//! `${name}`: values that are named once under `spec.variables` and used anywhere in the spec.

use std::collections::{BTreeMap, BTreeSet};

use crate::node::{Entry, Node, Span, Value};
use crate::path::Path;
use crate::problem::{PROBLEMS_MAX, Problem};
use crate::settings::Settings;
use crate::source::Source;
use crate::yaml::{Budget, DEPTH_MAX};

/// Replaces the variables in `spec` and `metadata` of a document, and adds the names it declares to `declared`.
pub(crate) fn substitute(
    document: &mut Node,
    settings: &Settings,
    source: &Source,
    budget: &mut Budget,
    declared: &mut BTreeSet<String>,
) -> Vec<Problem> {
    let variables = document.get("spec").and_then(|spec| spec.get("variables")).cloned();
    let mut substitution =
        Substitution { source, budget, problems: Vec::new(), values: BTreeMap::new(), open: 0, exhausted: false };
    if let Some(variables) = variables {
        substitution.declare(&variables, settings);
    }
    declared.extend(substitution.values.keys().cloned());
    for part in ["metadata", "spec"] {
        if let Some(node) = document.get_mut(part) {
            let path = Path::default().field(part);
            substitution.replace(node, &path, 1);
        }
    }
    substitution.problems
}

struct Substitution<'a> {
    source: &'a Source,
    budget: &'a mut Budget,
    problems: Vec<Problem>,
    values: BTreeMap<String, Variable>,
    /// How many variables are being looked at, each because the one before names it.
    open: usize,
    /// A limit was passed, which is told once, or there were too many problems: nothing is replaced any more.
    exhausted: bool,
}

/// A variable on its way from what was written to its value.
enum Variable {
    /// A default that may name other variables.
    Written(Node),
    /// Its default is being looked at just now: meeting it again is a cycle.
    Open,
    Resolved(Node),
    /// It has no value, and that has been told.
    Failed,
}

impl Substitution<'_> {
    fn declare(&mut self, variables: &Node, settings: &Settings) {
        let path = Path::parse("spec.variables");
        if !matches!(variables.value, Value::Map(_) | Value::Null) {
            self.tell(&path, variables.span, "`variables` is no mapping", "a mapping of names to defaults", None);
        }
        for Entry { key, key_span, node } in variables.entries() {
            let path = path.field(key);
            if !is_name(key) {
                let found = format!("variable name `{key}`");
                self.tell(&path, *key_span, &found, "letters, digits, `_` and `-`, a letter first", None);
            }
            let variable = match settings.get(key) {
                Some(given) => Variable::Resolved(Node { value: given.value(&node.value), span: node.span }),
                None if node.value == Value::Null => {
                    let hint = format!("give it with `--set {key}=...`");
                    let found = format!("variable `{key}` has no value");
                    self.tell(&path, *key_span, &found, "a value, since it has no default", Some(hint));
                    Variable::Failed
                }
                None => Variable::Written(node.clone()),
            };
            self.values.insert(key.clone(), variable);
        }
        let names: Vec<String> = self.values.keys().cloned().collect();
        for name in names {
            self.value(&name, &path.field(&name), variables.span);
        }
    }

    /// The value of a declared variable, named at `span`; none where it has no value, which has then been told.
    fn value(&mut self, name: &str, path: &Path, span: Span) -> Option<Node> {
        let variable = self.values.get_mut(name)?;
        match std::mem::replace(variable, Variable::Open) {
            Variable::Resolved(node) => {
                *variable = Variable::Resolved(node.clone());
                Some(node)
            }
            Variable::Written(_) if self.open == DEPTH_MAX => {
                self.exceed(path, span, &format!("more than {DEPTH_MAX} variables that name each other in a row"));
                None
            }
            Variable::Written(mut node) => {
                self.open += 1;
                self.replace(&mut node, &Path::parse("spec.variables").field(name), 2);
                self.open -= 1;
                let resolved = !node.unresolved() && !matches!(self.values.get(name), Some(Variable::Failed));
                let variable = if resolved { Variable::Resolved(node.clone()) } else { Variable::Failed };
                self.values.insert(name.to_owned(), variable);
                resolved.then_some(node)
            }
            Variable::Open => {
                self.tell(path, span, &format!("variable `{name}` refers to itself"), "a value", None);
                self.values.insert(name.to_owned(), Variable::Failed);
                None
            }
            Variable::Failed => {
                *variable = Variable::Failed;
                None
            }
        }
    }

    /// Replaces every `${name}` in a tree that stands at `depth`.
    fn replace(&mut self, node: &mut Node, path: &Path, depth: usize) {
        match &mut node.value {
            Value::Text(text) if text.contains("${") => {
                let text = std::mem::take(text);
                node.value = self.expand(&text, path, node.span, depth).unwrap_or(Value::Unresolved);
            }
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.replace(item, &path.item(index), depth + 1);
                }
            }
            Value::Map(entries) => {
                // The defaults have been looked at by themselves.
                let is_spec = depth == 1 && path.segments().len() == 1;
                for entry in entries.iter_mut().filter(|entry| !(is_spec && entry.key == "variables")) {
                    self.replace(&mut entry.node, &path.field(&entry.key), depth + 1);
                }
            }
            _ => {}
        }
    }

    fn expand(&mut self, text: &str, path: &Path, span: Span, depth: usize) -> Option<Value> {
        if self.exhausted {
            return None;
        }
        let whole = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).filter(|name| is_name(name));
        let expanded = match whole {
            Some(name) => self.named(name, path, span)?.value,
            None => Value::Text(self.join(text, path, span)?),
        };
        let mut node = Node { value: expanded, span };
        if let Err(limit) = self.budget.take(&node, depth) {
            self.exceed(path, span, &limit);
            return None;
        }
        spread(&mut node, span);
        Some(node.value)
    }

    /// A text with its variables put in.
    fn join(&mut self, text: &str, path: &Path, span: Span) -> Option<String> {
        let (mut joined, mut rest, mut complete) = (String::new(), text, true);
        while let Some(at) = rest.find("${").filter(|_| !self.exhausted) {
            let (before, tail) = rest.split_at(at);
            let tail = tail.strip_prefix("${").unwrap_or(tail);
            if let Some(before) = before.strip_suffix('$') {
                joined.push_str(before);
                joined.push_str("${");
                rest = tail;
                continue;
            }
            joined.push_str(before);
            let (name, after) = match tail.split_once('}') {
                Some((name, after)) if is_name(name) => (name, after),
                _ => {
                    let hint = "write `$${` for `${` itself".to_owned();
                    self.tell(path, span, "`${` without a variable's name and `}`", "`${name}`", Some(hint));
                    return None;
                }
            };
            match self.part(name, path, span) {
                Some(part) => joined.push_str(&part),
                None => complete = false,
            }
            rest = after;
        }
        joined.push_str(rest);
        complete.then_some(joined)
    }

    /// The value of a variable as part of a text, which may cost no more than what is left of the limits.
    fn part(&mut self, name: &str, path: &Path, span: Span) -> Option<String> {
        let part = match self.named(name, path, span)?.value {
            Value::Text(text) => text,
            Value::Number(number) => number.written,
            Value::Bool(value) => value.to_string(),
            _ => {
                let found = format!("variable `{name}` is a list or mapping, used within a text");
                self.tell(path, span, &found, "a variable that is a scalar", None);
                return None;
            }
        };
        if let Err(limit) = self.budget.take_bytes(part.len()) {
            self.exceed(path, span, &limit);
            return None;
        }
        Some(part)
    }

    fn named(&mut self, name: &str, path: &Path, span: Span) -> Option<Node> {
        if self.values.contains_key(name) {
            return self.value(name, path, span);
        }
        let near = crate::nearest(name, self.values.keys().map(String::as_str));
        let hint = match near {
            Some(near) => format!("did you mean `${{{near}}}`?"),
            None => format!("declare it under `spec.variables`, or write `$${{{name}}}` for the text itself"),
        };
        self.tell(path, span, &format!("unknown variable `{name}`"), "a name declared in `spec.variables`", Some(hint));
        None
    }

    fn exceed(&mut self, path: &Path, span: Span, limit: &str) {
        if !std::mem::replace(&mut self.exhausted, true) {
            self.tell(path, span, limit, "a smaller document", None);
        }
    }

    fn tell(&mut self, path: &Path, span: Span, found: &str, expected: &str, hint: Option<String>) {
        let mut problem = Problem::at(path).found(found).expected(expected).place(self.source.place(span));
        problem.hint = hint;
        self.problems.push(problem);
        self.exhausted |= self.problems.len() >= PROBLEMS_MAX;
    }
}

/// What is put in for a variable points at the place where the variable is used.
fn spread(node: &mut Node, span: Span) {
    node.span = span;
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| spread(item, span)),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| {
            entry.key_span = span;
            spread(&mut entry.node, span);
        }),
        _ => {}
    }
}

fn is_name(name: &str) -> bool {
    let rest = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') && name.chars().all(rest)
}
