//! Fields of mappings: those that are unknown, those that are missing, and those that exclude each other.

use regex::Regex;
use serde_json::{Map, Value as Json};

use super::union::Shapes;
use super::{Checker, Spot, describe};
use crate::name;
use crate::node::Entry;
use crate::problem::PROBLEMS_MAX;

/// The fields a mapping may have.
struct Fields<'a> {
    own: Vec<(&'a str, &'a Json)>,
    /// Fields of which there has to be exactly one: the tags of a union.
    tags: Vec<(&'a str, &'a Json)>,
    patterns: Vec<(Regex, &'a Json)>,
    /// The schema of any other field, where there may be others.
    others: Option<&'a Json>,
    /// Variants that are written as a word and not as a field.
    words: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    fn new(checker: &mut Checker<'a>, keywords: &'a Map<String, Json>, branches: &[&'a Json]) -> Fields<'a> {
        static ANY: Json = Json::Bool(true);
        let shapes = Shapes::new(checker, branches);
        let mut own: Vec<(&str, &Json)> = Vec::new();
        for fields in std::iter::once(keywords).chain(shapes.others.iter().copied()) {
            let properties = fields.get("properties").and_then(Json::as_object);
            own.extend(properties.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema)));
        }
        let patterns = keywords.get("patternProperties").and_then(Json::as_object);
        let compile = |(pattern, schema): (&'a String, &'a Json)| Some((checker.pattern(pattern)?, schema));
        let rest = keywords.get("unevaluatedProperties").or_else(|| keywords.get("additionalProperties"));
        let others = match rest {
            Some(Json::Bool(false)) => None,
            Some(schema) => Some(schema),
            // Beside a union whose branches are closed, what no branch knows is known by nobody.
            None => branches.is_empty().then_some(&ANY),
        };
        let patterns = patterns.into_iter().flatten().filter_map(compile).collect();
        Fields { own, tags: shapes.tags, patterns, others, words: shapes.words }
    }

    fn schema(&self, key: &str) -> Option<&'a Json> {
        let named = self.own.iter().chain(&self.tags).find(|(name, _)| *name == key).map(|(_, schema)| *schema);
        let matching = || self.patterns.iter().find(|(pattern, _)| pattern.is_match(key)).map(|(_, schema)| *schema);
        named.or_else(matching).or(self.others)
    }

    fn names(&self) -> Vec<&'a str> {
        self.own.iter().chain(&self.tags).map(|(name, _)| *name).collect()
    }
}

impl<'a> Checker<'a> {
    /// Checks a mapping. `branches` are those of a union that is flattened into it, or that it is one of.
    pub(super) fn mapping(&mut self, spot: &Spot<'_>, keywords: &'a Map<String, Json>, branches: &[&'a Json]) {
        let fields = Fields::new(self, keywords, branches);
        let mut unknown = Vec::new();
        for entry in spot.node.entries() {
            match fields.schema(&entry.key) {
                Some(schema) => {
                    let path = spot.path.field(&entry.key);
                    self.check(&Spot { node: &entry.node, key: Some(entry.key_span), path }, schema);
                }
                None if unknown.len() < PROBLEMS_MAX => unknown.push(entry),
                None => {}
            }
        }
        let meant: Vec<&str> = unknown.iter().filter_map(|entry| self.unknown(spot, entry, &fields)).collect();
        for name in keywords.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str) {
            // A mistyped field is one problem, not two.
            if spot.node.get(name).is_none() && !meant.contains(&name) {
                self.missing(spot, name, &fields);
            }
        }
        self.one_tag(spot, &fields, &meant);
        let count = spot.node.entries().len() as u64;
        let least = keywords.get("minProperties").and_then(Json::as_u64).filter(|least| count < *least);
        if let Some(least) = least {
            let found = format!("{} has {count} entries", describe::subject(&spot.path));
            self.tell(spot, found, format!("at least {least}"), None);
        }
    }

    /// Tells an unknown field, and returns the known one that it may mean.
    fn unknown(&mut self, spot: &Spot<'_>, entry: &Entry, fields: &Fields<'a>) -> Option<&'a str> {
        let names = fields.names();
        let free: Vec<&str> = names.iter().copied().filter(|name| spot.node.get(name).is_none()).collect();
        let near = crate::nearest(&entry.key, free.iter().copied());
        let key = describe::short(&entry.key);
        let is_named = !fields.patterns.is_empty();
        let found = format!("{} `{key}`", if is_named { "name" } else { "unknown field" });
        let expected = match fields.patterns.first() {
            Some((pattern, _)) if pattern.as_str() == name::PATTERN => name::TITLE.to_owned(),
            Some((pattern, _)) => format!("a name that matches `{}`", pattern.as_str()),
            None if names.is_empty() => "no fields".to_owned(),
            None if free.is_empty() => "no more fields".to_owned(),
            None => describe::names(free.iter().copied()),
        };
        let hint = match near {
            _ if fields.words.contains(&key.as_str()) => Some(format!("write `{key}` by itself")),
            near => near.map(|near| format!("did you mean `{near}`?")),
        };
        self.tell_at(entry.key_span, &spot.path.field(&entry.key), found, expected, hint);
        near
    }

    fn missing(&mut self, spot: &Spot<'_>, name: &str, fields: &Fields<'a>) {
        let expected = match fields.schema(name).map(|schema| self.resolve(schema)) {
            Some(Json::Object(keywords)) => describe::schema(self, keywords),
            _ => String::new(),
        };
        let found = format!("missing field `{name}`");
        self.tell_at(spot.node.point(spot.key), &spot.path.field(name), found, expected, None);
    }

    /// Of the tags of a union exactly one has to be there.
    fn one_tag(&mut self, spot: &Spot<'_>, fields: &Fields<'a>, meant: &[&str]) {
        let tags: Vec<&str> = fields.tags.iter().map(|(tag, _)| *tag).collect();
        let given: Vec<&str> = tags.iter().copied().filter(|tag| spot.node.get(tag).is_some()).collect();
        let subject = describe::subject(&spot.path);
        match given.len() {
            0 if tags.iter().any(|tag| meant.contains(tag)) => {}
            0 if !tags.is_empty() => {
                // An unknown field in a mapping that has only tags has been told with what is expected.
                let told = fields.own.is_empty() && fields.others.is_none() && !spot.node.entries().is_empty();
                if !told {
                    self.tell(spot, format!("{subject} doesn't say what it is"), describe::names(tags), None);
                }
            }
            0 | 1 => {}
            _ => {
                let second = spot.node.entry(given[1]).map_or(spot.node.span, |entry| entry.key_span);
                let given = given.iter().map(|tag| format!("`{tag}`")).collect::<Vec<_>>().join(" and ");
                let expected = format!("only {}", describe::names(tags));
                self.tell_at(second, &spot.path, format!("{subject} has {given}"), expected, None);
            }
        }
    }
}
