//! The schema that values seem to have.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use document::Problem;

use crate::format::schema::timestamp;

/// What the values of one place were so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Guess {
    /// Nothing but null.
    #[default]
    Null,
    /// True or false.
    Bool,
    /// Whole numbers.
    Int {
        /// Some are negative.
        negative: bool,
        /// Some are past what a signed number holds.
        large: bool,
    },
    /// Numbers.
    Float,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// Moments.
    Timestamp,
    /// Lists of such items.
    List(Box<Guess>),
    /// Objects with such fields, in the order of their first appearance.
    Struct(Vec<(String, Guess)>),
}

impl Guess {
    /// Makes the guess hold `other` too, or says at which path the two don't go together, and what they are.
    pub(crate) fn merge(&mut self, other: Self) -> Result<(), (String, String)> {
        match (&mut *self, other) {
            (_, Self::Null) | (Self::Float, Self::Int { .. }) => {}
            (Self::Null, other) => *self = other,
            (Self::Int { .. }, Self::Float) => *self = Self::Float,
            (Self::Int { negative, large }, Self::Int { negative: more_negative, large: more_large }) => {
                *negative |= more_negative;
                *large |= more_large;
                if *negative && *large {
                    return Err((String::new(), "negative whole numbers and some past 2^63".into()));
                }
            }
            (Self::List(item), Self::List(other)) => {
                item.merge(*other).map_err(|(path, what)| (format!("[]{path}"), what))?;
            }
            (Self::Struct(fields), Self::Struct(others)) => {
                for (name, other) in others {
                    field(fields, &name).merge(other).map_err(|(path, what)| (format!(".{name}{path}"), what))?;
                }
            }
            (own, other) if *own == other => {}
            (own, other) => return Err((String::new(), format!("{} and {}", own.name(), other.name()))),
        }
        Ok(())
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Int { .. } | Self::Float => "numbers",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Timestamp => "timestamps",
            Self::List(_) => "lists",
            Self::Struct(_) => "objects",
        }
    }

    /// The type, or `None` for objects that never had a field.
    fn data_type(&self) -> Option<DataType> {
        Some(match self {
            Self::Null | Self::Text => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Int { large: true, .. } => DataType::UInt64,
            Self::Int { .. } => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Bytes => DataType::Binary,
            Self::Timestamp => timestamp(),
            Self::List(item) => DataType::List(Arc::new(Field::new_list_field(item.data_type()?, true))),
            Self::Struct(fields) => {
                let fields = to_fields(fields);
                (!fields.is_empty()).then_some(DataType::Struct(fields))?
            }
        })
    }
}

fn field<'a>(fields: &'a mut Vec<(String, Guess)>, name: &str) -> &'a mut Guess {
    let at = fields.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
        fields.push((name.to_owned(), Guess::Null));
        fields.len() - 1
    });
    &mut fields[at].1
}

fn to_fields(fields: &[(String, Guess)]) -> Fields {
    fields.iter().filter_map(|(name, guess)| Some(Field::new(name, guess.data_type()?, true))).collect()
}

/// The schema of the first rows. Rows that no guess can be made of are passed over: decoding puts them aside.
pub(crate) fn schema(rows: impl Iterator<Item = Guess>) -> Result<SchemaRef, Problem> {
    let mut all = Guess::Struct(Vec::new());
    for row in rows.filter(|row| matches!(row, Guess::Struct(_))) {
        all.merge(row).map_err(|(path, what)| {
            Problem::at("schema")
                .found(format!("`{}` holds {what} in the first rows", path.trim_start_matches('.')))
                .expected("one type for each column")
                .hint("write the schema down, as in schema: {columns: {id: int64}}; rows that differ are put aside")
        })?;
    }
    match all {
        Guess::Struct(fields) if !to_fields(&fields).is_empty() => Ok(Arc::new(Schema::new(to_fields(&fields)))),
        _ => Err(Problem::at("schema")
            .found("no row to infer a schema from")
            .expected("an object with at least one field among the first rows")
            .hint("write the schema down, as in schema: {columns: {id: int64}}")),
    }
}
