//! Streams written as programs: sources, steps and sinks that the library doesn't know.

use std::sync::Arc;

use arrow::array::{AsArray as _, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use stream::connector::{SinkSpec, files, stdout};
use stream::format::{FormatSpec, Name};
use stream::program::Program;
use stream::{
    Chunk, Ends, Error, Limit, Nature, OpenSource, Origin, Position, Read, Reason, ReasonCode, Rows, Source, Step,
    Stepped, exercise,
};

use crate::support::{Place, control, quarantine};

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

/// Numbers from zero up to, and not with, `end`.
pub(crate) struct Count {
    next: i64,
    end: i64,
}

impl Count {
    pub(crate) fn open(open: &OpenSource, end: i64) -> Self {
        Self { next: open.position.as_ref().and_then(|position| position.0.as_i64()).unwrap_or(0), end }
    }
}

impl Source for Count {
    fn read(&mut self, limit: Limit) -> Result<Read, Error> {
        let to = self.end.min(self.next + i64::try_from(limit.rows).unwrap().min(10));
        if to == self.next {
            return Ok(Read::End);
        }
        let numbers = Int64Array::from_iter_values(self.next..to);
        let origin = Origin { input: "count".into(), offset: self.next.cast_unsigned() };
        self.next = to;
        Ok(Read::Columns(RecordBatch::try_new(schema(), vec![Arc::new(numbers)]).unwrap(), origin))
    }

    fn position(&self) -> Position {
        Position(self.next.into())
    }
}

/// Squares; fails where a number is unlucky.
struct Square;

impl Step for Square {
    fn run(&mut self, _: usize, columns: &RecordBatch) -> Result<Stepped, Reason> {
        let numbers = columns.column(0).as_primitive::<Int64Type>();
        if numbers.values().contains(&13) {
            return Err(Reason::new(ReasonCode::Evaluation, "13 is unlucky"));
        }
        let squares: Int64Array = numbers.iter().map(|n| n.map(|n| n * n)).collect();
        Ok(Stepped { columns: RecordBatch::try_new(schema(), vec![Arc::new(squares)]).unwrap(), rows: Rows::Same })
    }
}

fn files_sink() -> SinkSpec {
    let files = files::SinkSpec { url: "out".into(), ..files::SinkSpec::default() };
    SinkSpec { files: Some(files), format: Some(FormatSpec::Name(Name::Json)), ..SinkSpec::default() }
}

#[test]
fn own_source_and_step_run_with_all_that_a_document_gets() {
    let place = Place::new();
    let plan = Program::new("squares", place.folder.path())
        .source("count", schema(), Nature::Replayable, |open| Ok(Count::open(&open, 40)))
        .step("square", &["count"], schema(), |_| Ok(Square))
        .sql("large", &["square"], "SELECT n FROM square WHERE n >= 100")
        .sink("out", &["large"], &files_sink())
        .plan()
        .unwrap();
    let report = stream::run(plan.clone(), &place.world(), &control()).unwrap();
    let squares = |from: u64, to: u64| (from..to).filter(|n| *n != 13).map(|n| n * n).collect::<Vec<_>>();
    assert_eq!(place.numbers("out"), squares(10, 40));
    assert_eq!((report.counts.quarantined, report.counts.parts["square"].rows_out), (1, 39));
    let entry = quarantine(&plan).remove(0);
    assert_eq!((entry.part.as_str(), entry.message.as_str(), entry.origin.offset), ("square", "13 is unlucky", 13));
    // The next run has nothing to do.
    assert_eq!(stream::run(plan, &place.world(), &control()).unwrap().counts.parts["count"].rows_in, 0);
    exercise::step(|| Box::new(Square), 0, &exercise_rows());
}

fn exercise_rows() -> RecordBatch {
    RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from_iter_values(20..30))]).unwrap()
}

/// One message, then the end.
struct Once(Option<Bytes>);

impl Source for Once {
    fn read(&mut self, _: Limit) -> Result<Read, Error> {
        let origin = Origin { input: "once".into(), offset: 0 };
        let chunk = |bytes| Chunk { bytes, ends: Ends::Lines, header: None, origins: vec![(0, origin)], beside: None };
        Ok(self.0.take().map_or(Read::End, |bytes| Read::Chunk(chunk(bytes))))
    }

    fn position(&self) -> Position {
        Position(self.0.is_none().into())
    }
}

#[test]
fn own_messages_are_decoded_by_a_format_of_ours() {
    let place = Place::new();
    let plan = Program::new("messages", place.folder.path())
        .messages("lines", schema(), Nature::Ephemeral, &FormatSpec::Name(Name::Json), |_| {
            Ok(Once(Some(Bytes::from_static(b"{\"n\":1}\nno\n{\"n\":2}\n"))))
        })
        .sink("out", &["lines"], &files_sink())
        .plan()
        .unwrap();
    place.run_plan(plan.clone()).unwrap();
    assert_eq!(place.numbers("out"), [1, 2]);
    assert_eq!(quarantine(&plan)[0].payload().unwrap(), b"no");
}

#[test]
fn all_that_is_wrong_with_a_program_is_told_at_once() {
    let open = |open: OpenSource| Ok(Count::open(&open, 1));
    let out = SinkSpec { stdout: Some(stdout::SinkSpec::default()), ..SinkSpec::default() };
    let wrong = Program::new("wrong", ".")
        .source("count", schema(), Nature::Replayable, open)
        .source("count", schema(), Nature::Replayable, open)
        .source("2nd", schema(), Nature::Replayable, open)
        .sql("bad", &["count"], "SELECT m FROM count")
        .sql("lost", &["nobody"], "SELECT n FROM nobody")
        .sink("out", &["count", "gone"], &out)
        .sink("none", &[], &out);
    let problems = wrong.plan().err().unwrap();
    let found = problems.iter().map(|problem| format!("{}: {}", problem.path, problem.found));
    let found: Vec<String> = found.collect();
    assert_eq!(
        problems[2].within.as_ref().map(|within| (within.line, within.column, within.end_column)),
        Some((1, 8, 9))
    );
    assert_eq!(
        found,
        [
            "count: a second part of this name",
            "2nd: the name `2nd`",
            "bad.sql: column `m`",
            "lost: no part named `nobody`",
            "out: no part named `gone`",
            "none: no input",
        ]
    );
    let error = Program::new("empty", ".").run().unwrap_err();
    assert_eq!(error.blame(), stdx::Blame::Document);
    assert!(error.to_string().contains("at least one source and one sink"), "{error}");
}
