//! What the payloads of a queue must look like.

use std::fmt;
use std::sync::{Arc, OnceLock};

use jsonschema::Validator;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::json::Json;

/// Bytes of what is said of a payload that does not match: it may quote the payload.
const WHY_BYTES_MAX: usize = 300;

/// A JSON Schema, of the draft that its `$schema` names, otherwise 2020-12. What it refers to must stand in itself:
/// nothing is fetched.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PayloadSchema {
    schema: Value,
    /// Made when it is used first, and shared by clones.
    #[serde(skip)]
    compiled: Arc<OnceLock<Result<Validator, String>>>,
}

impl PayloadSchema {
    fn compiled(&self) -> Result<&Validator, Error> {
        let compile = || jsonschema::options().build(&self.schema).map_err(|error| short(&error.to_string()));
        let compiled = self.compiled.get_or_init(compile).as_ref();
        compiled.map_err(|why| Error::invalid("payload", format!("is no JSON Schema: {why}")))
    }

    /// Whether it is a schema.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.compiled().map(drop)
    }

    /// Whether a payload matches.
    pub(crate) fn admits(&self, payload: &Json) -> Result<(), Error> {
        let value = payload.value().map_err(|error| Error::invalid("payload", format!("can't be read: {error}")))?;
        self.compiled()?.validate(&value).map_err(|error| {
            let place = error.instance_path().to_string().replace('/', ".");
            let why = short(&error.to_string());
            Error::invalid(&format!("payload{place}"), format!("does not match the queue's schema: {why}"))
        })
    }
}

/// A text cut to what may be told.
fn short(text: &str) -> String {
    let end = text.floor_char_boundary(WHY_BYTES_MAX);
    if end == text.len() { text.to_owned() } else { format!("{}...", &text[..end]) }
}

impl PartialEq for PayloadSchema {
    fn eq(&self, other: &Self) -> bool {
        self.schema == other.schema
    }
}

impl fmt::Debug for PayloadSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.schema.fmt(f)
    }
}

impl JsonSchema for PayloadSchema {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PayloadSchema".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["object", "boolean"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(text: &str) -> PayloadSchema {
        serde_json::from_str(text).unwrap()
    }

    fn refusal(schema: &PayloadSchema, payload: &str) -> String {
        schema
            .admits(&Json::read(payload.to_owned()).unwrap())
            .map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn a_payload_that_does_not_match_is_refused_with_its_place() {
        let years =
            schema(r#"{"type": "object", "properties": {"start": {"type": "integer"}}, "required": ["start"]}"#);
        assert_eq!(refusal(&years, r#"{"start": 2001}"#), "");
        let why = refusal(&years, r#"{"start": "2001"}"#);
        assert!(why.starts_with("`payload.start` does not match the queue's schema: \"2001\" is not of type"), "{why}");
        assert!(refusal(&years, "{}").contains("required"), "{}", refusal(&years, "{}"));
        let long = format!(r#"{{"start": "{}"}}"#, "x".repeat(10_000));
        assert!(refusal(&years, &long).len() < 400);
    }

    #[test]
    fn what_is_no_schema_is_refused_and_nothing_is_fetched() {
        assert!(schema(r#"{"type": "objekt"}"#).check().is_err());
        assert!(schema(r#"{"$ref": "http://127.0.0.1:1/schema.json"}"#).check().is_err());
        assert!(schema(r##"{"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}}"##).check().is_ok());
    }
}
