//! The two YAML files of an EDNA job.

use std::collections::BTreeSet;

use document::{Foreign, Node, Place, Problem, Value};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

/// Parts of names of variables that hold secrets.
const SECRET_WORDS: [&str; 5] = ["token", "password", "passwd", "secret", "credential"];

/// `config.yaml`: what the image and the deployment of a job were made from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    template: Template,
}

/// What `template` of `config.yaml` says. Fields that only the build knew may be anything.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Template {
    pub(super) applicationname: Option<String>,
    pub(super) jobname: Option<String>,
    pub(super) filename: Option<String>,
    pub(super) jobreplicas: Option<u64>,
    pub(super) jobgraph: Option<Graph>,
    pub(super) jobimage: Option<Json>,
    pub(super) jobvariables: Option<Json>,
    pub(super) filedependencies: Option<Json>,
    pub(super) jobdependencies: Option<Json>,
}

/// The topics by which jobs of one application are chained.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct Graph {
    pub(super) import_key: Option<String>,
    pub(super) export_key: Option<String>,
}

/// Reads `config.yaml`.
pub(super) fn template(foreign: &Foreign) -> Result<Template, Vec<Problem>> {
    foreign.take::<Config>().map(|config| config.template)
}

/// The variables of `ednaconf.yaml`. What is wrong with those that are asked for is kept until the end.
#[derive(Debug)]
pub(super) struct Conf {
    pub(super) foreign: Foreign,
    asked: BTreeSet<String>,
    pub(super) problems: Vec<Problem>,
}

impl Conf {
    /// Reads `ednaconf.yaml`. No message quotes a value of it: any may be a secret.
    pub(super) fn new(foreign: Foreign) -> Result<Conf, Vec<Problem>> {
        match foreign.root().get("variables").map(|variables| &variables.value) {
            Some(Value::Map(_)) => Ok(Conf { foreign, asked: BTreeSet::new(), problems: Vec::new() }),
            Some(_) => {
                let problem = Problem::at("variables").found("`variables` is no mapping");
                Err(vec![foreign.locate(problem.expected("a mapping of names to values"))])
            }
            None => {
                let problem = Problem::at("").found(format!("`{}` has no `variables`", foreign.name()));
                let problem = problem.expected("`ednaconf.yaml`, with `variables` at its top");
                Err(vec![foreign.locate(problem.hint("give `config.yaml` and the job's Python file beside it"))])
            }
        }
    }

    /// Whether there is a variable, and it isn't nothing.
    pub(super) fn has(&self, name: &str) -> bool {
        self.node(name).is_some_and(|node| node.value != Value::Null)
    }

    /// A variable that is a text or a number.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.asked.insert(name.to_owned());
        let node = self.node(name)?;
        if node.value == Value::Null {
            return None;
        }
        let text = text(node);
        if text.is_none() {
            self.wrong(name, "a text");
        }
        text
    }

    /// A variable that is a list of texts.
    pub(super) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        self.asked.insert(name.to_owned());
        let texts = match &self.node(name)?.value {
            Value::Null => return None,
            Value::List(items) => items.iter().map(text).collect(),
            _ => None,
        };
        if texts.is_none() {
            self.wrong(name, "a list of texts");
        }
        texts
    }

    /// Takes note that a variable was carried over, or told of.
    pub(super) fn asked(&mut self, name: &str) {
        self.asked.insert(name.to_owned());
    }

    /// The variables that nobody asked for, with their places.
    pub(super) fn unasked(&self) -> Vec<(String, Place)> {
        let entries = self.entries().iter().filter(|entry| !self.asked.contains(&entry.key));
        entries.map(|entry| (entry.key.clone(), self.foreign.place(entry.key_span))).collect()
    }

    /// Where a variable is written.
    pub(super) fn place(&self, name: &str) -> Option<Place> {
        let entry = self.entries().iter().find(|entry| entry.key == name)?;
        Some(self.foreign.place(entry.key_span))
    }

    /// The values of all variables that are secrets by their names, and of `token`.
    pub(super) fn secrets(&self, token: &str) -> Vec<String> {
        let secret = self.entries().iter().filter(|entry| entry.key == token || is_secret(&entry.key));
        secret.filter_map(|entry| text(&entry.node)).collect()
    }

    fn wrong(&mut self, name: &str, expected: &str) {
        // The value itself isn't shown: it may be a secret that stands in the wrong place.
        let found = match self.node(name).map(|node| &node.value) {
            Some(Value::List(_)) => "a list",
            Some(Value::Map(_)) => "a mapping",
            Some(Value::Bool(_)) => "true or false",
            _ => "a single value",
        };
        let problem = Problem::at(format!("variables.{name}")).found(format!("`{name}` is {found}"));
        self.problems.push(self.foreign.locate(problem.expected(expected)));
    }

    fn node(&self, name: &str) -> Option<&Node> {
        self.foreign.root().get("variables")?.get(name)
    }

    fn entries(&self) -> &[document::Entry] {
        self.foreign.root().get("variables").map_or(&[], Node::entries)
    }
}

/// Whether a variable holds a secret, by its name.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

fn text(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Number(number) => Some(number.written.clone()),
        _ => None,
    }
}
