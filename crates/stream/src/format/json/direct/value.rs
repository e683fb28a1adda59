//! Values, and the columns they go to.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Fields, TimeUnit};
use chrono::{DateTime, NaiveDate};

use super::cursor::{Cursor, Quoted};
use crate::format::column::{Column, Values};

/// How deep values may nest here.
const DEPTH_MAX: usize = 64;
/// The most keys of an object whose order is remembered.
const ORDER_MAX: usize = 4096;

/// How to read a value.
#[derive(Debug)]
enum Want {
    Boolean,
    Int32,
    Int64,
    Float32,
    Float64,
    Text,
    Moment,
    List(Box<Want>),
    Struct(Object),
}

/// How to read an object.
#[derive(Debug)]
pub(super) struct Object {
    wants: Vec<Want>,
    by_name: HashMap<Vec<u8>, usize>,
    /// The names of the last object in their order, with quotes, colon and what stood before them, and the column of
    /// each: the next object mostly has the same.
    order: Vec<(Vec<u8>, Next)>,
    /// For each column, the number of the last object that had it.
    seen: Vec<u64>,
    objects: u64,
}

/// What comes next in an object.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// The value of this column.
    Column(usize),
    /// A value that nobody reads.
    Unread,
    /// Nothing.
    End,
}

impl Want {
    fn new(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::Int32 => Self::Int32,
            DataType::Int64 => Self::Int64,
            DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::Utf8 => Self::Text,
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Self::Moment,
            DataType::List(item) if item.is_nullable() => Self::List(Box::new(Self::new(item.data_type())?)),
            DataType::Struct(fields) => Self::Struct(Object::new(fields)?),
            _ => return None,
        })
    }

    fn read(&mut self, cursor: &mut Cursor<'_>, column: &mut Column, depth: usize) -> Option<()> {
        let first = cursor.peek()?;
        if first == b'n' {
            cursor.word(b"null")?;
            column.push_null();
            return Some(());
        }
        match (self, &mut column.values) {
            (Self::Struct(object), _) => return object.read(cursor, column, depth + 1),
            (Self::Int64, Values::Int64(values)) => values.push(cursor.int()?),
            (Self::Int32, Values::Int32(values)) => values.push(i32::try_from(cursor.int()?).ok()?),
            (Self::Float64, Values::Float64(values)) => values.push(float(cursor)?),
            (Self::Float32, Values::Float32(values)) => {
                values.push(cursor.number()?.0.parse().ok().filter(|value: &f32| value.is_finite())?);
            }
            (Self::Text, Values::Bytes { offsets, data }) => {
                push_text(&cursor.quoted()?, data)?;
                offsets.push(i32::try_from(data.len()).ok()?);
            }
            (Self::Moment, Values::Int64(values)) => values.push(moment(cursor.quoted()?.bytes)?),
            (Self::Boolean, Values::Boolean(values)) => {
                let word: &[u8] = if first == b't' { b"true" } else { b"false" };
                cursor.word(word)?;
                values.append(first == b't');
            }
            (Self::List(want), Values::List { offsets, item }) => {
                want.items(cursor, item, depth + 1)?;
                offsets.push(i32::try_from(item.len()).ok()?);
            }
            _ => return None,
        }
        column.nulls.append_non_null();
        Some(())
    }

    fn items(&mut self, cursor: &mut Cursor<'_>, items: &mut Column, depth: usize) -> Option<()> {
        cursor.take(b'[')?;
        if depth > DEPTH_MAX {
            return None;
        }
        if cursor.peek()? == b']' {
            return cursor.take(b']');
        }
        loop {
            self.read(cursor, items, depth)?;
            if !cursor.goes_on(b']')? {
                return Some(());
            }
        }
    }
}

impl Object {
    pub(super) fn new(fields: &Fields) -> Option<Self> {
        let want = |field: &arrow::datatypes::FieldRef| {
            if field.is_nullable() { Want::new(field.data_type()) } else { None }
        };
        let wants: Vec<Want> = fields.iter().map(want).collect::<Option<_>>()?;
        let seen = vec![0; wants.len()];
        let names = fields.iter().enumerate();
        let by_name: HashMap<_, _> = names.map(|(child, field)| (field.name().clone().into_bytes(), child)).collect();
        (by_name.len() == fields.len()).then_some(Self { wants, by_name, order: Vec::new(), seen, objects: 0 })
    }

    /// Reads an object as the next row of `column`. After `None` the column may hold half a row.
    pub(super) fn read(&mut self, cursor: &mut Cursor<'_>, column: &mut Column, depth: usize) -> Option<()> {
        self.objects += 1;
        let Values::Struct(children) = &mut column.values else { return None };
        if depth > DEPTH_MAX {
            return None;
        }
        let mut found = 0;
        for place in 0.. {
            let next = match self.order.get(place) {
                Some((name, next)) if cursor.is_name(name) => *next,
                _ => self.name(cursor, place)?,
            };
            match next {
                // A name that comes twice is left to others.
                Next::Column(child) if self.seen[child] == self.objects => return None,
                Next::Column(child) => {
                    self.seen[child] = self.objects;
                    self.wants[child].read(cursor, &mut children[child], depth)?;
                    found += 1;
                }
                Next::Unread => skip(cursor, depth)?,
                Next::End => break,
            }
        }
        if found < children.len() {
            let missing = children.iter_mut().zip(&self.seen).filter(|(_, seen)| **seen != self.objects);
            missing.for_each(|(child, _)| child.push_null());
        }
        column.nulls.append_non_null();
        Some(())
    }

    /// Takes what stands before a name, the name and its colon, and remembers them.
    fn name(&mut self, cursor: &mut Cursor<'_>, place: usize) -> Option<Next> {
        let start = cursor.at();
        let is_end = if place > 0 {
            !cursor.goes_on(b'}')?
        } else {
            cursor.take(b'{')?;
            cursor.peek()? == b'}' && cursor.take(b'}').is_some()
        };
        if is_end {
            return Some(Next::End);
        }
        let Quoted { bytes, escaped: false } = cursor.quoted()? else { return None };
        let next = self.by_name.get(bytes).map_or(Next::Unread, |child| Next::Column(*child));
        cursor.take(b':')?;
        let whole = cursor.since(start);
        match self.order.get_mut(place) {
            Some((name, known)) => {
                name.clear();
                name.extend_from_slice(whole);
                *known = next;
            }
            None if place < ORDER_MAX => self.order.push((whole.to_vec(), next)),
            None => {}
        }
        Some(next)
    }
}

/// Passes over a value that nobody reads.
fn skip(cursor: &mut Cursor<'_>, depth: usize) -> Option<()> {
    match cursor.peek()? {
        b'"' => skip_text(cursor),
        b'{' | b'[' if depth >= DEPTH_MAX => None,
        b'{' => skip_all(cursor, b'{', b'}', |cursor| {
            skip_text(cursor)?;
            cursor.take(b':')?;
            skip(cursor, depth + 1)
        }),
        b'[' => skip_all(cursor, b'[', b']', |cursor| skip(cursor, depth + 1)),
        b't' => cursor.word(b"true"),
        b'f' => cursor.word(b"false"),
        b'n' => cursor.word(b"null"),
        _ => float(cursor).map(|_| ()),
    }
}

fn skip_text(cursor: &mut Cursor<'_>) -> Option<()> {
    let quoted = cursor.quoted()?;
    if quoted.escaped { push_text(&quoted, &mut Vec::new()) } else { Some(()) }
}

fn skip_all<'a>(
    cursor: &mut Cursor<'a>,
    start: u8,
    end: u8,
    mut each: impl FnMut(&mut Cursor<'a>) -> Option<()>,
) -> Option<()> {
    cursor.take(start)?;
    if cursor.peek()? == end {
        return cursor.take(end);
    }
    loop {
        each(cursor)?;
        if !cursor.goes_on(end)? {
            return Some(());
        }
    }
}

#[inline]
fn float(cursor: &mut Cursor<'_>) -> Option<f64> {
    match cursor.number()? {
        (_, Some(value)) => Some(value),
        (text, None) => text.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

/// Appends the text that a string stands for.
#[inline]
fn push_text(quoted: &Quoted<'_>, data: &mut Vec<u8>) -> Option<()> {
    if quoted.escaped {
        return unescape(quoted.bytes, data);
    }
    data.extend_from_slice(quoted.bytes);
    Some(())
}

fn unescape(mut rest: &[u8], data: &mut Vec<u8>) -> Option<()> {
    while let Some(at) = memchr::memchr(b'\\', rest) {
        data.extend_from_slice(&rest[..at]);
        let escape = *rest.get(at + 1)?;
        rest = &rest[at + 2..];
        let byte = match escape {
            b'"' | b'\\' | b'/' => escape,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (character, length) = unicode(rest)?;
                data.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[length..];
                continue;
            }
            _ => return None,
        };
        data.push(byte);
    }
    data.extend_from_slice(rest);
    Some(())
}

/// The character that four digits name, or two halves of it, and the bytes that took. Lone halves are left to others.
fn unicode(rest: &[u8]) -> Option<(char, usize)> {
    let first = hex(rest)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, 4));
    }
    let second = hex(rest.get(4..)?.strip_prefix(b"\\u")?)?;
    if !(0xd800..0xdc00).contains(&first) || !(0xdc00..0xe000).contains(&second) {
        return None;
    }
    char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).map(|character| (character, 10))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.first_chunk::<4>()?.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

/// Microseconds since 1970 of `2026-01-01T00:00:00.123456Z`, with no to six decimals.
fn moment(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_first_chunk::<19>()?;
    let [_, _, _, _, b'-', _, _, b'-', _, _, b'T', _, _, b':', _, _, b':', _, _] = date else { return None };
    let micros = match rest {
        [b'Z'] => 0,
        [b'.', decimals @ .., b'Z'] if (1..=6).contains(&decimals.len()) => {
            let missing = u32::try_from(6 - decimals.len()).ok()?;
            digits(decimals)? * 10_u32.pow(missing)
        }
        _ => return None,
    };
    let year = i32::try_from(digits(&date[..4])?).ok()?;
    let day = NaiveDate::from_ymd_opt(year, digits(&date[5..7])?, digits(&date[8..10])?)?;
    let time = day.and_hms_micro_opt(digits(&date[11..13])?, digits(&date[14..16])?, digits(&date[17..])?, micros)?;
    Some(DateTime::timestamp_micros(&time.and_utc()))
}

fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |value, digit| Some(value * 10 + char::from(*digit).to_digit(10)?))
}
