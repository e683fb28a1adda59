//! Placeholder types until the crate's own files arrive.
#![allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason
)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Problem {
    pub path: String,
    pub found: String,
    pub expected: String,
    pub hint: Option<String>,
}
impl Problem {
    pub fn at(path: impl Into<String>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }
    pub fn found(mut self, found: impl Into<String>) -> Self {
        self.found = found.into();
        self
    }
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = expected.into();
        self
    }
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Duration(std::time::Duration);
impl Duration {
    pub const fn new(d: std::time::Duration) -> Self {
        Self(d)
    }
    pub const fn get(self) -> std::time::Duration {
        self.0
    }
    pub const fn from_secs(s: u64) -> Self {
        Self(std::time::Duration::from_secs(s))
    }
    pub const fn from_millis(s: u64) -> Self {
        Self(std::time::Duration::from_millis(s))
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ByteSize(u64);
impl ByteSize {
    pub const fn new(b: u64) -> Self {
        Self(b)
    }
    pub const fn get(self) -> u64 {
        self.0
    }
    pub const fn from_mib(m: u64) -> Self {
        Self(m << 20)
    }
}
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    pub secret: SecretKey,
}
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretKey {
    pub name: String,
    pub key: String,
}
#[derive(Clone)]
pub struct Secret(String);
impl Secret {
    pub fn new(s: impl Into<String>) -> Self {
        Self(s.into())
    }
    pub fn expose(&self) -> &str {
        &self.0
    }
}
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}
#[derive(Clone, Debug, Default)]
pub struct Secrets(std::collections::BTreeMap<(String, String), Secret>);
impl Secrets {
    pub fn resolve(&self, r: &SecretRef, path: &str) -> Result<Secret, Problem> {
        self.0.get(&(r.secret.name.clone(), r.secret.key.clone())).cloned().ok_or_else(|| Problem::at(path))
    }
}
