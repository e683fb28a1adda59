//! Rows out of nothing: columns of made-up values, or made-up alerts. For trying a stream, and for measuring one.

use std::fmt::{Display, Formatter};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use document::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stdx::Clock;

use crate::{Chunk, Ends, Error, Limit, OpenSource, Origin, Position, Read, Source};

pub mod alerts;
pub mod columns;
mod draw;
mod make;
mod rate;

use alerts::Alerts;
use columns::Columns;
use make::Maker;
use rate::Pace;

/// Makes rows up.
///
/// The rows depend on nothing but the seed and their number, so a stream that goes on gets the rows that follow.
/// `columns` and `alerts` exclude each other.
///
/// ```yaml
/// bids:
///   generate:
///     rate: 1000
///     total: 100000
///     seed: 1
///     columns:
///       auction: {int: {min: 1000, max: 2000}}
///       bidder: {int: {min: 1000, max: 5000}}
///       price: {int: {min: 100, max: 10000000}}
///       channel: {choice: [Google, Facebook, Baidu, Apple]}
///       url: {text: {prefix: "https://www.example.org/", length: 12}}
///       dateTime: {timestamp: {start: "2026-01-01T00:00:00Z", step: 1ms}}
///       extra: {text: {length: 40, lengthMin: 10}}
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SourceSpec {
    /// Rows per second, evenly spread. Without it, as fast as they are taken. What was missed while nobody took rows
    /// is made up for with one second's rows at most.
    pub rate: Option<f64>,
    /// How many rows there are. Without it, there is no end.
    pub total: Option<u64>,
    /// What comes after the last row. Default `end`.
    pub then: Then,
    /// What the values are drawn from: the same seed gives the same rows, on every machine. Without it one is drawn at
    /// the first start, and the source is not replayable. A stream that goes on keeps the seed it began with.
    pub seed: Option<u64>,
    /// Columns by name, each with the expression that makes its values.
    pub columns: Option<Columns>,
    /// Made-up alerts, an Avro container file each, to be read with `format: {avro: {}}`.
    pub alerts: Option<alerts::Spec>,
}

/// What comes after the last row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Then {
    /// The end of the input: the stream commits and ends.
    #[default]
    End,
    /// Nothing: the stream stays and waits, as for a quiet source. With `--until-idle` it ends.
    Wait,
}

/// What is wrong with `spec`, which stands at `path` in the document.
pub fn problems(spec: &SourceSpec, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(rate) = spec.rate
        && !(rate > 0.0 && rate.is_finite())
    {
        problems.push(Problem::at(format!("{path}.rate")).found(rate.to_string()).expected("rows per second, above 0"));
    }
    match (&spec.columns, &spec.alerts) {
        (Some(columns), None) => columns.problems(&format!("{path}.columns"), &mut problems),
        (None, Some(alerts)) => problems.extend(alerts::problems(alerts, &format!("{path}.alerts"))),
        (both, _) => {
            let found = if both.is_some() { "both" } else { "neither" };
            let hint = "write `alerts: {}`, or `columns: {n: {sequence: {}}}`";
            problems.push(Problem::at(path).found(found).expected("one of `columns` and `alerts`").hint(hint));
        }
    }
    problems
}

/// The schema of the rows, as far as this source knows it: alerts are decoded by a format, from
/// [`alerts::schema_json`], and have `None` here.
pub fn schema(spec: &SourceSpec, path: &str) -> Result<Option<SchemaRef>, Vec<Problem>> {
    let problems = problems(spec, path);
    if problems.is_empty() {
        Ok(spec.columns.as_ref().map(|columns| Arc::new(Schema::new(columns.fields()))))
    } else {
        Err(problems)
    }
}

/// Opens the source. Of `columns`, those that `open.schema` names are made.
pub fn source(spec: &SourceSpec, open: &OpenSource) -> Result<Box<dyn Source>, Error> {
    let stands = match &open.position {
        Some(position) => Stands::deserialize(&position.0).map_err(|error| {
            Error::House(format!(
                "source {}: the stored position {} can't be understood: {error}",
                open.name, position.0
            ))
        })?,
        // Half the range, so that every reader of JSON can hold it.
        None => Stands { row: 0, seed: spec.seed.unwrap_or_else(|| fastrand::u64(..1 << 53)) },
    };
    let makes = match (&spec.columns, &spec.alerts) {
        (Some(columns), _) => {
            let maker = Maker::new(columns, &open.schema, stands.seed).map_err(Error::arrow("prepare made-up rows"))?;
            Makes::Columns(Box::new(maker))
        }
        (None, alerts) => {
            let alerts = Alerts::new(&alerts.clone().unwrap_or_default(), stands.seed);
            Makes::Alerts(Box::new(alerts))
        }
    };
    let clock = open.world.clock.clone();
    let pace = spec.rate.map(|rate| Pace::new(rate, clock.elapsed()));
    let waits = spec.then == Then::Wait && !open.until_idle;
    Ok(Box::new(Generate { makes, stands, total: spec.total, waits, pace, clock, input: "generate".into() }))
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Stands {
    /// The number of the next row.
    row: u64,
    seed: u64,
}

struct Generate {
    makes: Makes,
    stands: Stands,
    total: Option<u64>,
    /// Whether it stays after the last row.
    waits: bool,
    pace: Option<Pace>,
    clock: Clock,
    input: Arc<str>,
}

enum Makes {
    Columns(Box<Maker>),
    Alerts(Box<Alerts>),
}

impl Source for Generate {
    fn read(&mut self, limit: Limit) -> Result<Read, Error> {
        let left = self.total.map_or(u64::MAX, |total| total.saturating_sub(self.stands.row));
        if left == 0 {
            return Ok(if self.waits { Read::Idle { again: None } } else { Read::End });
        }
        let now = if self.pace.is_some() { self.clock.elapsed() } else { Duration::ZERO };
        let due = match self.pace.as_mut().map(|pace| pace.due(now)) {
            Some(Err(again)) => return Ok(Read::Idle { again: Some(again) }),
            Some(Ok(due)) => due,
            None => u64::MAX,
        };
        let count = usize::try_from(due.min(left)).unwrap_or(usize::MAX).min(limit.rows).max(1);
        let origin = Origin { input: Arc::clone(&self.input), offset: self.stands.row };
        let (rows, read) = match &mut self.makes {
            Makes::Columns(maker) => {
                let count = count.min(limit.bytes / maker.row_bytes()).max(1);
                let rows = maker.rows(self.stands.row, count).map_err(Error::arrow("make rows up"))?;
                (count as u64, Read::Columns(rows, origin))
            }
            Makes::Alerts(alerts) => {
                let chunk = chunk(alerts, count, limit.bytes, origin);
                (chunk.len() as u64, Read::Chunk(chunk))
            }
        };
        self.stands.row += rows;
        if let Some(pace) = &mut self.pace {
            pace.took(rows, due, now);
        }
        Ok(read)
    }

    fn position(&self) -> Position {
        Position(serde_json::json!({"row": self.stands.row, "seed": self.stands.seed}))
    }

    fn lag(&self) -> Option<u64> {
        self.total.map(|total| total.saturating_sub(self.stands.row))
    }
}

/// At most `count` alerts in at most `bytes`, at least one.
fn chunk(alerts: &mut Alerts, count: usize, bytes: usize, origin: Origin) -> Chunk {
    let most = alerts.bytes_max();
    let bytes = bytes.min(u32::MAX as usize);
    let count = count.min(bytes / most).max(1);
    let mut out = Vec::with_capacity(count * most);
    let mut ends = Vec::with_capacity(count);
    for row in (origin.offset..).take(count) {
        alerts.write(row, &mut out);
        ends.push(u32::try_from(out.len()).unwrap_or(u32::MAX));
    }
    Chunk {
        bytes: Bytes::from(out),
        ends: Ends::At { ends, bytes: false },
        header: None,
        origins: vec![(0, origin)],
        beside: None,
    }
}

/// A moment in a document, written as RFC 3339: `2026-01-01T00:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Moment(i64);

impl Moment {
    /// From microseconds since 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970.
    pub const fn micros(self) -> i64 {
        self.0
    }
}

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match DateTime::parse_from_rfc3339(&text) {
            Ok(moment) => Ok(Self(moment.timestamp_micros())),
            Err(error) => Err(format!("`{text}` is no moment like 2026-01-01T00:00:00Z: {error}")),
        }
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.to_string()
    }
}

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let moment = DateTime::<Utc>::from_timestamp_micros(self.0).unwrap_or_default();
        f.write_str(&moment.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

#[cfg(test)]
mod tests;
