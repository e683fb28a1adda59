//! Avro schemas: read from JSON, shown as Arrow, merged with the stream's.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use serde_json::{Map, Value};

/// Types a schema may have once its names are written out at each place they are used.
pub(super) const SCHEMA_NODES_MAX: usize = 65_536;

/// How deep the types of a schema may nest.
pub(super) const SCHEMA_DEPTH_MAX: usize = 64;

/// A type as its writer lays it out, names written out.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Avro {
    /// A value without parts, and how Arrow holds it.
    Leaf(Wire, DataType),
    /// Fields in the order they are written.
    Record(Vec<(String, Self)>),
    /// Items.
    Array(Box<Self>),
    /// Values under text keys.
    Map(Box<Self>),
    /// One of several, each by the name that the Avro specification gives it.
    Union(Vec<(String, Self)>),
}

/// What stands in the bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wire {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Enum(Arc<[String]>),
    Fixed(usize),
}

/// The fields of the record that `json` describes.
pub(super) fn parse(json: &[u8]) -> Result<Avro, String> {
    let value: Value = serde_json::from_slice(json).map_err(|error| format!("the schema is not JSON: {error}"))?;
    let mut parser = Parser { named: HashMap::new(), open: Vec::new(), nodes: 0 };
    match parser.read(&value, "", 0)? {
        record @ Avro::Record(_) => Ok(record),
        _ => Err("the schema's outermost type is not a record; wrap it in a record with one field".to_owned()),
    }
}

struct Parser<'a> {
    named: HashMap<String, (&'a Map<String, Value>, String)>,
    open: Vec<String>,
    nodes: usize,
}

impl<'a> Parser<'a> {
    fn read(&mut self, value: &'a Value, space: &str, depth: usize) -> Result<Avro, String> {
        self.nodes += 1;
        if self.nodes > SCHEMA_NODES_MAX {
            return Err(format!("the schema holds more than {SCHEMA_NODES_MAX} types"));
        }
        if depth > SCHEMA_DEPTH_MAX {
            return Err(format!("the schema nests deeper than {SCHEMA_DEPTH_MAX} types"));
        }
        match value {
            Value::String(name) => self.by_name(name, None, space, depth),
            Value::Array(branches) => self.union(branches, space, depth),
            Value::Object(object) => self.object(object, space, depth),
            other => Err(format!("the schema has {other} where a type should be")),
        }
    }

    fn object(&mut self, object: &'a Map<String, Value>, space: &str, depth: usize) -> Result<Avro, String> {
        let kind = object.get("type").ok_or("the schema has a type without `type`")?;
        let Value::String(kind) = kind else { return self.read(kind, space, depth + 1) };
        match kind.as_str() {
            "record" | "error" | "enum" | "fixed" => self.definition(object, space, depth),
            "array" => {
                let items = object.get("items").ok_or("the schema has an array without `items`")?;
                Ok(Avro::Array(Box::new(self.read(items, space, depth + 1)?)))
            }
            "map" => {
                let values = object.get("values").ok_or("the schema has a map without `values`")?;
                Ok(Avro::Map(Box::new(self.read(values, space, depth + 1)?)))
            }
            name => self.by_name(name, Some(object), space, depth),
        }
    }

    fn by_name(
        &mut self,
        name: &str,
        object: Option<&Map<String, Value>>,
        space: &str,
        depth: usize,
    ) -> Result<Avro, String> {
        if let Some((wire, plain)) = primitive(name) {
            let logical = object.and_then(|object| logical_type(object, &wire));
            return Ok(Avro::Leaf(wire, logical.unwrap_or(plain)));
        }
        let full = full_name(name, space);
        let full = if self.named.contains_key(&full) { full } else { name.to_owned() };
        let Some((definition, space)) = self.named.get(&full).cloned() else {
            return Err(format!("the schema uses the type `{name}` before it defines it"));
        };
        self.definition(definition, &space, depth)
    }

    fn definition(&mut self, object: &'a Map<String, Value>, outer: &str, depth: usize) -> Result<Avro, String> {
        let name = text(object, "name").ok_or("the schema has a named type without `name`")?;
        let full = full_name(name, text(object, "namespace").unwrap_or(outer));
        if self.open.contains(&full) {
            return Err(format!("the type `{full}` contains itself, which columns can't hold"));
        }
        let known = self.named.insert(full.clone(), (object, outer.to_owned()));
        if known.is_some_and(|(known, _)| !std::ptr::eq(known, object)) {
            return Err(format!("the schema defines the type `{full}` twice"));
        }
        match text(object, "type") {
            Some("enum") => {
                let symbols = object.get("symbols").and_then(Value::as_array);
                let symbols = symbols.ok_or_else(|| format!("the enum `{full}` has no `symbols`"))?;
                let symbols: Option<Arc<[String]>> = symbols.iter().map(|s| s.as_str().map(str::to_owned)).collect();
                let symbols = symbols.ok_or_else(|| format!("a symbol of the enum `{full}` is not text"))?;
                Ok(Avro::Leaf(Wire::Enum(symbols), DataType::Utf8))
            }
            Some("fixed") => {
                let size = object.get("size").and_then(Value::as_i64).and_then(|size| i32::try_from(size).ok());
                let size = size.filter(|size| *size >= 0);
                let size = size.ok_or_else(|| format!("the fixed type `{full}` has no size within 0..2^31"))?;
                let wire = Wire::Fixed(usize::try_from(size).unwrap_or(0));
                let logical = logical_type(object, &wire);
                Ok(Avro::Leaf(wire, logical.unwrap_or(DataType::FixedSizeBinary(size))))
            }
            _ => self.record(object, full, depth),
        }
    }

    fn record(&mut self, object: &'a Map<String, Value>, full: String, depth: usize) -> Result<Avro, String> {
        let fields = object.get("fields").and_then(Value::as_array);
        let fields = fields.ok_or_else(|| format!("the record `{full}` has no `fields`"))?;
        let space = full.rsplit_once('.').map_or("", |(space, _)| space).to_owned();
        self.open.push(full);
        let mut read: Vec<(String, Avro)> = Vec::with_capacity(fields.len());
        for field in fields {
            let field = field.as_object().ok_or("the schema has a field that is not an object")?;
            let name = text(field, "name").ok_or("the schema has a field without `name`")?;
            if read.iter().any(|(known, _)| known == name) {
                return Err(format!("the schema has the field `{name}` twice in one record"));
            }
            let kind = field.get("type").ok_or_else(|| format!("the field `{name}` has no `type`"))?;
            read.push((name.to_owned(), self.read(kind, &space, depth + 1)?));
        }
        self.open.pop();
        Ok(Avro::Record(read))
    }

    fn union(&mut self, branches: &'a [Value], space: &str, depth: usize) -> Result<Avro, String> {
        let mut read: Vec<(String, Avro)> = Vec::with_capacity(branches.len());
        for branch in branches {
            let value = self.read(branch, space, depth + 1)?;
            if matches!(value, Avro::Union(_)) {
                return Err("the schema has a union directly within a union".to_owned());
            }
            let full = branch_name(branch);
            let short = full.rsplit('.').next().unwrap_or(full);
            let name = if read.iter().any(|(known, _)| known == short) { full } else { short };
            if read.iter().any(|(known, _)| known == name) {
                return Err(format!("the schema has the branch `{name}` twice in one union"));
            }
            read.push((name.to_owned(), value));
        }
        Ok(Avro::Union(read))
    }
}

impl Avro {
    /// The column that holds such values.
    pub(super) fn field(&self, name: &str) -> Field {
        match self {
            Self::Leaf(wire, kind) => Field::new(name, kind.clone(), *wire == Wire::Null),
            Self::Record(fields) => Field::new(name, DataType::Struct(struct_fields(fields)), false),
            Self::Array(item) => Field::new(name, DataType::List(Arc::new(item.field("item"))), false),
            Self::Map(value) => {
                let key = Field::new("key", DataType::Utf8, false);
                let entries = DataType::Struct(Fields::from(vec![key, value.field("value")]));
                let entries = Arc::new(Field::new("entries", entries, false));
                Field::new(name, DataType::Map(entries, false), false)
            }
            Self::Union(branches) => union_field(branches, name),
        }
    }

    /// The columns of a record.
    pub(super) fn columns(&self) -> Fields {
        match self {
            Self::Record(fields) => struct_fields(fields),
            other => Fields::from(vec![other.field("value")]),
        }
    }

    /// The fewest bytes that a value takes, to bound the counts that bytes claim.
    pub(super) fn bytes_min(&self) -> usize {
        match self {
            Self::Leaf(Wire::Null, _) => 0,
            Self::Leaf(Wire::Float, _) => 4,
            Self::Leaf(Wire::Double, _) => 8,
            Self::Leaf(Wire::Fixed(size), _) => *size,
            Self::Record(fields) => fields.iter().fold(0, |sum, (_, field)| field.bytes_min().saturating_add(sum)),
            _ => 1,
        }
    }

    /// Whether this is the type without values.
    pub(super) const fn is_null(&self) -> bool {
        matches!(self, Self::Leaf(Wire::Null, _))
    }
}

fn struct_fields(fields: &[(String, Avro)]) -> Fields {
    fields.iter().map(|(name, field)| field.field(name)).collect()
}

fn union_field(branches: &[(String, Avro)], name: &str) -> Field {
    let has_null = branches.iter().any(|(_, branch)| branch.is_null());
    let valued: Vec<&(String, Avro)> = branches.iter().filter(|(_, branch)| !branch.is_null()).collect();
    match valued.as_slice() {
        [] => Field::new(name, DataType::Null, true),
        [(_, only)] => {
            let field = only.field(name);
            let nullable = has_null || field.is_nullable();
            field.with_nullable(nullable)
        }
        several => {
            let members = several.iter().map(|(branch, value)| value.field(branch).with_nullable(true));
            Field::new(name, DataType::Struct(members.collect()), has_null)
        }
    }
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

fn full_name(name: &str, space: &str) -> String {
    if name.contains('.') || space.is_empty() { name.to_owned() } else { format!("{space}.{name}") }
}

fn branch_name(branch: &Value) -> &str {
    match branch {
        Value::String(name) => name,
        Value::Object(object) => match text(object, "type") {
            Some("record" | "error" | "enum" | "fixed") => text(object, "name").unwrap_or("record"),
            Some(kind) => kind,
            None => object.get("type").map_or("null", branch_name),
        },
        _ => "union",
    }
}

fn primitive(name: &str) -> Option<(Wire, DataType)> {
    Some(match name {
        "null" => (Wire::Null, DataType::Null),
        "boolean" => (Wire::Boolean, DataType::Boolean),
        "int" => (Wire::Int, DataType::Int32),
        "long" => (Wire::Long, DataType::Int64),
        "float" => (Wire::Float, DataType::Float32),
        "double" => (Wire::Double, DataType::Float64),
        "bytes" => (Wire::Bytes, DataType::Binary),
        "string" => (Wire::String, DataType::Utf8),
        _ => return None,
    })
}

/// The column of a logical type; `None` for one that is unknown or doesn't fit its base, which Avro tells readers to
/// ignore.
fn logical_type(object: &Map<String, Value>, wire: &Wire) -> Option<DataType> {
    let utc = || Some(Arc::from("+00:00"));
    match (text(object, "logicalType")?, wire) {
        ("date", Wire::Int) => Some(DataType::Date32),
        ("time-millis", Wire::Int) => Some(DataType::Time32(TimeUnit::Millisecond)),
        ("time-micros", Wire::Long) => Some(DataType::Time64(TimeUnit::Microsecond)),
        ("timestamp-millis", Wire::Long) => Some(DataType::Timestamp(TimeUnit::Millisecond, utc())),
        ("timestamp-micros", Wire::Long) => Some(DataType::Timestamp(TimeUnit::Microsecond, utc())),
        ("timestamp-nanos", Wire::Long) => Some(DataType::Timestamp(TimeUnit::Nanosecond, utc())),
        ("local-timestamp-millis", Wire::Long) => Some(DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("local-timestamp-micros", Wire::Long) => Some(DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("local-timestamp-nanos", Wire::Long) => Some(DataType::Timestamp(TimeUnit::Nanosecond, None)),
        ("duration", Wire::Fixed(12)) => Some(DataType::Interval(IntervalUnit::MonthDayNano)),
        ("decimal", Wire::Bytes | Wire::Fixed(_)) => {
            let number = |key| object.get(key).and_then(Value::as_u64).and_then(|number| u8::try_from(number).ok());
            let precision = number("precision").filter(|precision| *precision > 0)?;
            let scale = if object.contains_key("scale") { number("scale")? } else { 0 };
            let scale = i8::try_from(scale).ok().filter(|_| scale <= precision)?;
            match precision {
                ..=38 => Some(DataType::Decimal128(precision, scale)),
                39..=76 => Some(DataType::Decimal256(precision, scale)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The columns that hold both the stream's rows and the writer's, the stream's first.
///
/// New fields come nullable. A column becomes nullable, or its number wider, where the writer needs it. An error names
/// the field and both types.
pub(super) fn merge(stream: &Fields, writer: &Fields, within: &str) -> Result<Fields, String> {
    let path = |name: &str| if within.is_empty() { name.to_owned() } else { format!("{within}.{name}") };
    let mut merged = Vec::with_capacity(stream.len());
    for field in stream {
        match writer.iter().find(|other| other.name() == field.name()) {
            Some(other) => merged.push(Arc::new(merge_field(field, other, &path(field.name()))?)),
            None if field.is_nullable() => merged.push(Arc::clone(field)),
            None => {
                return Err(format!(
                    "the stream's column `{}` ({}, not nullable) is not in the writer's schema",
                    path(field.name()),
                    field.data_type()
                ));
            }
        }
    }
    for field in writer {
        if !stream.iter().any(|known| known.name() == field.name()) {
            merged.push(Arc::new(field.as_ref().clone().with_nullable(true)));
        }
    }
    Ok(merged.into())
}

fn merge_field(stream: &Field, writer: &Field, path: &str) -> Result<Field, String> {
    let kind = merge_type(stream.data_type(), writer.data_type(), path)?;
    let nullable = stream.is_nullable() || writer.is_nullable();
    Ok(stream.clone().with_data_type(kind).with_nullable(nullable))
}

fn merge_type(stream: &DataType, writer: &DataType, path: &str) -> Result<DataType, String> {
    use DataType::{Binary, Float32, Float64, Int32, Int64, List, Map, Null, Struct, Utf8};
    Ok(match (stream, writer) {
        (ours, theirs) if ours == theirs => ours.clone(),
        (Null, other) | (other, Null) => other.clone(),
        (Struct(ours), Struct(theirs)) => Struct(merge(ours, theirs, path)?),
        (List(ours), List(theirs)) => List(Arc::new(merge_field(ours, theirs, &format!("{path}[]"))?)),
        (Map(ours, sorted), Map(theirs, _)) => Map(Arc::new(merge_field(ours, theirs, &format!("{path}[]"))?), *sorted),
        (Int64, Int32) | (Int32, Int64) => Int64,
        (Float32, Int32 | Int64) => Float32,
        (Float64, Int32 | Int64 | Float32) | (Float32 | Int32, Float64) => Float64,
        (Utf8, Binary) => Utf8,
        (Binary, Utf8) => Binary,
        _ => return Err(format!("the field `{path}` is {writer} in the writer's schema and {stream} in the stream's")),
    })
}
