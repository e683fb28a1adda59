//! Pages from the JSON Schema of documents: the stream, then one for each connector, format and step.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::page;

/// The keys that stand beside a connector or a kind of step and are none themselves.
const BESIDE: [&str; 2] = ["from", "format"];

/// All pages, by their paths in `docs/reference`.
pub(super) fn pages(schema: &Value) -> BTreeMap<String, String> {
    let definitions = Definitions(schema);
    let mut pages = BTreeMap::new();
    let spec = schema.pointer("/properties/spec").unwrap_or(&Value::Null);
    let part = |name: &str| {
        let part = spec.pointer(&format!("/properties/{name}/additionalProperties")).unwrap_or(&Value::Null);
        definitions.resolve(part)
    };
    let (source, sink, step) = (part("sources"), part("sinks"), part("steps"));
    let mut connectors: BTreeMap<String, Vec<(&str, &Value)>> = BTreeMap::new();
    for (role, part) in [("Source", source), ("Sink", sink)] {
        for (name, shape) in properties(part).filter(|(name, _)| !BESIDE.contains(&name.as_str())) {
            connectors.entry(name.clone()).or_default().push((role, shape));
        }
    }
    for (name, roles) in &connectors {
        pages.insert(format!("connector/{name}.md"), definitions.page(name, roles));
    }
    let format = properties(source).find(|(name, _)| *name == "format").map_or(&Value::Null, |(_, format)| format);
    for (name, shape) in definitions.variants(format) {
        pages.insert(format!("format/{name}.md"), definitions.page(&name, &[("Settings", shape)]));
    }
    for (name, shape) in properties(step).filter(|(name, _)| !BESIDE.contains(&name.as_str())) {
        pages.insert(format!("step/{name}.md"), definitions.page(name, &[("Settings", shape)]));
    }
    let index = definitions.stream(spec, &pages, [source, sink, step]);
    pages.insert("stream.md".to_owned(), index);
    pages
}

/// The page of the queue: all of its fields.
pub(super) fn queue(schema: &Value) -> String {
    let definitions = Definitions(schema);
    let spec = schema.pointer("/properties/spec").unwrap_or(&Value::Null);
    let mut text = page::head("`Queue`");
    // Writing into a string can't fail.
    let _ = write!(text, "\n{}\n", description(definitions.resolve(spec)));
    definitions.write_fields(&mut text, definitions.resolve(spec), &mut BTreeSet::new());
    text
}

fn properties(shape: &Value) -> impl Iterator<Item = (&String, &Value)> {
    shape.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// The schema in which references are looked up.
struct Definitions<'a>(&'a Value);

impl<'a> Definitions<'a> {
    /// What a shape really is: without references, without the branch that lets variables in, without `null`.
    fn resolve(&self, shape: &'a Value) -> &'a Value {
        let mut shape = shape;
        // A bound, since a schema could refer to itself.
        for _ in 0..16 {
            let branches = ["anyOf", "oneOf"].iter().find_map(|key| shape.get(*key)).and_then(Value::as_array);
            let real: Vec<&Value> =
                branches.into_iter().flatten().filter(|one| !is_null(one) && !is_variable(one)).collect();
            shape = match (reference(shape), &real[..]) {
                (Some(name), _) => self.0.pointer(&format!("/$defs/{name}")).unwrap_or(&Value::Null),
                (None, [only]) => only,
                _ => return shape,
            };
        }
        shape
    }

    /// The variants of a union, by their keys: the settings of each format.
    fn variants(&self, shape: &'a Value) -> Vec<(String, &'a Value)> {
        let (mut found, mut open, mut seen) = (Vec::new(), vec![shape], BTreeSet::new());
        while let Some(shape) = open.pop() {
            let shape = self.resolve(shape);
            if !seen.insert(std::ptr::from_ref(shape)) {
                continue;
            }
            open.extend(branches(shape));
            // A variant is an object with one key.
            if let ([(name, inner)], true) =
                (&properties(shape).collect::<Vec<_>>()[..], shape.get("required").is_some())
            {
                let described = [*inner, shape].into_iter().find(|one| !description(one).is_empty());
                found.push(((*name).clone(), described.unwrap_or(shape)));
            }
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        found
    }

    fn page(&self, name: &str, roles: &[(&str, &'a Value)]) -> String {
        let mut text = page::head(&format!("`{name}`"));
        for (role, shape) in roles {
            // Writing into a string can't fail, here and below.
            if roles.len() > 1 || *role != "Settings" {
                let _ = write!(text, "\n## {role}\n");
            }
            let inner = properties(shape).find(|(key, _)| *key == name).map(|(_, inner)| inner);
            let resolved = self.resolve(inner.unwrap_or(shape));
            write_words(&mut text, shape, resolved);
            self.write_fields(&mut text, resolved, &mut BTreeSet::new());
        }
        text
    }

    fn stream(&self, spec: &'a Value, pages: &BTreeMap<String, String>, parts: [&'a Value; 3]) -> String {
        let mut text = page::head("`Stream`");
        let _ = write!(text, "\n{}\n", description(spec));
        let mut seen: BTreeSet<*const Value> = parts.iter().map(|part| std::ptr::from_ref(*part)).collect();
        let [source, sink, step] = parts;
        let mut rest = String::new();
        for (title, part, folder) in
            [("A source", source, "connector"), ("A step", step, "step"), ("A sink", sink, "connector")]
        {
            let _ = write!(rest, "\n## {title}\n\n{}\n\n| field | meaning |\n|---|---|\n", description(part));
            for (name, shape) in properties(part) {
                let link = format!("{folder}/{name}.md");
                let linked = pages.contains_key(&link).then(|| format!("[`{name}`]({link})"));
                let name = linked.unwrap_or_else(|| format!("`{name}`"));
                let _ = writeln!(rest, "| {name} | {} |", cell(&self.words(shape)));
            }
        }
        let formats = pages.keys().filter_map(|path| path.strip_prefix("format/")?.strip_suffix(".md"));
        let formats: Vec<String> = formats.map(|name| format!("[`{name}`](format/{name}.md)")).collect();
        let _ = write!(rest, "\n## Formats\n\n{}\n", formats.join(", "));
        self.write_fields(&mut text, spec, &mut seen);
        text + &rest
    }

    fn words(&self, shape: &'a Value) -> String {
        let outer = description(shape);
        if outer.is_empty() { description(self.resolve(shape)) } else { outer }
    }

    /// A table of the fields, then a section for each field that has fields of its own.
    fn write_fields(&self, text: &mut String, shape: &'a Value, seen: &mut BTreeSet<*const Value>) {
        let fields: Vec<_> = properties(shape).collect();
        if fields.is_empty() || !seen.insert(std::ptr::from_ref(shape)) {
            self.write_choices(text, shape, seen);
            return;
        }
        let required: Vec<&str> =
            shape.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        text.push_str("\n| field | type | default | meaning |\n|---|---|---|---|\n");
        for (name, field) in &fields {
            let default = match field.get("default").or_else(|| self.resolve(field).get("default")) {
                _ if required.contains(&name.as_str()) => "required".to_owned(),
                None | Some(Value::Null) => String::new(),
                Some(default) => cell(&format!("`{}`", plain(default))),
            };
            let kind = cell(&self.kind(field));
            let _ = writeln!(text, "| `{name}` | {kind} | {default} | {} |", cell(&self.words(field)));
        }
        for (name, field) in fields {
            let inner = self.within(field);
            let has_more = properties(inner).next().is_some() || !self.choices(inner).is_empty();
            if has_more && !seen.contains(&std::ptr::from_ref(inner)) {
                let _ = write!(text, "\n### `{name}`\n");
                let more = Some(description(inner)).filter(|more| !more.is_empty() && *more != self.words(field));
                text.extend(more.map(|more| format!("\n{more}\n")));
                self.write_fields(text, inner, seen);
            }
        }
    }

    /// What a list or a mapping holds, or the shape itself.
    fn within(&self, field: &'a Value) -> &'a Value {
        let shape = self.resolve(field);
        let held = shape.get("items").or_else(|| shape.get("additionalProperties").filter(|held| held.is_object()));
        held.map_or(shape, |held| self.resolve(held))
    }

    /// The described branches of a shape that may be one of several things.
    fn choices(&self, shape: &'a Value) -> Vec<&'a Value> {
        let all = branches(shape).filter(|one| !is_null(one) && !is_variable(one));
        all.filter(|one| !self.words(one).is_empty() || properties(self.resolve(one)).next().is_some()).collect()
    }

    fn write_choices(&self, text: &mut String, shape: &'a Value, seen: &mut BTreeSet<*const Value>) {
        if !seen.insert(std::ptr::from_ref(shape)) {
            return;
        }
        let choices = self.choices(shape);
        if choices.is_empty() {
            return;
        }
        text.push_str("\nOne of:\n\n");
        for choice in &choices {
            let _ = writeln!(
                text,
                "- {}: {}",
                self.kind(choice),
                self.words(choice).replace("\n\n", " ").replace('\n', " ")
            );
        }
        for choice in choices {
            // A variant with one key: its fields are those of what stands behind the key.
            let (title, held) = match &properties(self.resolve(choice)).collect::<Vec<_>>()[..] {
                [(name, field)] => (format!("\n### `{name}`\n"), self.within(field)),
                _ => (String::new(), self.resolve(choice)),
            };
            if properties(held).next().is_some() && !seen.contains(&std::ptr::from_ref(held)) {
                text.push_str(&title);
                self.write_fields(text, held, seen);
            }
        }
    }

    /// What may be written there, in a few words.
    fn kind(&self, shape: &'a Value) -> String {
        let named = reference(shape).or_else(|| branches(shape).filter(|one| !is_variable(one)).find_map(reference));
        match named {
            Some("Duration") => return "duration".to_owned(),
            Some("ByteSize") => return "size".to_owned(),
            Some("SecretRef") => return "secret".to_owned(),
            _ => {}
        }
        let shape = self.resolve(shape);
        let words = |values: &Vec<Value>| values.iter().map(|one| format!("`{}`", plain(one))).collect::<Vec<_>>();
        if let Some(values) = shape.get("enum").and_then(Value::as_array) {
            return words(values).join(", ");
        }
        if let Some(value) = shape.get("const") {
            return format!("`{}`", plain(value));
        }
        let mut kinds: Vec<String> = Vec::new();
        for branch in branches(shape).filter(|one| !is_null(one) && !is_variable(one)) {
            let kind = self.kind(branch);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        if !kinds.is_empty() {
            return kinds.join(" or ");
        }
        self.simple_kind(shape)
    }

    fn simple_kind(&self, shape: &'a Value) -> String {
        let types: Vec<&str> = match shape.get("type") {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect()
            }
            _ => Vec::new(),
        };
        let bounds = match (shape.get("minimum"), shape.get("maximum")) {
            (Some(least), Some(most)) => format!(", {least} to {most}"),
            (Some(least), None) if least.as_f64() != Some(0.0) => format!(", at least {least}"),
            (None, Some(most)) => format!(", at most {most}"),
            _ => String::new(),
        };
        let held = |key: &str| shape.get(key).filter(|held| held.is_object()).map(|held| self.kind(held));
        let words: Vec<String> = types
            .iter()
            .map(|name| match *name {
                "integer" => format!("integer{bounds}"),
                "number" => format!("number{bounds}"),
                "boolean" => "true or false".to_owned(),
                "string" => "text".to_owned(),
                "array" => held("items").map_or_else(|| "list".to_owned(), |held| format!("list of {held}")),
                "object" => object_kind(shape, held("additionalProperties")),
                other => other.to_owned(),
            })
            .collect();
        if words.is_empty() { "anything".to_owned() } else { words.join(" or ") }
    }
}

fn write_words(text: &mut String, shape: &Value, resolved: &Value) {
    let (outer, inner) = (description(shape), description(resolved));
    if !outer.is_empty() && outer != inner {
        let _ = write!(text, "\n{outer}\n");
    }
    if !inner.is_empty() {
        let _ = write!(text, "\n{inner}\n");
    }
}

fn object_kind(shape: &Value, held: Option<String>) -> String {
    let names: Vec<String> = properties(shape).map(|(name, _)| name.clone()).collect();
    match (&names[..], held) {
        ([], Some(held)) => format!("mapping of names to {held}"),
        ([], None) => "mapping".to_owned(),
        ([only], _) => format!("`{{{only}: ..}}`"),
        _ => "mapping, see below".to_owned(),
    }
}

fn branches(shape: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf"].into_iter().filter_map(|key| shape.get(key)).filter_map(Value::as_array).flatten()
}

fn reference(shape: &Value) -> Option<&str> {
    shape.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}

fn description(shape: &Value) -> String {
    shape.get("description").and_then(Value::as_str).unwrap_or_default().trim().to_owned()
}

fn is_null(shape: &Value) -> bool {
    shape.get("type").and_then(Value::as_str) == Some("null")
}

/// Whether this is the branch that lets a text with a variable stand for a scalar.
fn is_variable(shape: &Value) -> bool {
    shape.get("pattern").and_then(Value::as_str) == Some("\\$\\{")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        Value::Object(fields) => flow(fields),
        other => other.to_string(),
    }
}

fn flow(fields: &Map<String, Value>) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {}", plain(value))).collect();
    format!("{{{}}}", fields.join(", "))
}

/// Text that fits a cell of a table.
fn cell(text: &str) -> String {
    let paragraphs: Vec<String> = text.split("\n\n").map(|part| part.replace('\n', " ")).collect();
    paragraphs.join("<br>").replace('|', "\\|")
}
