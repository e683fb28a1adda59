//! Values of MessagePack: how long they are, what they are, and how columns become them.

use std::io::Cursor;

use arrow::array::{Array, ArrayRef, ListArray, RecordBatch, StructArray, cast::AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
    UInt64Type,
};
use arrow::error::ArrowError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use rmpv::ValueRef;
use rmpv::decode::read_value_ref_with_max_depth;
use rmpv::encode::write_value_ref;
use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use crate::format::guess::Guess;

/// How deep maps and lists may nest.
const DEPTH_MAX: usize = 100;

/// The extension type of timestamps.
const TIMESTAMP: i8 = -1;

/// The length of the value that `bytes` begin with, or `None` if it is not whole. Counts what is still to come instead
/// of calling itself, so that no nesting is too deep.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, String> {
    let (mut at, mut values) = (0_usize, 1_u64);
    while values > 0 {
        let Some(marker) = bytes.get(at) else { return Ok(None) };
        at += 1;
        let (size_bytes, head, inside) = match marker {
            0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => (0, 0, 0),
            0x80..=0x8f => (0, 0, 2 * u64::from(marker & 0x0f)),
            0x90..=0x9f => (0, 0, u64::from(marker & 0x0f)),
            0xa0..=0xbf => (0, usize::from(marker & 0x1f), 0),
            0xc4 | 0xd9 => (1, 0, 0),
            0xc5 | 0xda | 0xdc | 0xde => (2, 0, 0),
            0xc6 | 0xdb | 0xdd | 0xdf => (4, 0, 0),
            0xc7 => (1, 1, 0),
            0xc8 => (2, 1, 0),
            0xc9 => (4, 1, 0),
            0xcc | 0xd0 => (0, 1, 0),
            0xcd | 0xd1 => (0, 2, 0),
            0xca | 0xce | 0xd2 => (0, 4, 0),
            0xcb | 0xcf | 0xd3 => (0, 8, 0),
            0xd4..=0xd8 => (0, (1 << (marker - 0xd4)) + 1, 0),
            0xc1 => return Err("expected a MessagePack value, found the byte 0xc1, which begins none".into()),
        };
        let Some(size) = bytes.get(at..at + size_bytes) else { return Ok(None) };
        let size = size.iter().fold(0_u64, |size, byte| size << 8 | u64::from(*byte));
        at += size_bytes + head;
        values = values - 1 + inside;
        match marker {
            0xdc | 0xdd => values += size,
            0xde | 0xdf => values += 2 * size,
            _ => at = at.saturating_add(usize::try_from(size).unwrap_or(usize::MAX)),
        }
        if at > bytes.len() {
            return Ok(None);
        }
    }
    Ok(Some(at))
}

/// The map that `bytes` are.
pub(super) fn read(bytes: &[u8]) -> Result<ValueRef<'_>, String> {
    let mut rest = bytes;
    let value = read_value_ref_with_max_depth(&mut rest, DEPTH_MAX).map_err(|error| error.to_string())?;
    match value {
        _ if !rest.is_empty() => Err(format!("expected one map, found {} bytes after it", rest.len())),
        ValueRef::Map(_) => Ok(value),
        _ => Err("expected a map, found another value".into()),
    }
}

pub(super) fn guess(value: &ValueRef<'_>) -> Guess {
    match value {
        ValueRef::Nil => Guess::Null,
        ValueRef::Boolean(_) => Guess::Bool,
        ValueRef::Integer(number) => {
            Guess::Int { negative: number.as_i64().is_some_and(i64::is_negative), large: number.as_i64().is_none() }
        }
        ValueRef::F32(_) | ValueRef::F64(_) => Guess::Float,
        ValueRef::String(_) => Guess::Text,
        ValueRef::Ext(TIMESTAMP, _) => Guess::Timestamp,
        ValueRef::Binary(_) | ValueRef::Ext(..) => Guess::Bytes,
        ValueRef::Array(items) => {
            let mut all = Guess::Null;
            // A list of several sorts of items gets the sort of the first; rows are put aside by it.
            for item in items {
                let _ = all.merge(guess(item));
            }
            Guess::List(Box::new(all))
        }
        ValueRef::Map(entries) => {
            let mut all = Guess::Struct(Vec::new());
            for (name, value) in entries {
                let ValueRef::String(name) = name else { continue };
                let field = Guess::Struct(vec![(name.as_str().unwrap_or_default().to_owned(), guess(value))]);
                let _ = all.merge(field);
            }
            all
        }
    }
}

/// What is wrong with a value that Arrow would take all the same: a fraction in a column of whole numbers would be cut
/// off, text in a column of bytes taken for base64.
pub(super) fn check(value: &ValueRef<'_>, data_type: &DataType) -> Result<(), String> {
    match (data_type, value) {
        (DataType::Struct(fields), ValueRef::Map(entries)) => {
            for (name, value) in entries {
                let ValueRef::String(name) = name else { return Err("expected keys of text, found another".into()) };
                let name = name.as_str().unwrap_or_default();
                let Some((_, field)) = fields.find(name) else { continue };
                check(value, field.data_type()).map_err(|why| format!("whilst decoding field '{name}': {why}"))?;
            }
            Ok(())
        }
        (DataType::List(item) | DataType::LargeList(item), ValueRef::Array(values)) => {
            values.iter().try_for_each(|value| check(value, item.data_type()))
        }
        (data_type, ValueRef::F64(number)) if data_type.is_integer() && number.fract() != 0.0 => {
            Err(format!("expected a whole number, found {number}"))
        }
        (data_type, ValueRef::F32(number)) if data_type.is_integer() && number.fract() != 0.0 => {
            Err(format!("expected a whole number, found {number}"))
        }
        (DataType::Binary, ValueRef::String(_)) => Err("expected bytes, found text".into()),
        (DataType::Utf8, ValueRef::Binary(_) | ValueRef::Ext(..)) => Err("expected text, found bytes".into()),
        _ => Ok(()),
    }
}

/// A value as Arrow's JSON decoder takes it: bytes as base64 text, timestamps as RFC 3339 text.
pub(super) struct Row<'a>(pub(super) &'a ValueRef<'a>);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            ValueRef::Nil => serializer.serialize_unit(),
            ValueRef::Boolean(value) => serializer.serialize_bool(*value),
            ValueRef::Integer(value) => match (value.as_i64(), value.as_u64()) {
                (Some(value), _) => serializer.serialize_i64(value),
                (None, value) => serializer.serialize_u64(value.unwrap_or_default()),
            },
            ValueRef::F32(value) => serializer.serialize_f32(*value),
            ValueRef::F64(value) => serializer.serialize_f64(*value),
            ValueRef::String(text) => match text.as_str() {
                Some(text) => serializer.serialize_str(text),
                None => Err(S::Error::custom("expected UTF-8, found other bytes in text")),
            },
            ValueRef::Ext(TIMESTAMP, bytes) => match moment(bytes) {
                Some(moment) => serializer.serialize_str(&moment.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
                None => Err(S::Error::custom("expected a timestamp, found its extension with other bytes")),
            },
            ValueRef::Binary(bytes) | ValueRef::Ext(_, bytes) => serializer.serialize_str(&STANDARD.encode(bytes)),
            ValueRef::Array(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    list.serialize_element(&Row(value))?;
                }
                list.end()
            }
            ValueRef::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (name, value) in entries {
                    map.serialize_entry(&Row(name), &Row(value))?;
                }
                map.end()
            }
        }
    }
}

/// The moment of the timestamp extension: 4 bytes of seconds, 8 of 30 bits of nanoseconds and 34 of seconds, or 12.
fn moment(bytes: &[u8]) -> Option<DateTime<Utc>> {
    let (seconds, nanoseconds) = match bytes.len() {
        4 => (i64::from(u32::from_be_bytes(bytes.try_into().ok()?)), 0),
        8 => {
            let both = u64::from_be_bytes(bytes.try_into().ok()?);
            (i64::try_from(both & 0x3_ffff_ffff).ok()?, u32::try_from(both >> 34).ok()?)
        }
        12 => (i64::from_be_bytes(bytes[4..].try_into().ok()?), u32::from_be_bytes(bytes[..4].try_into().ok()?)),
        _ => return None,
    };
    DateTime::from_timestamp(seconds, nanoseconds)
}

/// Appends one map for each row.
pub(super) fn write(columns: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let structs = StructArray::from(columns.clone());
    let map = Column::new(&(std::sync::Arc::new(structs) as ArrayRef))?;
    (0..columns.num_rows()).try_for_each(|row| map.write(row, out))
}

/// A column in one of the few types that are written.
enum Column {
    Int(ArrayRef),
    UInt(ArrayRef),
    Bool(ArrayRef),
    Float32(ArrayRef),
    Float64(ArrayRef),
    Text(ArrayRef),
    Bytes(ArrayRef),
    /// Nanoseconds, or microseconds where those don't fit.
    Moment(ArrayRef),
    List(ListArray, Box<Column>),
    Map(ArrayRef, Vec<(String, Column)>),
}

impl Column {
    fn new(array: &ArrayRef) -> Result<Self, ArrowError> {
        use DataType as T;
        Ok(match array.data_type() {
            T::UInt64 => Self::UInt(array.clone()),
            data_type if data_type.is_integer() => Self::Int(cast(array, &T::Int64)?),
            T::Boolean => Self::Bool(array.clone()),
            T::Float32 => Self::Float32(array.clone()),
            T::Float64 | T::Float16 => Self::Float64(cast(array, &T::Float64)?),
            T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => Self::Bytes(cast(array, &T::Binary)?),
            T::Timestamp(TimeUnit::Nanosecond, _) => Self::Moment(array.clone()),
            T::Timestamp(_, zone) => Self::Moment(cast(array, &T::Timestamp(TimeUnit::Microsecond, zone.clone()))?),
            T::List(_) => Self::list(array.as_list::<i32>())?,
            T::LargeList(item) | T::FixedSizeList(item, _) => {
                Self::list(cast(array, &T::List(item.clone()))?.as_list::<i32>())?
            }
            T::Struct(fields) => {
                let parts = fields.iter().zip(array.as_struct().columns());
                let parts = parts.map(|(field, part)| Ok::<_, ArrowError>((field.name().clone(), Self::new(part)?)));
                Self::Map(array.clone(), parts.collect::<Result<_, _>>()?)
            }
            T::Dictionary(_, value) => Self::new(&cast(array, value)?)?,
            _ => Self::Text(cast(array, &T::Utf8)?),
        })
    }

    fn list(lists: &ListArray) -> Result<Self, ArrowError> {
        Ok(Self::List(lists.clone(), Box::new(Self::new(lists.values())?)))
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::List(lists, _) => lists.is_null(row),
            Self::Int(array)
            | Self::UInt(array)
            | Self::Bool(array)
            | Self::Float32(array)
            | Self::Float64(array)
            | Self::Text(array)
            | Self::Bytes(array)
            | Self::Moment(array)
            | Self::Map(array, _) => array.is_null(row),
        }
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let mut buffer = [0; 12];
        let value = match self {
            _ if self.is_null(row) => ValueRef::Nil,
            Self::Int(array) => array.as_primitive::<Int64Type>().value(row).into(),
            Self::UInt(array) => array.as_primitive::<UInt64Type>().value(row).into(),
            Self::Bool(array) => ValueRef::Boolean(array.as_boolean().value(row)),
            Self::Float32(array) => array.as_primitive::<Float32Type>().value(row).into(),
            Self::Float64(array) => array.as_primitive::<Float64Type>().value(row).into(),
            Self::Text(array) => array.as_string::<i32>().value(row).into(),
            Self::Bytes(array) => array.as_binary::<i32>().value(row).into(),
            Self::Moment(array) => {
                let (seconds, nanoseconds) = split(array, row);
                buffer[..4].copy_from_slice(&nanoseconds.to_be_bytes());
                buffer[4..].copy_from_slice(&seconds.to_be_bytes());
                ValueRef::Ext(TIMESTAMP, &buffer)
            }
            Self::List(lists, items) => {
                let ends = lists.value_offsets();
                let items_of = ends[row].cast_unsigned() as usize..ends[row + 1].cast_unsigned() as usize;
                head(out, items_of.len(), [0x90, 0xdc, 0xdd])?;
                return items_of.into_iter().try_for_each(|item| items.write(item, out));
            }
            Self::Map(_, parts) => {
                head(out, parts.len(), [0x80, 0xde, 0xdf])?;
                for (name, part) in parts {
                    put(&ValueRef::from(name.as_str()), out)?;
                    part.write(row, out)?;
                }
                return Ok(());
            }
        };
        put(&value, out)
    }
}

fn put(value: &ValueRef<'_>, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let mut end = Cursor::new(std::mem::take(out));
    end.set_position(end.get_ref().len() as u64);
    let written = write_value_ref(&mut end, value).map_err(|error| ArrowError::ExternalError(Box::new(error)));
    *out = end.into_inner();
    written
}

/// The head of a list or map: the markers for up to 15, 65,535 and more values.
fn head(out: &mut Vec<u8>, length: usize, [short, middle, long]: [u8; 3]) -> Result<(), ArrowError> {
    if let Some(length) = u8::try_from(length).ok().filter(|length| *length < 16) {
        out.push(short | length);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(middle);
        out.extend(length.to_be_bytes());
    } else {
        let length = u32::try_from(length).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        out.push(long);
        out.extend(length.to_be_bytes());
    }
    Ok(())
}

fn split(array: &ArrayRef, row: usize) -> (i64, u32) {
    let (value, part) = match array.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => (array.as_primitive::<TimestampNanosecondType>().value(row), 1),
        _ => (array.as_primitive::<TimestampMicrosecondType>().value(row), 1_000),
    };
    let second = 1_000_000_000 / part;
    let nanoseconds = value.rem_euclid(second) * part;
    (value.div_euclid(second), u32::try_from(nanoseconds).unwrap_or_default())
}
