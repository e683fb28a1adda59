//! A spec type with every shape that the specs of domains use.

use std::collections::BTreeMap;

use document::{ByteSize, Duration, Name, SecretRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Pipeline {
    pub(crate) sources: BTreeMap<Name, Source>,
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    #[serde(default)]
    pub(crate) batch: Batch,
    #[serde(default)]
    pub(crate) delivery: Delivery,
    /// Stop when so many fail.
    #[serde(default)]
    pub(crate) fail_after: Option<Share>,
    pub(crate) drain_timeout: Option<Duration>,
    #[serde(default)]
    pub(crate) tests: Vec<serde_json::Value>,
}

/// The connector stands beside the format, as a flattened union.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Source {
    pub(crate) format: Option<Format>,
    #[serde(flatten)]
    pub(crate) connector: Connector,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Connector {
    /// From a broker.
    Kafka(Kafka),
    /// From files.
    Files(Files),
    /// Made up.
    Generate {},
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Kafka {
    pub(crate) brokers: String,
    pub(crate) topics: Topics,
    #[serde(default)]
    pub(crate) start: Start,
    pub(crate) password: Option<SecretRef>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Header>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Header {
    Plain(String),
    Secret(SecretRef),
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Files {
    pub(crate) url: String,
    #[schemars(range(min = 1, max = 64))]
    pub(crate) shards: Option<u32>,
    #[serde(default)]
    pub(crate) follow: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Topics {
    One(String),
    Several(Vec<String>),
    Matching(Pattern),
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pattern {
    pub(crate) pattern: String,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Start {
    /// From the first row.
    #[default]
    Earliest,
    /// From now on.
    Latest,
    /// From a moment on.
    At(i64),
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Format {
    Json,
    Text,
    Avro(Avro),
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Avro {
    pub(crate) framing: Option<Framing>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Framing {
    Container,
    Confluent,
    Auto,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) from: Name,
    #[serde(rename = "where")]
    pub(crate) condition: Option<String>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Batch {
    pub(crate) rows: u32,
    pub(crate) bytes: ByteSize,
    pub(crate) every: Duration,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Delivery {
    #[default]
    ExactlyOnce,
    AtLeastOnce,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Share {
    Rows(u64),
    Part(#[schemars(range(min = 0.0, max = 1.0))] f64),
}
