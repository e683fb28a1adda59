//! Rows in, rows out: what `headwater test` runs, without sources, files or ledger.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use arrow::json::reader::infer_json_schema_from_iterator;
use document::Problem;
use serde::Serialize;
use serde_json::Value;
use stdx::{Chain, Clock};

use crate::connector::{SinkSpec, blackhole};
use crate::facts::{Facts, SourceFacts};
use crate::flow::Flow;
use crate::meter::Meters;
use crate::plan::{Plan, plan};
use crate::quarantine::Quarantine;
use crate::spec::{FixtureSpec, Stream};
use crate::{BadRow, Batch, Error, Input, Origin, Payload, Rows, Sink, Token};

/// How a fixture ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The fixture's name.
    pub name: String,
    /// What was not as expected; empty when all was.
    pub differences: Vec<String>,
}

/// Runs all fixtures of a stream. They need nothing of the world.
pub fn run(stream: &Stream, clock: &Clock) -> Result<Vec<Outcome>, Vec<Problem>> {
    let mut problems = Vec::new();
    for (index, fixture) in stream.spec.tests.iter().enumerate() {
        let unknown = |section: &str, names: Vec<&String>, known: Vec<&String>| {
            let unknown = names.into_iter().filter(|name| !known.contains(name)).collect::<Vec<_>>();
            let path = |name| format!("spec.tests[{index}].{section}.{name}");
            let known = known.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            let problem = |name| Problem::at(path(name)).found(format!("`{name}`")).expected(format!("one of {known}"));
            unknown.into_iter().map(problem).collect::<Vec<_>>()
        };
        problems.extend(unknown("given", fixture.given.keys().collect(), stream.spec.sources.keys().collect()));
        problems.extend(unknown("expect", fixture.expect.keys().collect(), stream.spec.sinks.keys().collect()));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let plan = Arc::new(plan_for_fixtures(stream)?);
    Ok(stream.spec.tests.iter().map(|fixture| outcome(fixture, &plan, clock)).collect())
}

/// The plan, with the columns of the given rows and without sinks' own demands.
fn plan_for_fixtures(stream: &Stream) -> Result<Plan, Vec<Problem>> {
    let mut stream = stream.clone();
    for sink in stream.spec.sinks.values_mut() {
        let blackhole = Some(blackhole::SinkSpec::default());
        *sink = SinkSpec { from: sink.from.clone(), blackhole, ..SinkSpec::default() };
    }
    stream.spec.delivery = None;
    let mut facts = Facts::default();
    for source in stream.spec.sources.keys() {
        let rows = stream.spec.tests.iter().filter_map(|fixture| fixture.given.get(source)).flatten();
        let schema = infer_json_schema_from_iterator(rows.map(Ok)).map_err(|error| {
            vec![
                Problem::at("spec.tests")
                    .found(error.to_string())
                    .expected(format!("rows of `{source}` with the same types")),
            ]
        })?;
        facts.sources.insert(source.clone(), SourceFacts { schema: Some(Arc::new(schema)), ..SourceFacts::default() });
    }
    plan(&stream, &facts)
}

fn outcome(fixture: &FixtureSpec, plan: &Arc<Plan>, clock: &Clock) -> Outcome {
    let seen = Seen::default();
    let differences = match feed(fixture, plan, clock, &seen) {
        Ok(put_aside) => {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let sinks = fixture.expect.iter();
            let mut differences: Vec<String> = sinks
                .flat_map(|(sink, expected)| compare(sink, expected, seen.get(sink).map_or(&[], Vec::as_slice)))
                .collect();
            if !differences.is_empty() {
                differences.extend(put_aside);
            }
            differences
        }
        Err(error) => vec![Chain(&error).to_string()],
    };
    Outcome { name: fixture.name.clone(), differences }
}

type Seen = Arc<Mutex<BTreeMap<String, Vec<Value>>>>;

fn feed(fixture: &FixtureSpec, plan: &Arc<Plan>, clock: &Clock, seen: &Seen) -> Result<Vec<String>, Error> {
    let meter = Arc::new(Meters::default().stream(&plan.name));
    let sinks = plan.sinks.iter().enumerate().map(|(number, sink)| {
        let keep: Box<dyn Sink> = Box::new(Keep { name: sink.name.clone(), seen: Arc::clone(seen) });
        (number, keep)
    });
    let mut flow = Flow::new(Arc::clone(plan), sinks.collect(), &meter, clock)?;
    let mut quarantine = Quarantine::in_memory(meter, clock.clone());
    for (number, source) in plan.sources.iter().enumerate() {
        let Some(rows) = fixture.given.get(&source.name).filter(|rows| !rows.is_empty()) else { continue };
        let columns = columns(rows, &source.schema)?;
        let payload = Payload::Columns(columns.clone(), Origin { input: "given".into(), offset: 0 });
        let input = Arc::new(Input { source: source.name.as_str().into(), payload, messages: Rows::Same });
        flow.push(number, &Batch { columns, rows: Rows::Same, input }, &mut quarantine)?;
    }
    let entries = quarantine.into_entries();
    Ok(entries
        .iter()
        .map(|entry| format!("row {} was put aside by `{}`: {}", entry.origin.offset, entry.part, entry.message))
        .collect())
}

fn columns(rows: &[Value], schema: &SchemaRef) -> Result<RecordBatch, Error> {
    let mut decoder = ReaderBuilder::new(Arc::clone(schema))
        .with_batch_size(rows.len())
        .build_decoder()
        .map_err(Error::arrow("open a decoder of given rows"))?;
    let wrong = |error| Error::World(format!("the given rows don't fit together: {error}"));
    decoder.serialize(rows).map_err(wrong)?;
    let batch = decoder.flush().map_err(wrong)?;
    Ok(batch.unwrap_or_else(|| RecordBatch::new_empty(Arc::new(Schema::empty()))))
}

fn compare(sink: &str, expected: &[Value], seen: &[Value]) -> Vec<String> {
    let mut differences = Vec::new();
    for (index, row) in expected.iter().enumerate() {
        match seen.get(index) {
            Some(found) if contains(found, row) => {}
            Some(found) => differences.push(format!("{sink}[{index}]: expected {row}, found {found}")),
            None => differences.push(format!("{sink}[{index}]: expected {row}, found no row")),
        }
    }
    let more = seen.iter().enumerate().skip(expected.len());
    differences.extend(more.map(|(index, found)| format!("{sink}[{index}]: expected no more rows, found {found}")));
    differences
}

/// Whether `found` has all that `expected` names. A field that is missing is null; numbers are compared as numbers.
fn contains(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().all(|(key, value)| contains(found.get(key).unwrap_or(&Value::Null), value))
        }
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len()
                && found.iter().zip(expected).all(|(found, expected)| contains(found, expected))
        }
        (Value::Number(found), Value::Number(expected)) => found == expected || found.as_f64() == expected.as_f64(),
        _ => found == expected,
    }
}

/// A sink that keeps its rows as JSON.
struct Keep {
    name: String,
    seen: Seen,
}

impl Sink for Keep {
    fn write(&mut self, batch: &Batch) -> Result<Vec<BadRow>, Error> {
        let mut writer = arrow::json::ArrayWriter::new(Vec::new());
        writer.write(&batch.columns).and_then(|()| writer.finish()).map_err(Error::arrow("show rows as JSON"))?;
        let rows: Vec<Value> = serde_json::from_slice(&writer.into_inner())
            .map_err(|error| Error::House(format!("rows are shown as broken JSON: {error}")))?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entry(self.name.clone()).or_default().extend(rows);
        Ok(Vec::new())
    }

    fn prepare(&mut self, _sequence: u64) -> Result<Option<Token>, Error> {
        Ok(None)
    }

    fn publish(&mut self, _token: &Token) -> Result<(), Error> {
        Ok(())
    }

    fn sweep(&mut self, _keep: Option<&Token>) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_expected_row_names_only_what_it_cares_for() {
        assert!(contains(&json!({"a": 1, "b": {"c": [1.0, 2]}}), &json!({"b": {"c": [1, 2]}})));
        assert!(contains(&json!({"a": 1}), &json!({"b": null})));
        assert!(!contains(&json!({"a": 1}), &json!({"a": 2})));
        assert_eq!(compare("s", &[json!({"a": 1})], &[json!({"a": 1}), json!({"a": 2})]).len(), 1);
        assert_eq!(compare("s", &[json!({"a": 1})], &[]).len(), 1);
    }
}
