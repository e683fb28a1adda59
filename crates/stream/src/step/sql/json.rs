//! Functions on JSON in text.
//!
//! Each takes the text and the way to a value: names of members, and numbers of elements (from 0; negative ones count
//! from the end). What isn't there, has another type, or stands in text that is no JSON, is null.
//!
//! | function | gives |
//! |---|---|
//! | `json_get(text, path..)` | the value as JSON text |
//! | `json_get_str(text, path..)` | a string, without quotes |
//! | `json_get_int(text, path..)` | a whole number that fits 64 bits |
//! | `json_get_float(text, path..)` | a number |
//! | `json_get_bool(text, path..)` | true or false |
//! | `json_length(text, path..)` | how many elements an array, or members an object has |
//! | `json_valid(text)` | whether the text is JSON |

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::functions::{arrays, value};

/// The functions of this file.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    let kinds = [Kind::Get, Kind::Str, Kind::Int, Kind::Float, Kind::Bool, Kind::Length, Kind::Valid];
    kinds.into_iter().map(|kind| Arc::new(ScalarUDF::new_from_impl(Json::new(kind)))).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Get,
    Str,
    Int,
    Float,
    Bool,
    Length,
    Valid,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Json {
    kind: Kind,
    signature: Signature,
}

impl Json {
    fn new(kind: Kind) -> Self {
        Self { kind, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Json {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Get => "json_get",
            Kind::Str => "json_get_str",
            Kind::Int => "json_get_int",
            Kind::Float => "json_get_float",
            Kind::Bool => "json_get_bool",
            Kind::Length => "json_length",
            Kind::Valid => "json_valid",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name();
        let Some((text, path)) = types.split_first() else { return plan_err!("{name} takes a text and a path") };
        if !(text.is_string() || text.is_null()) {
            return plan_err!("{name} takes JSON in text, found {text}");
        }
        if self.kind == Kind::Valid && !path.is_empty() {
            return plan_err!("{name} takes one text");
        }
        let part = |part: &DataType| match part {
            part if part.is_string() => Ok(DataType::Utf8),
            part if part.is_integer() => Ok(DataType::Int64),
            other => plan_err!("{name} takes names and numbers of elements as its path, found {other}"),
        };
        std::iter::once(Ok(DataType::Utf8)).chain(path.iter().map(part)).collect()
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Get | Kind::Str => DataType::Utf8,
            Kind::Int | Kind::Length => DataType::Int64,
            Kind::Float => DataType::Float64,
            Kind::Bool | Kind::Valid => DataType::Boolean,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = arrays(&arguments)?;
        let Some((texts, paths)) = arrays.split_first() else { return exec_err!("{} takes a text", self.name()) };
        let texts = cast(texts, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        let mut path = Vec::with_capacity(paths.len());
        let found = (0..texts.len()).map(|row| {
            let text = texts.is_valid(row).then(|| texts.value(row))?;
            path.clear();
            for part in paths {
                path.push(Part::at(part, row)?);
            }
            get(text, &path)
        });
        let out: ArrayRef = match self.kind {
            Kind::Get => Arc::new(found.map(|found| Some(found?.to_string())).collect::<StringArray>()),
            Kind::Str => Arc::new(found.map(|found| Some(found?.as_str()?.to_owned())).collect::<StringArray>()),
            Kind::Int => Arc::new(found.map(|found| found?.as_i64()).collect::<Int64Array>()),
            Kind::Float => Arc::new(found.map(|found| found?.as_f64()).collect::<Float64Array>()),
            Kind::Bool => Arc::new(found.map(|found| found?.as_bool()).collect::<BooleanArray>()),
            Kind::Length => Arc::new(found.map(|found| length(&found?)).collect::<Int64Array>()),
            Kind::Valid => {
                let valid = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
                Arc::new(texts.iter().map(|text| text.map(valid)).collect::<BooleanArray>())
            }
        };
        value(out, &arguments)
    }
}

fn length(value: &Value) -> Option<i64> {
    match value {
        Value::Array(elements) => i64::try_from(elements.len()).ok(),
        Value::Object(members) => i64::try_from(members.len()).ok(),
        _ => None,
    }
}

/// The value at the end of a path. Everything beside the path is read over, not kept.
fn get(text: &str, path: &[Part]) -> Option<Value> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Walk(path).deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    value
}

#[derive(Clone, Copy)]
enum Part<'a> {
    Member(&'a str),
    Element(i64),
}

impl<'a> Part<'a> {
    fn at(array: &'a ArrayRef, row: usize) -> Option<Self> {
        if array.is_null(row) {
            return None;
        }
        Some(match array.as_string_opt::<i32>() {
            Some(names) => Self::Member(names.value(row)),
            None => Self::Element(array.as_primitive_opt::<Int64Type>()?.value(row)),
        })
    }
}

#[derive(Clone, Copy)]
struct Walk<'a>(&'a [Part<'a>]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            return serde::Deserialize::deserialize(deserializer).map(Some);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(wanted) = map.next_key_seed(IsMember(self.0[0]))? {
            if wanted {
                found = map.next_value_seed(Walk(&self.0[1..]))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        match self.0[0] {
            Part::Element(wanted @ 0..) => {
                let mut found = None;
                let mut at = 0;
                while at < wanted && seq.next_element::<IgnoredAny>()?.is_some() {
                    at += 1;
                }
                if at == wanted {
                    found = seq.next_element_seed(Walk(&self.0[1..]))?.flatten();
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(found)
            }
            Part::Element(wanted) => {
                let mut all = Vec::new();
                while let Some(found) = seq.next_element_seed(Walk(&self.0[1..]))? {
                    all.push(found);
                }
                let back = usize::try_from(wanted.unsigned_abs()).unwrap_or(usize::MAX);
                Ok(all.len().checked_sub(back).and_then(|place| all.swap_remove(place)))
            }
            Part::Member(_) => {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(None)
            }
        }
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether the name of a member is the wanted one.
struct IsMember<'a>(Part<'a>);

impl<'de> DeserializeSeed<'de> for IsMember<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsMember<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(matches!(self.0, Part::Member(wanted) if wanted == name))
    }
}
