//! The schema that editors get.

use document::Kind;
use serde_json::{Value as Json, json};

use crate::pipeline::Pipeline;

#[test]
fn the_schema_is_of_the_whole_document_and_lets_variables_in() {
    let schema = document::schema::<Pipeline>(Kind::Stream);
    assert_eq!(schema["$id"], "https://headwater.dev/schema/stream.json");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["properties"]["apiVersion"]["const"], "headwater.dev/v1alpha1");
    assert_eq!(schema["properties"]["kind"]["const"], "Stream");
    assert_eq!(schema["additionalProperties"], false);
    let spec = &schema["properties"]["spec"];
    assert!(spec["properties"]["variables"].is_object() && spec["properties"]["sources"].is_object());
    let variable = json!({"type": "string", "pattern": "\\$\\{"});
    assert_eq!(schema["$defs"]["Batch"]["properties"]["rows"]["anyOf"][1], variable);
    assert_eq!(schema["$defs"]["Duration"]["anyOf"][1], variable);
    assert_eq!(schema["$defs"]["Framing"]["anyOf"][1], variable);
    assert_eq!(schema["$defs"]["Source"]["oneOf"].as_array().map(Vec::len), Some(3), "still one connector only");
}

#[test]
fn every_reference_of_the_schema_leads_somewhere() {
    let schema = document::schema::<Pipeline>(Kind::Stream);
    let mut references = Vec::new();
    collect(&schema, &mut references);
    assert!(references.len() > 5);
    for reference in references {
        assert!(schema.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

fn collect(schema: &Json, references: &mut Vec<String>) {
    if let Some(reference) = schema.get("$ref").and_then(Json::as_str) {
        references.push(reference.to_owned());
    }
    match schema {
        Json::Array(items) => items.iter().for_each(|item| collect(item, references)),
        Json::Object(fields) => fields.values().for_each(|field| collect(field, references)),
        _ => {}
    }
}
