//! Columns of made-up values, each described by a small expression.

use std::fmt::{Formatter, Result as Formatted};

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use document::{Duration, Problem};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::Moment;

/// The longest text, in bytes.
const TEXT_BYTES_MAX: u32 = 1 << 20;
/// The longest list, in items.
const LIST_ITEMS_MAX: u32 = 10_000;

/// Columns by name, in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns(pub Vec<(String, Expression)>);

/// How the values of a column are made. A row's values depend only on the seed, the column's name and the row's
/// number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Expression {
    /// The row's number times `step`, from `start` on: `{sequence: {start: 1}}`. 64-bit integers.
    Sequence(Sequence),
    /// Whole numbers, each as likely: `{int: {min: 1, max: 6}}`. 64-bit integers.
    Int(IntRange),
    /// Numbers, each as likely: `{float: {min: 0, max: 1}}`. 64-bit floating point.
    Float(FloatRange),
    /// True or false: `{bool: {probability: 0.1}}`.
    Bool(Chance),
    /// One of a list, each as likely; write one twice to make it twice as likely: `{choice: [Google, Apple]}`. All
    /// must be of one type: strings, numbers or booleans.
    Choice(Vec<Value>),
    /// Random letters and digits: `{text: {prefix: "https://example.org/", length: 10}}`.
    Text(Text),
    /// A moment that grows with the row's number: `{timestamp: {start: "2026-01-01T00:00:00Z", step: 1s}}`.
    /// Microseconds, UTC.
    Timestamp(Times),
    /// Always the same string, number or boolean: `{constant: 7}`.
    Constant(Value),
    /// Columns within a column: `{struct: {x: {int: {}}, y: {int: {}}}}`.
    Struct(Columns),
    /// A list of values: `{list: {of: {int: {}}, min: 0, max: 5}}`. Inside, item `i` of row `n` counts as row
    /// `n * max + i`.
    List(Box<List>),
    /// Missing now and then: `{optional: {of: {int: {}}, probability: 0.9}}`.
    Optional(Box<Optional>),
}

/// A number that grows with the row's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Sequence {
    /// The value of the first row. Default 0.
    pub start: i64,
    /// What each row adds. Default 1.
    pub step: i64,
}

impl Default for Sequence {
    fn default() -> Self {
        Self { start: 0, step: 1 }
    }
}

/// A range of whole numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct IntRange {
    /// The smallest. Default 0.
    pub min: i64,
    /// The largest. Default 999999.
    pub max: i64,
}

impl Default for IntRange {
    fn default() -> Self {
        Self { min: 0, max: 999_999 }
    }
}

/// A range of numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FloatRange {
    /// The smallest. Default 0.
    pub min: f64,
    /// What all are below. Default 1.
    pub max: f64,
}

impl Default for FloatRange {
    fn default() -> Self {
        Self { min: 0.0, max: 1.0 }
    }
}

/// How likely something is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Chance {
    /// From 0, never, to 1, always. Default 0.5.
    pub probability: f64,
}

impl Default for Chance {
    fn default() -> Self {
        Self { probability: 0.5 }
    }
}

/// Random text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Text {
    /// What stands before the random letters. Default empty.
    pub prefix: String,
    /// How many random letters, at most 1 MiB. Default 16.
    pub length: u32,
    /// Where set, the number of letters is drawn for each row, from this one to `length`.
    pub length_min: Option<u32>,
}

impl Default for Text {
    fn default() -> Self {
        Self { prefix: String::new(), length: 16, length_min: None }
    }
}

/// Moments at even distances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Times {
    /// The moment of the first row, as RFC 3339. Default `2026-01-01T00:00:00Z`.
    pub start: Moment,
    /// The time from a row to the next. Default `1ms`.
    pub step: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { start: Moment::from_micros(1_767_225_600_000_000), step: Duration::from_millis(1) }
    }
}

/// A list of drawn length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct List {
    /// How each item is made.
    pub of: Expression,
    /// The fewest items. Default 0.
    #[serde(default)]
    pub min: u32,
    /// The most items, at most 10000.
    pub max: u32,
}

/// A value that may be missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Optional {
    /// How the value is made.
    pub of: Expression,
    /// How likely there is a value, from 0 to 1.
    pub probability: f64,
}

impl Columns {
    /// What is wrong with these columns, which stand at `path` in the document.
    pub(super) fn problems(&self, path: &str, problems: &mut Vec<Problem>) {
        if self.0.is_empty() {
            problems.push(Problem::at(path).found("no column").expected("at least one column"));
        }
        for (name, expression) in &self.0 {
            expression.problems(&format!("{path}.{name}"), problems);
        }
    }

    /// The types of the columns.
    pub(super) fn fields(&self) -> Fields {
        self.0.iter().map(|(name, expression)| expression.field(name)).collect()
    }
}

impl Expression {
    fn problems(&self, path: &str, problems: &mut Vec<Problem>) {
        let mut wrong = |field: &str, found: String, expected: &str| {
            problems.push(Problem::at(format!("{path}.{field}")).found(found).expected(expected));
        };
        match self {
            Self::Int(range) if range.min > range.max => {
                wrong("int", format!("min {} above max {}", range.min, range.max), "min at most max");
            }
            Self::Float(range) if !(range.min <= range.max && (range.max - range.min).is_finite()) => {
                wrong("float", format!("min {}, max {}", range.min, range.max), "finite numbers, min at most max");
            }
            Self::Bool(Chance { probability }) if !(0.0..=1.0).contains(probability) => {
                wrong("bool.probability", probability.to_string(), "a number from 0 to 1");
            }
            Self::Choice(values) if one_type(values).is_none() => {
                wrong("choice", format!("{values:?}"), "values of one type: strings, numbers or booleans");
            }
            Self::Constant(value) if one_type(std::slice::from_ref(value)).is_none() => {
                wrong("constant", value.to_string(), "a string, a number or a boolean");
            }
            Self::Text(text) if text.length > TEXT_BYTES_MAX => {
                wrong("text.length", text.length.to_string(), "at most 1048576");
            }
            Self::Text(Text { length, length_min: Some(min), .. }) if min > length => {
                wrong("text.lengthMin", min.to_string(), "at most length");
            }
            Self::Struct(columns) => columns.problems(&format!("{path}.struct"), problems),
            Self::List(list) => {
                if list.min > list.max || list.max > LIST_ITEMS_MAX {
                    wrong("list", format!("min {}, max {}", list.min, list.max), "min at most max, max at most 10000");
                }
                list.of.problems(&format!("{path}.list.of"), problems);
            }
            Self::Optional(optional) => {
                if !(0.0..=1.0).contains(&optional.probability) {
                    wrong("optional.probability", optional.probability.to_string(), "a number from 0 to 1");
                }
                optional.of.problems(&format!("{path}.optional.of"), problems);
            }
            _ => {}
        }
    }

    fn field(&self, name: &str) -> Field {
        let kind = match self {
            Self::Sequence(_) | Self::Int(_) => DataType::Int64,
            Self::Float(_) => DataType::Float64,
            Self::Bool(_) => DataType::Boolean,
            Self::Choice(values) => one_type(values).unwrap_or(DataType::Utf8),
            Self::Constant(value) => one_type(std::slice::from_ref(value)).unwrap_or(DataType::Utf8),
            Self::Text(_) => DataType::Utf8,
            Self::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Struct(columns) => DataType::Struct(columns.fields()),
            Self::List(list) => DataType::List(list.of.field("item").into()),
            Self::Optional(optional) => return optional.of.field(name).with_nullable(true),
        };
        Field::new(name, kind, false)
    }
}

/// The type that holds all of `values`.
fn one_type(values: &[Value]) -> Option<DataType> {
    let all = |test: fn(&Value) -> bool| !values.is_empty() && values.iter().all(test);
    if all(Value::is_string) {
        Some(DataType::Utf8)
    } else if all(Value::is_boolean) {
        Some(DataType::Boolean)
    } else if all(Value::is_i64) {
        Some(DataType::Int64)
    } else if all(Value::is_number) {
        Some(DataType::Float64)
    } else {
        None
    }
}

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, expression)| (name, expression)))
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Named)
    }
}

/// Reads a map in its order.
struct Named;

impl<'de> Visitor<'de> for Named {
    type Value = Columns;

    fn expecting(&self, f: &mut Formatter<'_>) -> Formatted {
        f.write_str("columns by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
        let mut columns: Vec<(String, Expression)> = Vec::new();
        while let Some((name, expression)) = map.next_entry()? {
            if columns.iter().any(|(other, _)| *other == name) {
                return Err(A::Error::custom(format!("column `{name}` is named twice")));
            }
            columns.push((name, expression));
        }
        Ok(Columns(columns))
    }
}

impl JsonSchema for Columns {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GeneratedColumns".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let expression = generator.subschema_for::<Expression>();
        schemars::json_schema!({"type": "object", "additionalProperties": expression})
    }
}
