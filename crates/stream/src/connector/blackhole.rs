//! Takes rows and drops them. For measuring all that comes before a sink.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BadRow, Batch, Error, Sink, Token};

/// Drops every row. For measuring what comes before, or for a stream that only fills its quarantine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SinkSpec {}

/// Opens the sink.
pub fn sink() -> Box<dyn Sink> {
    Box::new(Blackhole { rows: 0 })
}

struct Blackhole {
    rows: u64,
}

impl Sink for Blackhole {
    fn write(&mut self, batch: &Batch) -> Result<Vec<BadRow>, Error> {
        self.rows += batch.columns.num_rows() as u64;
        Ok(Vec::new())
    }

    fn prepare(&mut self, sequence: u64) -> Result<Option<Token>, Error> {
        tracing::debug!(sequence, rows = self.rows, "dropped");
        Ok(None)
    }

    fn publish(&mut self, _: &Token) -> Result<(), Error> {
        Ok(())
    }

    fn sweep(&mut self, _: Option<&Token>) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_all_and_keeps_nothing() {
        let mut sink = sink();
        assert_eq!(sink.write(&crate::exercise::rows(0..10)).unwrap(), []);
        assert_eq!((sink.prepare(1).unwrap(), sink.bytes_written()), (None, 0));
    }
}
