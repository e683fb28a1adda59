//! The `OpenAPI` document, made of the operations and the schemas of their types.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::access;
use crate::operation::{Answer, Operation};
use crate::problem::{PROBLEM_JSON, Problem};
use crate::route;

/// The API as `OpenAPI` 3.1 describes it. The same at each call, so that a committed copy can be compared.
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for operation in route::operations() {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = describe(&operation, &mut generator);
    }
    paths.sort_keys();
    let mut schemas = generator.take_definitions(true);
    schemas.sort_keys();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Headwater's queue",
            "version": "1",
            "description": "Jobs wait, are leased to workers, and end once. Durations are written as `30s`, times as RFC 3339 in UTC. Every refusal is a problem as RFC 9457 has it, with a `code` that never changes. Bodies are read as JSON whatever their content type says.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {
                "type": "http",
                "scheme": "bearer",
                "description": "A token of the document's `auth`. Without `auth` none is needed.",
            }},
            "responses": {"problem": {
                "description": "It was refused; `code` says why.",
                "content": {PROBLEM_JSON: {"schema": problem}},
            }},
        },
    })
}

fn describe(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let in_path = operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path.map(|name| path_parameter(name, generator)).collect();
    for parameter in &operation.query {
        let schema = (parameter.shape)(generator);
        parameters
            .push(json!({"name": parameter.name, "in": "query", "description": parameter.text, "schema": schema}));
    }
    for header in &operation.headers {
        let schema = (header.shape)(generator);
        let (name, text) = (header.name, header.text);
        parameters.push(json!({"name": name, "in": "header", "required": true, "description": text, "schema": schema}));
    }
    let mut replies: Map<String, Value> =
        operation.replies.iter().map(|answer| (answer.status.to_string(), reply(answer, generator))).collect();
    replies.insert("default".to_owned(), json!({"$ref": "#/components/responses/problem"}));
    let mut described = json!({
        "summary": operation.summary,
        "operationId": operation_id(operation),
        "responses": replies,
    });
    if !operation.scopes.is_empty() {
        let words: Vec<&str> = operation.scopes.iter().map(|scope| access::word(*scope)).collect();
        described["description"] = json!(format!("Needs a token that allows `{}`.", words.join("` or `")));
        described["security"] = json!([{}, {"token": []}]);
    }
    if !parameters.is_empty() {
        described["parameters"] = json!(parameters);
    }
    if let Some(shape) = operation.body {
        let schema = shape(generator);
        described["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    if operation.has_bytes {
        let content = json!({"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}});
        described["requestBody"] = json!({"required": true, "content": content});
    }
    described
}

fn path_parameter(name: &str, generator: &mut SchemaGenerator) -> Value {
    let schema = match name {
        "id" => generator.subschema_for::<queue::JobId>().to_value(),
        "worker" => json!({"type": "string", "pattern": "^[ -~]{1,128}$"}),
        // Of a file that a job leaves.
        "name" => json!({"type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._ -]{0,127}$"}),
        _ => json!({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"}),
    };
    json!({"name": name, "in": "path", "required": true, "schema": schema})
}

fn reply(answer: &Answer, generator: &mut SchemaGenerator) -> Value {
    let mut reply = json!({"description": answer.text});
    if !answer.media.is_empty() {
        let schema = answer.shape.map_or_else(|| json!({"type": "string"}), |shape| shape(generator).to_value());
        reply["content"] = json!({answer.media: {"schema": schema}});
    }
    reply
}

/// `getV1JobsId`, from method and path.
fn operation_id(operation: &Operation) -> String {
    let mut id = operation.method.to_owned();
    let words = operation.path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    for word in words {
        id.push_str(&word[..1].to_ascii_uppercase());
        id.push_str(&word[1..]);
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_referred_to_is_there() {
        fn refs<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            if let Some(target) = value.get("$ref").and_then(Value::as_str) {
                found.push(target);
            }
            let entries = value.as_object().into_iter().flat_map(Map::values);
            let items = value.as_array().into_iter().flatten();
            entries.chain(items).for_each(|value| refs(value, found));
        }
        let document = openapi();
        let mut found = Vec::new();
        refs(&document, &mut found);
        assert!(found.len() > 50);
        for target in found {
            assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{target}");
        }
        assert_eq!(document, openapi());
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_and_a_reply() {
        let operations = route::operations();
        let mut ids: Vec<String> = operations.iter().map(operation_id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), operations.len());
        for operation in operations {
            let what = format!("{} {}", operation.method, operation.path);
            assert!(operation.summary.ends_with('.') && !operation.replies.is_empty(), "{what}");
        }
    }
}
