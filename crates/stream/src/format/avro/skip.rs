//! Steps over values that nobody reads, without looking at more than their lengths.

use super::cursor::{Cursor, Fault};
use super::schema::{Avro, Wire};

/// How to step over a value.
#[derive(Debug)]
pub(super) enum Skip {
    Bytes(usize),
    Number,
    Blob,
    /// A number for the branch, and the value unless the branch is null's.
    Optional {
        null: i64,
        value: Box<Self>,
    },
    Record(Vec<Self>),
    Items {
        item: Box<Self>,
        bytes_min: usize,
        keyed: bool,
    },
    Union(Vec<Self>),
}

impl Skip {
    /// How to step over what `avro` describes.
    pub(super) fn new(avro: &Avro) -> Self {
        match avro {
            Avro::Leaf(wire, _) => match wire {
                Wire::Null => Self::Bytes(0),
                Wire::Boolean => Self::Bytes(1),
                Wire::Float => Self::Bytes(4),
                Wire::Double => Self::Bytes(8),
                Wire::Fixed(size) => Self::Bytes(*size),
                Wire::Int | Wire::Long | Wire::Enum(_) => Self::Number,
                Wire::Bytes | Wire::String => Self::Blob,
            },
            Avro::Record(fields) => {
                let mut steps = Vec::with_capacity(fields.len());
                for (_, field) in fields {
                    push(&mut steps, Self::new(field));
                }
                Self::Record(steps)
            }
            Avro::Array(item) => {
                Self::Items { item: Box::new(Self::new(item)), bytes_min: item.bytes_min(), keyed: false }
            }
            Avro::Map(value) => Self::Items {
                item: Box::new(Self::new(value)),
                bytes_min: value.bytes_min().saturating_add(1),
                keyed: true,
            },
            Avro::Union(branches) => match branches.as_slice() {
                [(_, null), (_, value)] if null.is_null() => {
                    Self::Optional { null: 0, value: Box::new(Self::new(value)) }
                }
                [(_, value), (_, null)] if null.is_null() => {
                    Self::Optional { null: 1, value: Box::new(Self::new(value)) }
                }
                branches => Self::Union(branches.iter().map(|(_, branch)| Self::new(branch)).collect()),
            },
        }
    }

    /// Steps over one value.
    pub(super) fn run(&self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        match self {
            Self::Bytes(count) => cursor.take(*count).map(drop),
            Self::Number => cursor.long().map(drop),
            Self::Blob => cursor.blob().map(drop),
            Self::Optional { null, value } => match cursor.long()? {
                branch if branch == *null => Ok(()),
                0 | 1 => value.run(cursor),
                branch => Err(cursor.fault(format!("the union has 2 branches, the value is of branch {branch}"))),
            },
            Self::Record(steps) => steps.iter().try_for_each(|step| step.run(cursor)),
            Self::Items { item, bytes_min, keyed } => loop {
                match cursor.items(*bytes_min)? {
                    (0, _) => return Ok(()),
                    (_, Some(bytes)) => cursor.take(bytes).map(drop)?,
                    (_, None) if *bytes_min == 0 => {}
                    (count, None) => (0..count).try_for_each(|_| item.run_keyed(*keyed, cursor))?,
                }
            },
            Self::Union(branches) => {
                let branch = cursor.long()?;
                match usize::try_from(branch).ok().and_then(|branch| branches.get(branch)) {
                    Some(value) => value.run(cursor),
                    None => Err(cursor
                        .fault(format!("the union has {} branches, the value is of branch {branch}", branches.len()))),
                }
            }
        }
    }
}

impl Skip {
    #[inline]
    fn run_keyed(&self, keyed: bool, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        if keyed {
            cursor.blob()?;
        }
        self.run(cursor)
    }
}

/// Appends a step, as part of the one before where both have a fixed length.
fn push(steps: &mut Vec<Skip>, step: Skip) {
    match (steps.last_mut(), step) {
        (Some(Skip::Bytes(before)), Skip::Bytes(more)) => *before = before.saturating_add(more),
        (_, step) => steps.push(step),
    }
}
