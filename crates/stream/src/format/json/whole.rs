//! Numbers with a fraction in columns of whole numbers: Arrow would cut the fraction off without a word.

use std::collections::HashSet;

use arrow::datatypes::{DataType, Fields, Schema};
use memchr::memchr2_iter;
use serde_json::Value;

/// Finds rows whose whole numbers are not whole.
///
/// A look at the bytes around each decimal point tells whether it can belong to such a column; only then is the row
/// parsed.
#[derive(Debug)]
pub(super) struct Whole {
    fields: Fields,
    /// The names of columns and fields of whole numbers, anywhere in the schema.
    names: HashSet<String>,
    /// Whether there are lists of whole numbers.
    lists: bool,
}

impl Whole {
    pub(super) fn new(schema: &Schema) -> Self {
        let mut whole = Self { fields: schema.fields().clone(), names: HashSet::new(), lists: false };
        whole.note(schema.fields());
        whole
    }

    fn note(&mut self, fields: &Fields) {
        for field in fields {
            if field.data_type().is_integer() {
                self.names.insert(field.name().clone());
            }
            let (mut inner, mut in_list) = (field.data_type(), false);
            while let DataType::List(item) | DataType::LargeList(item) = inner {
                (inner, in_list) = (item.data_type(), true);
            }
            self.lists |= in_list && inner.is_integer();
            if let DataType::Struct(fields) = inner {
                self.note(fields);
            }
        }
    }

    /// What is wrong with a row that Arrow takes, if it is.
    pub(super) fn check(&self, text: &[u8]) -> Result<(), String> {
        if self.names.is_empty() && !self.lists {
            return Ok(());
        }
        if !memchr2_iter(b'.', b'-', text).any(|at| self.is_suspect(text, at)) {
            return Ok(());
        }
        let row: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        check_fields(&row, &self.fields)
    }

    /// Whether the point, or the minus of an exponent, at `at` stands in a whole column's value.
    fn is_suspect(&self, text: &[u8], at: usize) -> bool {
        let before = match (text[at], text[..at].split_last()) {
            (b'.', _) => &text[..at],
            (_, Some((b'e' | b'E', before))) => before,
            _ => return false,
        };
        let number = before.iter().rposition(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'.'));
        let Some(before) = number.filter(|at| at + 1 < before.len()).map(|at| before[..=at].trim_ascii_end()) else {
            return false;
        };
        match before.split_last() {
            Some((b'[' | b',', _)) => self.lists,
            Some((b':', key)) => self.is_whole_name(key.trim_ascii_end()),
            _ => false,
        }
    }

    fn is_whole_name(&self, key: &[u8]) -> bool {
        let Some((b'"', key)) = key.split_last() else { return false };
        let name = key.rsplit(|byte| *byte == b'"').next().unwrap_or_default();
        // A name with escapes is not compared but parsed.
        name.contains(&b'\\')
            || key.ends_with(b"\\")
            || std::str::from_utf8(name).is_ok_and(|name| self.names.contains(name))
    }
}

fn check_fields(value: &Value, fields: &Fields) -> Result<(), String> {
    let named = fields.iter().filter_map(|field| value.get(field.name()).map(|value| (field, value)));
    for (field, value) in named {
        check(value, field.data_type()).map_err(|why| format!("whilst decoding field '{}': {why}", field.name()))?;
    }
    Ok(())
}

fn check(value: &Value, data_type: &DataType) -> Result<(), String> {
    match (data_type, value) {
        (DataType::Struct(fields), value) => check_fields(value, fields),
        (DataType::List(item) | DataType::LargeList(item), Value::Array(values)) => {
            values.iter().try_for_each(|value| check(value, item.data_type()))
        }
        (data_type, Value::Number(number)) if data_type.is_integer() => match number.as_f64() {
            Some(value) if value.fract() != 0.0 => Err(format!("expected a whole number, found {number}")),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}
