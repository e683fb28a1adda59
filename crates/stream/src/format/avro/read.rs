//! Reads values into columns: a writer's schema and the wanted columns, made into one program.

use std::sync::Arc;

use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, DecimalType, Fields, IntervalMonthDayNano, i256};

use super::cursor::{Cursor, Fault};
use super::schema::{Avro, Wire};
use super::skip::Skip;
use crate::format::column::{Column, Values};

/// How to read a value into its column.
#[derive(Debug)]
pub(super) enum Read {
    Null,
    Boolean,
    Int32,
    Int64,
    Float32,
    Float64,
    IntAsFloat,
    IntAsDouble,
    FloatAsDouble,
    Text,
    Binary,
    Enum(Arc<[String]>),
    Fixed,
    Decimal { fixed: Option<usize>, precision: u8, scale: i8 },
    Duration,
    Optional { null: i64, value: Box<Self> },
    Union(Vec<Branch>),
    Record { steps: Vec<Step>, missing: Vec<usize> },
    List { item: Box<Self>, bytes_min: usize },
    Map { value: Box<Self>, bytes_min: usize },
}

/// What becomes of a field.
#[derive(Debug)]
pub(super) enum Step {
    Skip { skip: Skip, name: String },
    Read { child: usize, read: Read, name: String },
}

/// What becomes of a branch.
#[derive(Debug)]
pub(super) enum Branch {
    Null,
    Skip(Skip),
    Read { child: usize, read: Read },
}

impl Read {
    /// The program that reads `avro` into a column of type `kind`. The error is for the case that nobody merged the
    /// two before.
    pub(super) fn new(avro: &Avro, kind: &DataType) -> Result<Self, String> {
        match (avro, kind) {
            (Avro::Leaf(Wire::Null, _), _) => Ok(Self::Null),
            (Avro::Leaf(wire, plain), kind) => Self::leaf(wire, plain, kind),
            (Avro::Record(fields), DataType::Struct(wanted)) => Self::record(fields, wanted),
            (Avro::Array(item), DataType::List(wanted)) => {
                Ok(Self::List { item: Box::new(Self::new(item, wanted.data_type())?), bytes_min: item.bytes_min() })
            }
            (Avro::Map(value), DataType::Map(entries, _)) => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => Ok(Self::Map {
                    value: Box::new(Self::new(value, fields[1].data_type())?),
                    bytes_min: value.bytes_min().saturating_add(1),
                }),
                _ => Err(format!("no Avro type gives the column type {kind}")),
            },
            (Avro::Union(branches), kind) => Self::union(branches, kind),
            (other, kind) => Err(format!("{} can't be read as {kind}", other.field("").data_type())),
        }
    }

    fn leaf(wire: &Wire, plain: &DataType, kind: &DataType) -> Result<Self, String> {
        use DataType as D;
        if plain == kind {
            return Ok(match (wire, kind) {
                (Wire::Fixed(size), D::Decimal128(precision, scale) | D::Decimal256(precision, scale)) => {
                    Self::Decimal { fixed: Some(*size), precision: *precision, scale: *scale }
                }
                (_, D::Decimal128(precision, scale) | D::Decimal256(precision, scale)) => {
                    Self::Decimal { fixed: None, precision: *precision, scale: *scale }
                }
                (_, D::Interval(_)) => Self::Duration,
                (Wire::Boolean, _) => Self::Boolean,
                (Wire::Int, _) => Self::Int32,
                (Wire::Long, _) => Self::Int64,
                (Wire::Float, _) => Self::Float32,
                (Wire::Double, _) => Self::Float64,
                (Wire::Bytes, _) => Self::Binary,
                (Wire::String, _) => Self::Text,
                (Wire::Enum(symbols), _) => Self::Enum(Arc::clone(symbols)),
                (Wire::Fixed(_), _) => Self::Fixed,
                (Wire::Null, _) => Self::Null,
            });
        }
        match (plain, kind) {
            (D::Int32, D::Int64) => Ok(Self::Int64),
            (D::Int32 | D::Int64, D::Float32) => Ok(Self::IntAsFloat),
            (D::Int32 | D::Int64, D::Float64) => Ok(Self::IntAsDouble),
            (D::Float32, D::Float64) => Ok(Self::FloatAsDouble),
            (D::Binary, D::Utf8) => Ok(Self::Text),
            (D::Utf8, D::Binary) if *wire == Wire::String => Ok(Self::Binary),
            (D::Utf8, D::Binary) => Self::leaf(wire, plain, plain),
            _ => Err(format!("{plain} can't be read as {kind}")),
        }
    }

    fn record(fields: &[(String, Avro)], wanted: &Fields) -> Result<Self, String> {
        let mut steps = Vec::with_capacity(fields.len());
        for (name, field) in fields {
            let name = name.clone();
            match wanted.find(&name) {
                Some((child, target)) => {
                    let read = Self::new(field, target.data_type()).map_err(|what| format!("`{name}`: {what}"))?;
                    steps.push(Step::Read { child, read, name });
                }
                None => push_skip(&mut steps, Skip::new(field), name),
            }
        }
        let known = |name: &str| fields.iter().any(|(field, _)| field == name);
        let missing = wanted.iter().enumerate().filter(|(_, field)| !known(field.name()));
        Ok(Self::Record { missing: missing.map(|(child, _)| child).collect(), steps })
    }

    fn union(branches: &[(String, Avro)], kind: &DataType) -> Result<Self, String> {
        let valued = branches.iter().filter(|(_, branch)| !branch.is_null()).count();
        if let ([(_, null), (_, value)], 1) = (branches, valued) {
            let (null, value) = if null.is_null() { (0, value) } else { (1, null) };
            return Ok(Self::Optional { null, value: Box::new(Self::new(value, kind)?) });
        }
        if valued <= 1 {
            let Some((_, only)) = branches.first() else { return Err("a union without branches".to_owned()) };
            let null = if only.is_null() { 0 } else { -1 };
            return Ok(Self::Optional { null, value: Box::new(Self::new(only, kind)?) });
        }
        let DataType::Struct(members) = kind else {
            return Err(format!("a union of {valued} types can't be read as {kind}"));
        };
        let branch = |(name, value): &(String, Avro)| match members.find(name) {
            _ if value.is_null() => Ok(Branch::Null),
            Some((child, member)) => Ok(Branch::Read { child, read: Self::new(value, member.data_type())? }),
            None => Ok::<_, String>(Branch::Skip(Skip::new(value))),
        };
        Ok(Self::Union(branches.iter().map(branch).collect::<Result<_, _>>()?))
    }

    /// Reads one value to the end of `column`. After an error the column may hold half a row.
    #[inline]
    pub(super) fn run(&self, cursor: &mut Cursor<'_>, column: &mut Column) -> Result<(), Fault> {
        match (self, &mut column.values) {
            (Self::Optional { null, value }, _) => {
                let branch = cursor.long()?;
                if branch == *null {
                    column.push_null();
                    return Ok(());
                }
                let last = i64::from(*null >= 0);
                if !(0..=last).contains(&branch) {
                    return Err(no_branch(cursor, branch, last + 1));
                }
                return value.run(cursor, column);
            }
            (Self::Null, _) => {
                column.push_null();
                return Ok(());
            }
            (Self::Float32, Values::Float32(values)) => values.push(f32::from_le_bytes(cursor.array()?)),
            (Self::Float64, Values::Float64(values)) => values.push(f64::from_le_bytes(cursor.array()?)),
            (Self::Int32, Values::Int32(values)) => values.push(cursor.int()?),
            (Self::Int64, Values::Int64(values)) => values.push(cursor.long()?),
            (Self::Text, Values::Bytes { offsets, data }) => {
                let text = cursor.blob()?;
                if let Err(error) = std::str::from_utf8(text) {
                    return Err(cursor.fault(format!("text of {} bytes is not UTF-8: {error}", text.len())));
                }
                push_bytes(cursor, offsets, data, text)?;
            }
            (Self::Binary, Values::Bytes { offsets, data }) => {
                let blob = cursor.blob()?;
                push_bytes(cursor, offsets, data, blob)?;
            }
            (Self::Record { steps, missing }, Values::Struct(children)) => {
                run_steps(steps, cursor, children)?;
                for child in missing {
                    children[*child].push_null();
                }
            }
            (Self::List { item, bytes_min }, Values::List { offsets, item: items }) => {
                run_items(cursor, *bytes_min, |cursor| item.run(cursor, items))?;
                push_end(cursor, offsets, items.len())?;
            }
            _ => return self.run_rare(cursor, column),
        }
        column.nulls.append_non_null();
        Ok(())
    }

    fn run_rare(&self, cursor: &mut Cursor<'_>, column: &mut Column) -> Result<(), Fault> {
        match (self, &mut column.values) {
            (Self::Boolean, Values::Boolean(values)) => values.append(cursor.boolean()?),
            (Self::IntAsFloat, Values::Float32(values)) => values.push(rounded(cursor.long()?)),
            (Self::IntAsDouble, Values::Float64(values)) => values.push(rounded_double(cursor.long()?)),
            (Self::FloatAsDouble, Values::Float64(values)) => {
                values.push(f64::from(f32::from_le_bytes(cursor.array()?)));
            }
            (Self::Enum(symbols), Values::Bytes { offsets, data }) => {
                let index = cursor.long()?;
                let symbol = usize::try_from(index).ok().and_then(|index| symbols.get(index));
                let Some(symbol) = symbol else {
                    return Err(cursor.fault(format!("the enum has {} symbols, the value is {index}", symbols.len())));
                };
                push_bytes(cursor, offsets, data, symbol.as_bytes())?;
            }
            (Self::Fixed, Values::Fixed { width, data }) => data.extend_from_slice(cursor.take(*width)?),
            (Self::Decimal { fixed, precision, scale }, values) => {
                let bytes = match fixed {
                    Some(size) => cursor.take(*size)?,
                    None => cursor.blob()?,
                };
                if !push_decimal(values, bytes, *precision, *scale) {
                    return Err(cursor.fault(format!("a decimal has more than {precision} digits")));
                }
            }
            (Self::Duration, Values::Interval(values)) => values.push(duration(cursor)?),
            (Self::Map { value, bytes_min }, Values::Map { offsets, key: keys, value: values }) => {
                run_items(cursor, *bytes_min, |cursor| {
                    Self::Text.run(cursor, keys)?;
                    value.run(cursor, values)
                })?;
                push_end(cursor, offsets, keys.len())?;
            }
            (Self::Union(branches), Values::Struct(children)) => {
                if !run_union(branches, cursor, children)? {
                    column.nulls.append_null();
                    return Ok(());
                }
            }
            (read, _) => return Err(cursor.fault(format!("a bug of ours: {read:?} for another column"))),
        }
        column.nulls.append_non_null();
        Ok(())
    }
}

fn run_steps(steps: &[Step], cursor: &mut Cursor<'_>, children: &mut [Column]) -> Result<(), Fault> {
    for step in steps {
        match step {
            Step::Read { child, read, name } => {
                read.run(cursor, &mut children[*child]).map_err(|fault| fault.within(name))?;
            }
            Step::Skip { skip, name } => skip.run(cursor).map_err(|fault| fault.within(name))?,
        }
    }
    Ok(())
}

/// Reads runs of items up to the end mark. Where a run tells its bytes, they must be so many: whoever skips the run
/// believes it.
#[inline]
fn run_items<'a>(
    cursor: &mut Cursor<'a>,
    bytes_min: usize,
    mut item: impl FnMut(&mut Cursor<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    loop {
        let (count, bytes) = cursor.items(bytes_min)?;
        if count == 0 {
            return Ok(());
        }
        let before = cursor.left();
        (0..count).try_for_each(|_| item(cursor))?;
        let taken = before - cursor.left();
        if let Some(bytes) = bytes.filter(|bytes| *bytes != taken) {
            return Err(cursor.fault(format!("{count} items announce {bytes} bytes and take {taken}")));
        }
    }
}

/// Reads one branch, nulls in the others, and tells whether it was another than null's.
fn run_union(branches: &[Branch], cursor: &mut Cursor<'_>, children: &mut [Column]) -> Result<bool, Fault> {
    let branch = cursor.long()?;
    let known = usize::try_from(branch).ok().and_then(|branch| branches.get(branch));
    let Some(chosen) = known else {
        return Err(no_branch(cursor, branch, i64::try_from(branches.len()).unwrap_or(i64::MAX)));
    };
    let filled = match chosen {
        Branch::Read { child, read } => {
            read.run(cursor, &mut children[*child])?;
            Some(*child)
        }
        Branch::Skip(skip) => {
            skip.run(cursor)?;
            None
        }
        Branch::Null => None,
    };
    let others = children.iter_mut().enumerate().filter(|(child, _)| Some(*child) != filled);
    others.for_each(|(_, column)| column.push_null());
    Ok(!matches!(chosen, Branch::Null))
}

#[cold]
fn no_branch(cursor: &Cursor<'_>, branch: i64, branches: i64) -> Fault {
    cursor.fault(format!("the union has {branches} branches, the value is of branch {branch}"))
}

fn push_skip(steps: &mut Vec<Step>, skip: Skip, name: String) {
    match (steps.last_mut(), skip) {
        (Some(Step::Skip { skip: Skip::Bytes(before), .. }), Skip::Bytes(more)) => {
            *before = before.saturating_add(more);
        }
        (_, skip) => steps.push(Step::Skip { skip, name }),
    }
}

#[inline]
fn push_bytes(cursor: &Cursor<'_>, offsets: &mut Vec<i32>, data: &mut Vec<u8>, value: &[u8]) -> Result<(), Fault> {
    data.extend_from_slice(value);
    push_end(cursor, offsets, data.len())
}

#[inline]
fn push_end(cursor: &Cursor<'_>, offsets: &mut Vec<i32>, end: usize) -> Result<(), Fault> {
    match i32::try_from(end) {
        Ok(end) => {
            offsets.push(end);
            Ok(())
        }
        Err(_) => Err(cursor.fault("the batch holds more than 2 GiB in one column; lower batch.bytes")),
    }
}

fn push_decimal(values: &mut Values, bytes: &[u8], precision: u8, scale: i8) -> bool {
    match values {
        Values::Decimal128(values) => {
            let value = extended(bytes).map(i128::from_be_bytes);
            let value = value.filter(|v| Decimal128Type::validate_decimal_precision(*v, precision, scale).is_ok());
            values.extend(value);
            value.is_some()
        }
        Values::Decimal256(values) => {
            let value = extended(bytes).map(i256::from_be_bytes);
            let value = value.filter(|v| Decimal256Type::validate_decimal_precision(*v, precision, scale).is_ok());
            values.extend(value);
            value.is_some()
        }
        _ => false,
    }
}

/// The two's complement number in `N` bytes; `None` where it takes more.
fn extended<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
    let fill = if negative { 0xff } else { 0 };
    let (extra, kept) = bytes.split_at(bytes.len().saturating_sub(N));
    let mut number = [fill; N];
    number[N - kept.len()..].copy_from_slice(kept);
    let same_sign = (number[0] >= 0x80) == negative;
    (same_sign && extra.iter().all(|byte| *byte == fill)).then_some(number)
}

fn duration(cursor: &mut Cursor<'_>) -> Result<IntervalMonthDayNano, Fault> {
    let [months, days, millis] =
        [u32::from_le_bytes(cursor.array()?), u32::from_le_bytes(cursor.array()?), u32::from_le_bytes(cursor.array()?)];
    match (i32::try_from(months), i32::try_from(days)) {
        (Ok(months), Ok(days)) => Ok(IntervalMonthDayNano::new(months, days, i64::from(millis) * 1_000_000)),
        _ => Err(cursor.fault("a duration has more than 2^31 months or days")),
    }
}

#[expect(clippy::cast_precision_loss, reason = "Avro promotes whole numbers to the nearest float")]
const fn rounded(number: i64) -> f32 {
    number as f32
}

#[expect(clippy::cast_precision_loss, reason = "Avro promotes whole numbers to the nearest double")]
const fn rounded_double(number: i64) -> f64 {
    number as f64
}
