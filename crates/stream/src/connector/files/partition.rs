//! Which folder each row goes to.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::row::{RowConverter, Rows, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::{BadRow, Error, Reason, ReasonCode};

/// The folder of null and of the empty string, as Hive and Spark name it.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The longest name that file systems take, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// One level of folders.
#[derive(Clone)]
pub(crate) struct Partition {
    /// What stands before `=`.
    pub(crate) name: String,
    /// The values, one for each row.
    pub(crate) value: Value,
}

/// Gives a value for each row, or says why it can't.
pub(crate) type Value = Arc<dyn Fn(&RecordBatch) -> Result<ArrayRef, Reason> + Send + Sync>;

/// Rows of one folder.
#[derive(Debug)]
pub(super) struct Group {
    /// The folder, relative; empty where nothing is partitioned.
    pub(super) folder: String,
    /// Which rows; `None` is all of them.
    pub(super) rows: Option<UInt32Array>,
}

/// Puts each row into its group, in order; rows without a folder are added to `bad`.
pub(super) fn split(
    partitions: &[Partition],
    columns: &RecordBatch,
    bad: &mut Vec<BadRow>,
) -> Result<Vec<Group>, Error> {
    if partitions.is_empty() {
        return Ok(vec![Group { folder: String::new(), rows: None }]);
    }
    match values(partitions, columns) {
        Ok(values) => group(partitions, &values, columns.num_rows(), bad),
        Err(_) => without_bad(partitions, columns, bad),
    }
}

fn values(partitions: &[Partition], columns: &RecordBatch) -> Result<Vec<ArrayRef>, Reason> {
    partitions.iter().map(|partition| (partition.value)(columns)).collect()
}

/// Some row can't be evaluated: finds out which, and groups the others.
fn without_bad(partitions: &[Partition], columns: &RecordBatch, bad: &mut Vec<BadRow>) -> Result<Vec<Group>, Error> {
    let before = bad.len();
    find_bad(partitions, columns, 0, bad);
    let mut is_good = vec![true; columns.num_rows()];
    bad[before..].iter().for_each(|bad| is_good[bad.row as usize] = false);
    let good: UInt32Array = (0..number(columns.num_rows())).filter(|row| is_good[*row as usize]).collect();
    if good.is_empty() {
        return Ok(Vec::new());
    }
    let kept = take_record_batch(columns, &good).map_err(Error::arrow("pick rows"))?;
    let values = values(partitions, &kept).map_err(|reason| {
        Error::House(format!("rows that have a partition alone have none together: {}", reason.message))
    })?;
    let mut worse = Vec::new();
    let mut groups = group(partitions, &values, kept.num_rows(), &mut worse)?;
    bad.extend(worse.into_iter().map(|bad| BadRow { row: good.value(bad.row as usize), reason: bad.reason }));
    for group in &mut groups {
        group.rows = Some(match &group.rows {
            None => good.clone(),
            Some(rows) => rows.values().iter().map(|row| good.value(*row as usize)).collect(),
        });
    }
    Ok(groups)
}

/// Halves the rows until those that fail stand alone.
fn find_bad(partitions: &[Partition], columns: &RecordBatch, first: usize, bad: &mut Vec<BadRow>) {
    let Err(reason) = values(partitions, columns) else { return };
    let count = columns.num_rows();
    if count <= 1 {
        bad.push(BadRow { row: number(first), reason });
        return;
    }
    let half = count / 2;
    find_bad(partitions, &columns.slice(0, half), first, bad);
    find_bad(partitions, &columns.slice(half, count - half), first + half, bad);
}

fn group(
    partitions: &[Partition],
    values: &[ArrayRef],
    count: usize,
    bad: &mut Vec<BadRow>,
) -> Result<Vec<Group>, Error> {
    let fields = values.iter().map(|values| SortField::new(values.data_type().clone())).collect();
    let keys = RowConverter::new(fields).and_then(|converter| converter.convert_columns(values));
    let keys = keys.map_err(Error::arrow("compare partition values"))?;
    let names = Names::new(partitions, values)?;
    let mut groups = Vec::new();
    for picked in picks(&keys, count) {
        match names.folder(picked.first)? {
            Ok(folder) => groups.push(Group { folder, rows: picked.rows.map(UInt32Array::from) }),
            Err(reason) => {
                let rows = picked.rows.unwrap_or_else(|| (0..number(count)).collect());
                bad.extend(rows.into_iter().map(|row| BadRow { row, reason: reason.clone() }));
            }
        }
    }
    Ok(groups)
}

/// Rows with one key.
struct Picked {
    first: usize,
    /// `None` is all.
    rows: Option<Vec<u32>>,
}

fn picks(keys: &Rows, count: usize) -> Vec<Picked> {
    if count == 0 {
        return Vec::new();
    }
    let first = keys.row(0);
    if (1..count).all(|row| keys.row(row) == first) {
        return vec![Picked { first: 0, rows: None }];
    }
    let mut numbers: HashMap<&[u8], usize> = HashMap::new();
    let mut of_rows: Vec<u32> = Vec::with_capacity(count);
    let mut sizes: Vec<usize> = Vec::new();
    for row in 0..count {
        let next = sizes.len();
        let group = *numbers.entry(keys.row(row).data()).or_insert(next);
        if group == next {
            sizes.push(0);
        }
        sizes[group] += 1;
        of_rows.push(number(group));
    }
    let mut rows: Vec<Vec<u32>> = sizes.iter().map(|size| Vec::with_capacity(*size)).collect();
    for (row, group) in of_rows.iter().enumerate() {
        rows[*group as usize].push(number(row));
    }
    rows.into_iter().map(|rows| Picked { first: rows[0] as usize, rows: Some(rows) }).collect()
}

/// Folder names of rows.
struct Names<'a>(Vec<(&'a str, &'a ArrayRef, ArrayFormatter<'a>)>);

impl<'a> Names<'a> {
    fn new(partitions: &'a [Partition], values: &'a [ArrayRef]) -> Result<Self, Error> {
        const OPTIONS: FormatOptions<'static> = FormatOptions::new()
            .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
            .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f"))
            .with_datetime_format(Some("%Y-%m-%d %H:%M:%S%.f"));
        let level = |(partition, values): (&'a Partition, &'a ArrayRef)| {
            let formatter = ArrayFormatter::try_new(values.as_ref(), &OPTIONS)?;
            Ok((partition.name.as_str(), values, formatter))
        };
        let levels: Result<_, _> = partitions.iter().zip(values).map(level).collect();
        levels.map(Self).map_err(Error::arrow("name a folder by its partition value"))
    }

    fn folder(&self, row: usize) -> Result<Result<String, Reason>, Error> {
        let (mut folder, mut text) = (String::new(), String::new());
        for (name, values, formatter) in &self.0 {
            if !folder.is_empty() {
                folder.push('/');
            }
            let start = folder.len();
            escape(name, &mut folder);
            folder.push('=');
            text.clear();
            if !values.is_null(row) {
                formatter.value(row).write(&mut text).map_err(Error::arrow("name a folder"))?;
            }
            if text.is_empty() {
                folder.push_str(NULL);
            } else {
                escape(&text, &mut folder);
            }
            let length = folder.len() - start;
            if length > NAME_BYTES_MAX {
                let message = format!(
                    "the folder of partition column `{name}` would have a name of {length} bytes; \
                     at most {NAME_BYTES_MAX} are possible"
                );
                return Ok(Err(Reason::new(ReasonCode::Unwritable, message)));
            }
        }
        Ok(Ok(folder))
    }
}

/// Writes what can't stand in a name as `%` and two digits, as Hive does.
fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '\0'..='\x1f'
            | '\x7f'
            | '"'
            | '#'
            | '%'
            | '\''
            | '*'
            | '/'
            | ':'
            | '='
            | '?'
            | '\\'
            | '{'
            | '['
            | ']'
            | '^' => write!(out, "%{:02X}", u32::from(character)).expect("a string takes all text"),
            plain => out.push(plain),
        }
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
