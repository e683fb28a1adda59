//! The JSON Schema of documents, for editors.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value as Json, json};

use crate::envelope::{API_VERSION, Envelope, Kind};

/// The JSON Schema (draft 2020-12) of a document of `kind` whose spec is a `T`.
///
/// It is meant for editors: where `T` wants a number, a boolean, one of some words or a text of a pattern, a text with a
/// `${name}` is right as well. [`crate::Document::spec`] checks what comes out after the variables are filled in.
pub fn schema<T: JsonSchema>(kind: Kind) -> Json {
    let mut generator = generator();
    let mut spec = generator.subschema_for::<T>().to_value();
    let mut envelope = generator.root_schema_for::<Envelope>().to_value();
    let mut definitions = envelope.as_object_mut().and_then(|root| root.remove("$defs")).unwrap_or_default();
    // The spec is wanted as it is, so that `variables` can stand beside its own fields.
    let own = spec.get("$ref").and_then(Json::as_str).and_then(|target| target.strip_prefix("#/$defs/"));
    if let Some(definition) = own.and_then(|name| definitions.get(name)) {
        spec = definition.clone();
    }
    allow_variables(&mut spec);
    if let Some(definitions) = definitions.as_object_mut() {
        definitions.values_mut().for_each(allow_variables);
        for part in ["Kind", "ApiVersion"] {
            definitions.remove(part);
        }
    }
    if let Some(properties) = spec.get_mut("properties").and_then(Json::as_object_mut) {
        properties.insert("variables".to_owned(), variables());
    }
    let title = format!("A Headwater {kind}");
    let mut root = Map::new();
    root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("$id".to_owned(), json!(format!("https://headwater.dev/schema/{}.json", kind.as_str().to_lowercase())));
    root.insert("title".to_owned(), json!(title));
    if let Json::Object(envelope) = envelope {
        root.extend(
            envelope.into_iter().filter(|(key, _)| !matches!(key.as_str(), "$schema" | "title" | "description")),
        );
    }
    if let Some(properties) = root.get_mut("properties").and_then(Json::as_object_mut) {
        properties.insert("apiVersion".to_owned(), json!({"const": API_VERSION}));
        properties.insert("kind".to_owned(), json!({"const": kind.as_str()}));
        properties.insert("spec".to_owned(), spec);
    }
    root.insert("$defs".to_owned(), definitions);
    Json::Object(root)
}

/// The schema that a document's part is checked against, as JSON.
pub(crate) fn plain<T: JsonSchema>() -> Json {
    generator().into_root_schema_for::<T>().to_value()
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().into_generator()
}

fn variables() -> Json {
    json!({
        "description": "Names with defaults. `${name}` in any text of the spec is replaced; `--set name=value` overrides; a default of `null` has to be overridden.",
        "type": "object",
        "additionalProperties": true,
    })
}

/// Lets a text with a variable stand wherever a scalar is asked for that is not just any text.
fn allow_variables(schema: &mut Json) {
    let Json::Object(keywords) = schema else { return };
    for key in ["properties", "patternProperties"] {
        if let Some(properties) = keywords.get_mut(key).and_then(Json::as_object_mut) {
            properties.values_mut().for_each(allow_variables);
        }
    }
    for key in ["items", "additionalProperties"] {
        keywords.get_mut(key).into_iter().for_each(allow_variables);
    }
    // A text with a variable fits every branch that is a scalar, so one of them has to be enough.
    let has_scalars =
        |branches: &Json| branches.as_array().is_some_and(|all| all.iter().any(|one| one["type"] != "object"));
    if keywords.get("oneOf").is_some_and(has_scalars) {
        let branches = keywords.remove("oneOf").unwrap_or_default();
        keywords.insert("anyOf".to_owned(), branches);
    }
    for key in ["allOf", "anyOf", "oneOf", "prefixItems"] {
        keywords.get_mut(key).and_then(Json::as_array_mut).into_iter().flatten().for_each(allow_variables);
    }
    if wants_scalar(keywords) {
        let mut outer = Map::new();
        for key in ["title", "description", "examples", "default"] {
            outer.extend(keywords.remove(key).map(|value| (key.to_owned(), value)));
        }
        let inner = std::mem::take(keywords);
        outer.insert("anyOf".to_owned(), json!([inner, {"type": "string", "pattern": "\\$\\{"}]));
        *keywords = outer;
    }
}

fn wants_scalar(keywords: &Map<String, Json>) -> bool {
    let types: Vec<&str> = match keywords.get("type") {
        Some(Json::String(name)) => vec![name],
        Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    let bound = ["enum", "const", "pattern"].iter().any(|key| keywords.contains_key(*key));
    bound || types.iter().any(|name| matches!(*name, "integer" | "number" | "boolean"))
}
