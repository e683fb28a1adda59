//! Unions: the branch is chosen by what was found, and the problems are told inside it.

use serde_json::{Map, Value as Json};

use super::{Checker, Spot, describe};
use crate::node::Value;

/// The branches of a union by how they are told apart.
pub(super) struct Shapes<'a> {
    /// Variants without content, written as a word.
    pub(super) words: Vec<&'a str>,
    /// Variants with content, written as a mapping with one key.
    pub(super) tags: Vec<(&'a str, &'a Json)>,
    /// All others, told apart by their type.
    pub(super) others: Vec<&'a Map<String, Json>>,
    pub(super) nullable: bool,
}

impl<'a> Shapes<'a> {
    pub(super) fn new(checker: &Checker<'a>, branches: &[&'a Json]) -> Shapes<'a> {
        let mut shapes = Shapes { words: Vec::new(), tags: Vec::new(), others: Vec::new(), nullable: false };
        for branch in branches {
            let Json::Object(keywords) = checker.resolve(branch) else { continue };
            let inner = super::branches(keywords);
            let is_word = describe::words(keywords).next().is_some();
            if keywords.get("type").is_some_and(|name| name == "null") {
                shapes.nullable = true;
            } else if is_word {
                shapes.words.extend(describe::words(keywords));
            } else if let Some(tag) = tag(keywords) {
                shapes.tags.push(tag);
            } else if !inner.is_empty() && !keywords.contains_key("properties") && !keywords.contains_key("title") {
                // A union within a union, as an optional one is.
                let inner = Shapes::new(checker, &inner);
                shapes.words.extend(inner.words);
                shapes.tags.extend(inner.tags);
                shapes.others.extend(inner.others);
                shapes.nullable |= inner.nullable;
            } else {
                shapes.others.push(keywords);
            }
        }
        shapes
    }
}

/// The key of an externally tagged variant: its only field, which is required.
fn tag(keywords: &Map<String, Json>) -> Option<(&str, &Json)> {
    let properties = keywords.get("properties")?.as_object()?;
    let required = keywords.get("required")?.as_array()?;
    let (name, schema) = properties.iter().next()?;
    let alone = properties.len() == 1 && required.len() == 1 && required[0] == *name;
    (alone && !keywords.contains_key("x-secret")).then_some((name, schema))
}

impl<'a> Checker<'a> {
    pub(super) fn union(&mut self, spot: &Spot<'_>, keywords: &'a Map<String, Json>, branches: &[&'a Json]) {
        let shapes = Shapes::new(self, branches);
        let fitting: Vec<&'a Map<String, Json>> =
            shapes.others.iter().copied().filter(|branch| self.fits(spot.node, branch)).collect();
        match &spot.node.value {
            Value::Null if shapes.nullable => {}
            Value::Map(_) if !shapes.tags.is_empty() && fitting.is_empty() => {
                static CLOSED: std::sync::LazyLock<Map<String, Json>> = std::sync::LazyLock::new(Map::new);
                self.mapping(spot, &CLOSED, branches);
            }
            Value::Map(_)
                if spot.node.entries().iter().any(|entry| shapes.tags.iter().any(|tag| tag.0 == entry.key)) =>
            {
                self.mapping(spot, keywords, branches);
            }
            Value::Text(text) if shapes.words.contains(&text.as_str()) => {}
            Value::Text(text) if fitting.is_empty() && !(shapes.words.is_empty() && shapes.tags.is_empty()) => {
                self.wrong_word(spot, text, keywords, &shapes);
            }
            _ => match fitting.as_slice() {
                [] => match shapes.others.iter().find(|branch| branch.contains_key("x-secret")) {
                    // Where open text may stand too, nothing else need be hidden.
                    Some(_) if !shapes.others.iter().any(|branch| describe::is_type_name(branch, "string")) => {
                        self.secret(spot);
                    }
                    _ => self.mismatch(spot, keywords),
                },
                [only] => self.branch(spot, only),
                several => self.best(spot, several),
            },
        }
    }

    fn wrong_word(&mut self, spot: &Spot<'_>, text: &str, keywords: &'a Map<String, Json>, shapes: &Shapes<'a>) {
        let tags = || shapes.tags.iter().map(|(tag, _)| *tag);
        let near = crate::nearest(text, shapes.words.iter().copied().chain(tags()));
        let hint = near.map(|near| {
            let is_tag = tags().any(|tag| tag == near);
            if is_tag { format!("write `{{{near}: ...}}`") } else { format!("did you mean `{near}`?") }
        });
        let found = format!("{} is {}", describe::subject(&spot.path), describe::node(spot.node));
        self.tell(spot, found, describe::schema(self, keywords), hint);
    }

    /// Of several branches that may be meant, the one with the fewest problems is.
    fn best(&mut self, spot: &Spot<'_>, branches: &[&'a Map<String, Json>]) {
        let (problems_before, secrets_before) = (self.problems.len(), self.secrets.len());
        let mut best = None;
        for branch in branches {
            self.branch(spot, branch);
            let problems = self.problems.split_off(problems_before);
            let secrets = self.secrets.split_off(secrets_before);
            if best.as_ref().is_none_or(|(fewest, _): &(Vec<_>, Vec<_>)| problems.len() < fewest.len()) {
                best = Some((problems, secrets));
            }
        }
        let (problems, secrets) = best.unwrap_or_default();
        self.problems.extend(problems);
        self.secrets.extend(secrets);
    }

    fn branch(&mut self, spot: &Spot<'_>, keywords: &'a Map<String, Json>) {
        if keywords.contains_key("x-secret") && !self.secret(spot) {
            return;
        }
        let branches = super::branches(keywords);
        if !branches.is_empty() && !keywords.contains_key("properties") {
            self.union(spot, keywords, &branches);
            return;
        }
        match &spot.node.value {
            Value::Map(_) => self.mapping(spot, keywords, &branches),
            Value::List(items) => self.list(spot, items, keywords),
            _ => self.scalar(spot, keywords),
        }
    }
}
