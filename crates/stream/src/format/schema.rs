//! Schemas as people write and read them: `{id: int64, tags: [string], pos: {ra: float64}}`.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use document::Problem;
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Columns with their types, in order.
///
/// Types are `bool`, `int8` to `int64`, `uint8` to `uint64`, `float32`, `float64`, `string`, `bytes`, `date`, `timestamp`
/// (microseconds, UTC) and `decimal(precision, scale)`; `[type]` is a list and `{name: type}` a struct. Every column may
/// be null. Example: `{id: int64, tags: [string], pos: {ra: float64, dec: float64}}`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns(pub Vec<(String, TypeSpec)>);

/// The type of a column, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TypeSpec {
    /// The name of a type without parts.
    Name(String),
    /// A list: one type in brackets.
    List(Vec<Self>),
    /// A struct: names with types.
    Struct(Columns),
}

/// Where the names and types of the columns come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SchemaSpec {
    /// From the first 1,000 rows; `plan` prints what was found. Write the schema down where early rows lack columns
    /// that later ones have, or where a column must keep its type whatever the rows hold.
    #[default]
    Infer,
    /// From a JSON file that holds such a map of columns; a relative path starts from the folder `headwater` runs in.
    File(PathBuf),
    /// Written here.
    Columns(Columns),
}

/// The rows that a schema is inferred from.
pub const INFERRED_ROWS_MAX: usize = 1_000;

/// The time zone of our timestamps.
const UTC: &str = "+00:00";

/// The words for types without parts.
const NAMES: [(&str, DataType); 15] = [
    ("bool", DataType::Boolean),
    ("int8", DataType::Int8),
    ("int16", DataType::Int16),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("uint8", DataType::UInt8),
    ("uint16", DataType::UInt16),
    ("uint32", DataType::UInt32),
    ("uint64", DataType::UInt64),
    ("float32", DataType::Float32),
    ("float64", DataType::Float64),
    ("string", DataType::Utf8),
    ("bytes", DataType::Binary),
    ("date", DataType::Date32),
    ("null", DataType::Null),
];

impl SchemaSpec {
    /// What is wrong with it, as far as that can be told without reading files.
    pub(crate) fn problems(&self, path: &str) -> Vec<Problem> {
        match self {
            Self::Columns(columns) => columns.fields(&format!("{path}.columns")).err().unwrap_or_default(),
            Self::Infer | Self::File(_) => Vec::new(),
        }
    }

    /// The schema that is written down, or `None` where it is to be inferred. Problems name paths from `schema` on.
    pub(crate) fn given(&self, folder: &Path) -> Result<Option<SchemaRef>, Problem> {
        let (columns, path) = match self {
            Self::Infer => return Ok(None),
            Self::Columns(columns) => (Cow::Borrowed(columns), "schema.columns"),
            Self::File(file) => (Cow::Owned(read(&folder.join(file))?), "schema.file"),
        };
        let fields = columns.fields(path).map_err(|mut problems| problems.swap_remove(0))?;
        Ok(Some(Arc::new(Schema::new(fields))))
    }
}

fn read(file: &Path) -> Result<Columns, Problem> {
    let problem = |found: String| {
        Problem::at("schema.file")
            .found(format!("{}: {found}", file.display()))
            .expected("a JSON file with a map of columns, such as {\"id\": \"int64\", \"tags\": [\"string\"]}")
    };
    let text = std::fs::read_to_string(file).map_err(|error| problem(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| problem(error.to_string()))
}

impl Columns {
    /// As Arrow's fields, all nullable; or all problems.
    pub(crate) fn fields(&self, path: &str) -> Result<Fields, Vec<Problem>> {
        let (mut fields, mut problems) = (Vec::<FieldRef>::new(), Vec::new());
        if self.0.is_empty() {
            problems.push(Problem::at(path).found("no columns").expected("at least one column with its type"));
        }
        for (name, written) in &self.0 {
            let path = format!("{path}.{name}");
            if fields.iter().any(|field| field.name() == name) {
                problems.push(Problem::at(&path).found("the name twice").expected("each name once"));
            }
            match written.data_type(&path) {
                Ok(data_type) => fields.push(Arc::new(Field::new(name, data_type, true))),
                Err(more) => problems.extend(more),
            }
        }
        if problems.is_empty() { Ok(fields.into()) } else { Err(problems) }
    }
}

impl TypeSpec {
    fn data_type(&self, path: &str) -> Result<DataType, Vec<Problem>> {
        match self {
            Self::Name(name) => named(name).ok_or_else(|| vec![unknown(name, path)]),
            Self::List(items) => match &items[..] {
                [item] => Ok(DataType::List(Arc::new(Field::new_list_field(item.data_type(path)?, true)))),
                _ => Err(vec![
                    Problem::at(path)
                        .found(format!("{} types in brackets", items.len()))
                        .expected("one, as in [string]"),
                ]),
            },
            Self::Struct(columns) => columns.fields(path).map(DataType::Struct),
        }
    }
}

fn unknown(name: &str, path: &str) -> Problem {
    Problem::at(path).found(format!("`{name}`")).expected(
        "a type: bool, int8 to int64, uint8 to uint64, float32, float64, string, bytes, date, timestamp, \
         decimal(precision, scale), [type] or {name: type}",
    )
}

fn named(name: &str) -> Option<DataType> {
    if name == "timestamp" {
        return Some(timestamp());
    }
    if let Some(parts) = name.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')')) {
        return decimal(parts);
    }
    NAMES.iter().find(|(known, _)| *known == name && name != "null").map(|(_, data_type)| data_type.clone())
}

fn decimal(parts: &str) -> Option<DataType> {
    let (precision, scale) = parts.split_once(',')?;
    let (precision, scale) = (precision.trim().parse::<u8>().ok()?, scale.trim().parse::<i8>().ok()?);
    let fits = (0..=i16::from(precision)).contains(&i16::from(scale));
    match precision {
        1..=38 if fits => Some(DataType::Decimal128(precision, scale)),
        39..=76 if fits => Some(DataType::Decimal256(precision, scale)),
        _ => None,
    }
}

/// The type of our timestamps.
pub(crate) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
}

/// A schema in the notation of [`Columns`].
pub fn describe(schema: &Schema) -> String {
    describe_fields(schema.fields())
}

/// A type in the notation of [`Columns`]; types that can't be written down there get words in the same manner.
pub fn describe_type(data_type: &DataType) -> String {
    use DataType as T;
    match data_type {
        T::LargeUtf8 | T::Utf8View => "string".into(),
        T::LargeBinary | T::BinaryView => "bytes".into(),
        T::FixedSizeBinary(length) => format!("bytes({length})"),
        T::Decimal32(precision, scale)
        | T::Decimal64(precision, scale)
        | T::Decimal128(precision, scale)
        | T::Decimal256(precision, scale) => format!("decimal({precision},{scale})"),
        T::Timestamp(TimeUnit::Microsecond, Some(zone)) if matches!(zone.as_ref(), UTC | "UTC") => "timestamp".into(),
        T::Timestamp(unit, Some(zone)) => format!("timestamp({unit}, {zone})"),
        T::Timestamp(unit, None) => format!("timestamp({unit}, no zone)"),
        T::List(item) | T::LargeList(item) | T::ListView(item) | T::LargeListView(item) | T::FixedSizeList(item, _) => {
            format!("[{}]", describe_type(item.data_type()))
        }
        T::Struct(fields) => describe_fields(fields),
        T::Map(entries, _) => match entries.data_type() {
            T::Struct(fields) => {
                let parts: Vec<_> = fields.iter().map(|field| describe_type(field.data_type())).collect();
                format!("map({})", parts.join(", "))
            }
            other => describe_type(other),
        },
        T::Dictionary(_, value) => describe_type(value),
        T::Union(fields, _) => {
            let parts: Vec<_> = fields.iter().map(|(_, field)| describe_field(field)).collect();
            format!("union({})", parts.join(", "))
        }
        other => NAMES
            .iter()
            .find(|(_, known)| known == other)
            .map_or_else(|| other.to_string().to_lowercase(), |(name, _)| (*name).into()),
    }
}

fn describe_fields(fields: &Fields) -> String {
    let parts: Vec<_> = fields.iter().map(|field| describe_field(field)).collect();
    format!("{{{}}}", parts.join(", "))
}

fn describe_field(field: &Field) -> String {
    format!("{}: {}", field.name(), describe_type(field.data_type()))
}

/// A problem for each column, however deep, whose type `format` can't hold.
pub(crate) fn refused(
    schema: &Schema,
    path: &str,
    format: &str,
    hint: &str,
    takes: &dyn Fn(&DataType) -> bool,
) -> Vec<Problem> {
    let mut found = Vec::new();
    for field in schema.fields() {
        walk(field, field.name(), takes, &mut found);
    }
    let problem = |(column, data_type): (String, String)| {
        Problem::at(path)
            .found(format!("column `{column}` of type {data_type}"))
            .expected(format!("types that {format} can hold"))
            .hint(hint)
    };
    found.into_iter().map(problem).collect()
}

fn walk(field: &Field, path: &str, takes: &dyn Fn(&DataType) -> bool, found: &mut Vec<(String, String)>) {
    use DataType as T;
    if !takes(field.data_type()) {
        found.push((path.to_owned(), describe_type(field.data_type())));
        return;
    }
    match field.data_type() {
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) | T::ListView(item) | T::LargeListView(item) => {
            walk(item, path, takes, found);
        }
        T::Struct(fields) => {
            for field in fields {
                walk(field, &format!("{path}.{}", field.name()), takes, found);
            }
        }
        T::Map(entries, _) => walk(entries, path, takes, found),
        _ => {}
    }
}

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, written) in &self.0 {
            map.serialize_entry(name, written)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

/// Reads a map without losing its order.
struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Columns;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of column names to types, such as {id: int64}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
        let mut columns = Vec::new();
        while let Some(entry) = map.next_entry()? {
            columns.push(entry);
        }
        Ok(Columns(columns))
    }
}

impl JsonSchema for Columns {
    fn schema_name() -> Cow<'static, str> {
        "Columns".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        let written = generator.subschema_for::<TypeSpec>();
        json_schema!({
            "description": "Columns with their types, in order, such as {id: int64, tags: [string], pos: {ra: float64}}.",
            "type": "object",
            "additionalProperties": written,
            "minProperties": 1
        })
    }
}

impl JsonSchema for TypeSpec {
    fn schema_name() -> Cow<'static, str> {
        "ColumnType".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        let item = generator.subschema_for::<Self>();
        let columns = generator.subschema_for::<Columns>();
        json_schema!({
            "description": "A type's name, a list as [type], or a struct as {name: type}.",
            "anyOf": [
                {
                    "type": "string",
                    "pattern": "^(bool|u?int(8|16|32|64)|float(32|64)|string|bytes|date|timestamp|decimal\\([0-9]+, ?[0-9]+\\))$"
                },
                {"type": "array", "items": item, "minItems": 1, "maxItems": 1},
                columns
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = r#"{"columns": {"id": "int64", "price": "decimal(10,2)", "at": "timestamp", "day": "date",
        "tags": ["string"], "pos": {"ra": "float64", "path": [{"x": "uint8"}]}, "raw": "bytes"}}"#;

    #[test]
    fn what_is_written_is_what_is_described() {
        let spec: SchemaSpec = serde_json::from_str(ALL).unwrap();
        assert!(spec.problems("schema").is_empty());
        let schema = spec.given(Path::new(".")).unwrap().unwrap();
        assert_eq!(
            describe(&schema),
            "{id: int64, price: decimal(10,2), at: timestamp, day: date, tags: [string], \
             pos: {ra: float64, path: [{x: uint8}]}, raw: bytes}"
        );
        assert_eq!(serde_json::from_str::<SchemaSpec>(&serde_json::to_string(&spec).unwrap()).unwrap(), spec);
        assert_eq!(serde_json::from_str::<SchemaSpec>("\"infer\"").unwrap(), SchemaSpec::Infer);
    }

    #[test]
    fn every_problem_is_named_with_its_path() {
        let text = r#"{"columns": {"a": "integer", "b": {"c": ["int8", "int8"]}, "d": "decimal(2,3)", "e": {}}}"#;
        let spec: SchemaSpec = serde_json::from_str(text).unwrap();
        let paths: Vec<_> = spec.problems("schema").into_iter().map(|problem| problem.path.clone()).collect();
        assert_eq!(paths, ["schema.columns.a", "schema.columns.b.c", "schema.columns.d", "schema.columns.e"]);
    }

    #[test]
    fn editors_know_the_shape() {
        let schema = serde_json::to_value(schemars::schema_for!(SchemaSpec)).unwrap();
        assert!(schema["$defs"]["ColumnType"]["anyOf"][1]["items"]["$ref"].is_string(), "{schema:#}");
    }

    #[test]
    fn a_schema_may_stand_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("s.json"), r#"{"z": "int8", "a": "string"}"#).unwrap();
        let spec: SchemaSpec = serde_json::from_str(r#"{"file": "s.json"}"#).unwrap();
        assert_eq!(describe(&spec.given(folder.path()).unwrap().unwrap()), "{z: int8, a: string}");
        let absent: SchemaSpec = serde_json::from_str(r#"{"file": "t.json"}"#).unwrap();
        assert!(absent.given(folder.path()).unwrap_err().found.contains("t.json"));
    }
}
