//! Values that are named in documents and never written there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::node::{Node, Value};
use crate::problem::Problem;
use crate::source::Source;
use crate::yaml::{self, Budget};

/// A secret, by reference: `{secret: {name: broker, key: password}}`.
///
/// On a laptop it is read from the environment variable `HEADWATER_SECRET_<NAME>_<KEY>` (upper case, every other
/// character as `_`), or from the file given by `--secrets`; in a pod from the Kubernetes Secret of that name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-secret" = true))]
pub struct SecretRef {
    /// Which secret, and which of its keys.
    pub secret: SecretKey,
}

/// The name of a secret and the key within it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretKey {
    /// The secret's name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The key within the secret.
    #[schemars(length(min = 1))]
    pub key: String,
}

impl SecretRef {
    /// The environment variable that holds its value.
    pub fn variable(&self) -> String {
        let name = format!("{}_{}", self.secret.name, self.secret.key);
        let upper = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
        format!("{}{}", Secrets::PREFIX, name.chars().map(upper).collect::<String>())
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key `{}` of secret `{}`", self.secret.key, self.secret.name)
    }
}

/// The value of a secret. It can't be printed or serialised; [`expose`](Secret::expose) is the only way to it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes a value to be kept.
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into())
    }

    /// The value itself, to be handed to the one that it is meant for and to nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Where references to secrets find their values: the environment first, then the secrets file.
#[derive(Debug, Default)]
pub struct Secrets {
    environment: BTreeMap<String, Secret>,
    file: BTreeMap<(String, String), Secret>,
    /// Which reference was the first to use each variable, since two that use the same one can't both be meant.
    used: Mutex<BTreeMap<String, SecretRef>>,
}

impl Secrets {
    /// What the variables of the environment that hold secrets begin with.
    pub const PREFIX: &str = "HEADWATER_SECRET_";

    /// Secrets out of a snapshot of the environment, of which only what begins with `HEADWATER_SECRET_` is kept.
    pub fn new(environment: impl IntoIterator<Item = (String, String)>) -> Secrets {
        let ours = environment.into_iter().filter(|(name, _)| name.starts_with(Secrets::PREFIX));
        Secrets { environment: ours.map(|(name, value)| (name, Secret(value))).collect(), ..Secrets::default() }
    }

    /// Adds the text of a secrets file: YAML of the shape `{name: {key: value}}`, its values text, numbers or booleans.
    ///
    /// The problems it returns show no line of the file.
    pub fn file(mut self, name: &str, text: &str) -> Result<Secrets, Vec<Problem>> {
        let mut problems = Vec::new();
        let source = Source::new(name, text);
        let documents = yaml::parse(&source, &mut Budget::default(), &mut problems);
        let expected = "a mapping of names to mappings of keys to values";
        let at = |path: &str, span| Problem::at(path).expected(expected).place(source.place(span));
        let unnamed = documents.iter().filter(|document| !matches!(document.value, Value::Map(_)));
        problems.extend(unnamed.map(|document| at("", document.span).found("a file of secrets without names")));
        for entry in documents.iter().flat_map(Node::entries) {
            if !matches!(entry.node.value, Value::Map(_)) {
                problems.push(at(&entry.key, entry.key_span).found("a secret without keys"));
            }
            for key in entry.node.entries() {
                let value = match &key.node.value {
                    Value::Text(text) => Some(text.clone()),
                    Value::Number(number) => Some(number.written.clone()),
                    Value::Bool(value) => Some(value.to_string()),
                    _ => None,
                };
                match value {
                    Some(value) => drop(self.file.insert((entry.key.clone(), key.key.clone()), Secret(value))),
                    None => problems
                        .push(at(&format!("{}.{}", entry.key, key.key), key.key_span).found("a key without a value")),
                }
            }
        }
        for place in problems.iter_mut().filter_map(|problem| problem.place.as_mut()) {
            (place.text, place.end_column) = (String::new(), place.column);
        }
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }

    /// The value of a reference that stands at `path`.
    pub fn resolve(&self, reference: &SecretRef, path: &str) -> Result<Secret, Problem> {
        let variable = reference.variable();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let first = used.entry(variable.clone()).or_insert_with(|| reference.clone());
        if *first != *reference {
            return Err(Problem::at(path)
                .found(format!("{reference} and {first} both read `{variable}`"))
                .expected("secrets whose variables differ")
                .hint("rename one of them"));
        }
        let key = (reference.secret.name.clone(), reference.secret.key.clone());
        self.environment.get(&variable).or_else(|| self.file.get(&key)).cloned().ok_or_else(|| {
            Problem::at(path)
                .found(format!("no value for {reference}"))
                .expected(format!("the environment variable `{variable}`, or an entry in a secrets file"))
                .hint(format!(
                    "set `{variable}`, or give `--secrets FILE` with `{}: {{{}: ...}}`",
                    reference.secret.name, reference.secret.key
                ))
        })
    }
}

#[cfg(test)]
mod tests;
