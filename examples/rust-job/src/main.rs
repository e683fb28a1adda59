//! A job as a program: ingest, process, emit. `cargo run -p rust-job` counts down on standard output.
//!
//! Where it stands is in `.headwater/` of the folder that is given (by default this one): a second run has nothing to do.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, SchemaRef};
use stream::connector::{SinkSpec, stdout};
use stream::program::Program;
use stream::{Error, Limit, Nature, Origin, Position, Read, Reason, Rows, Source, Step, Stepped};

/// Ingest: the numbers from the one it holds down to 1.
struct Countdown(i64);

impl Source for Countdown {
    fn read(&mut self, limit: Limit) -> Result<Read, Error> {
        let count = self.0.min(i64::try_from(limit.rows).unwrap_or(i64::MAX));
        let origin = Origin { input: "countdown".into(), offset: self.0.unsigned_abs() };
        let numbers = Int64Array::from_iter_values((self.0 - count + 1..=self.0).rev());
        self.0 -= count;
        Ok(if count == 0 { Read::End } else { Read::Columns(batch("n", Arc::new(numbers)), origin) })
    }

    fn position(&self) -> Position {
        Position(self.0.into())
    }
}

/// Process: each number as words.
struct Words;

impl Step for Words {
    fn run(&mut self, _from: usize, columns: &RecordBatch) -> Result<Stepped, Reason> {
        let numbers = columns.column(0).as_primitive::<Int64Type>().values();
        let words = StringArray::from_iter_values(numbers.iter().map(|n| format!("{n} to go")));
        Ok(Stepped { columns: batch("words", Arc::new(words)), rows: Rows::Same })
    }
}

fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let standard_output = SinkSpec { stdout: Some(stdout::SinkSpec::default()), ..SinkSpec::default() };
    Program::new("countdown", folder)
        .source("numbers", columns("n", Int64Array::from(vec![0])), Nature::Replayable, |open| {
            Ok(Countdown(open.position.and_then(|position| position.0.as_i64()).unwrap_or(10)))
        })
        .step("words", &["numbers"], columns("words", StringArray::from(vec![""])), |_| Ok(Words))
        .sink("out", &["words"], &standard_output)
        .run()?;
    Ok(())
}

/// One column under a name.
fn batch(name: &str, column: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter([(name, column)]).expect("one column is as long as itself")
}

/// What such a batch looks like.
fn columns(name: &str, column: impl arrow::array::Array + 'static) -> SchemaRef {
    batch(name, Arc::new(column)).schema()
}
