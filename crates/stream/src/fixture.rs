//! Rows in, rows out: what `headwater test` runs, without sources, sinks or ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A fixture: rows that each source is given, and the rows that must then reach each sink.
///
/// ```yaml
/// tests:
///   - name: bad alerts are dropped
///     given: {alerts: [{candidate: {nbad: 0, rb: 0.9}}, {candidate: {nbad: 2, rb: 0.9}}]}
///     expect: {science: [{candidate: {nbad: 0, rb: 0.9}}]}
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FixtureSpec {
    /// What is being shown, in words.
    pub name: String,
    /// Rows for each source, by its name. A source that isn't named gets none; fields that a row leaves out are null.
    pub given: IndexMap<String, Vec<Value>>,
    /// The rows of each sink, by its name, in order. Only the fields that an expected row names are compared; a sink
    /// that isn't named is not looked at.
    pub expect: IndexMap<String, Vec<Value>>,
}

/// How a fixture ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The fixture's name.
    pub name: String,
    /// What was not as expected; empty when all was.
    pub differences: Vec<String>,
}

/// Keeps the rows that reach a sink.
pub(crate) type Rows = Arc<std::sync::Mutex<BTreeMap<usize, Vec<Value>>>>;
