//! Rows to standard output, whole ones only, as they come.

use std::io::{ErrorKind, Write};

use arrow::datatypes::SchemaRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BadRow, Batch, Encode, Error, Sink, Token};

/// Encoded bytes are handed over once they reach this.
const BUFFER_BYTES: usize = 64 << 10;

/// Writes rows to standard output: at least once, since what was printed can't be taken back.
///
/// Rows come out when 64 KiB are together, when the source runs dry and at each commit. When the reader goes away
/// (`| head`), the stream commits and ends in peace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SinkSpec {}

/// Makes an encoder for rows of a schema.
pub type Encoder = Box<dyn Fn(&SchemaRef) -> Result<Box<dyn Encode>, Error> + Send>;

/// Opens the sink. A batch with another schema than the one before gets a new encoder.
pub fn sink(encoder: Encoder) -> Box<dyn Sink> {
    sink_to("standard output", encoder, Box::new(std::io::stdout()))
}

/// Opens the sink on `out`, which errors call `what`.
pub fn sink_to(what: &'static str, encoder: Encoder, out: Box<dyn Write + Send>) -> Box<dyn Sink> {
    Box::new(Stdout { what, encoder, open: None, buffer: Vec::new(), out, closed: false, bytes_written: 0 })
}

struct Stdout {
    what: &'static str,
    encoder: Encoder,
    open: Option<(SchemaRef, Box<dyn Encode>)>,
    /// Whole rows that are not handed over yet.
    buffer: Vec<u8>,
    out: Box<dyn Write + Send>,
    /// The reader has gone, and the runner was told.
    closed: bool,
    bytes_written: u64,
}

impl Stdout {
    fn hand_over(&mut self) -> Result<(), Error> {
        if self.closed || self.buffer.is_empty() {
            self.buffer.clear();
            return Ok(());
        }
        match self.out.write_all(&self.buffer).and_then(|()| self.out.flush()) {
            Ok(()) => {
                self.bytes_written += self.buffer.len() as u64;
                self.buffer.clear();
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                self.buffer.clear();
                Err(self.gone())
            }
            Err(source) => Err(Error::Io { verb: "write", what: self.what.to_owned(), source }),
        }
    }

    fn gone(&self) -> Error {
        Error::Closed(self.what.to_owned())
    }

    fn finish(&mut self) -> Result<(), Error> {
        match self.open.take() {
            Some((_, mut encode)) => encode.finish(&mut self.buffer),
            None => Ok(()),
        }
    }
}

impl Sink for Stdout {
    fn write(&mut self, batch: &Batch) -> Result<Vec<BadRow>, Error> {
        if self.closed {
            return Err(self.gone());
        }
        let schema = batch.columns.schema_ref();
        if self.open.as_ref().is_some_and(|(open, _)| open != schema) {
            self.finish()?;
        }
        let (_, encode) = match &mut self.open {
            Some(open) => open,
            open => open.insert((schema.clone(), (self.encoder)(schema)?)),
        };
        // An encoder that fails may have written half a row: that one never gets out.
        let whole = self.buffer.len();
        if let Err(error) = encode.encode(&batch.columns, &mut self.buffer) {
            self.buffer.truncate(whole);
            return Err(error);
        }
        if self.buffer.len() >= BUFFER_BYTES {
            self.hand_over()?;
        }
        Ok(Vec::new())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.hand_over()
    }

    fn prepare(&mut self, _: u64) -> Result<Option<Token>, Error> {
        self.hand_over().map(|()| None)
    }

    fn publish(&mut self, _: &Token) -> Result<(), Error> {
        Ok(())
    }

    fn sweep(&mut self, _: Option<&Token>) -> Result<(), Error> {
        Ok(())
    }

    fn bytes_written(&self) -> u64 {
        self.bytes_written
    }
}

impl Drop for Stdout {
    /// Writes what must stand at the end, for formats that have such a thing. Rows were handed over at the last
    /// commit; those that came after it are read again, so they don't come out here.
    fn drop(&mut self) {
        self.buffer.clear();
        if self.finish().and_then(|()| self.hand_over()).is_err() {
            tracing::warn!("the end of {} could not be written", self.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::exercise;

    /// Column `text`, a line each.
    struct Lines;

    impl Encode for Lines {
        fn encode(&mut self, columns: &arrow::array::RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
            for row in exercise::texts(columns) {
                out.extend_from_slice(row.as_bytes());
                out.push(b'\n');
            }
            Ok(())
        }

        fn finish(&mut self, _: &mut Vec<u8>) -> Result<(), Error> {
            Ok(())
        }
    }

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines() -> Encoder {
        Box::new(|_| Ok(Box::new(Lines)))
    }

    #[test]
    fn keeps_the_promises_of_a_direct_sink() {
        let screen = Screen::default();
        let visible = || {
            let bytes = screen.0.lock().unwrap();
            String::from_utf8(bytes.clone()).unwrap().lines().map(str::to_owned).collect()
        };
        exercise::direct_sink(sink_to("the screen", lines(), Box::new(screen.clone())), visible);
    }

    #[test]
    fn a_full_buffer_goes_out_without_a_flush() {
        let screen = Screen::default();
        let mut sink = sink_to("the screen", lines(), Box::new(screen.clone()));
        sink.write(&exercise::rows(0..10)).unwrap();
        assert!(screen.0.lock().unwrap().is_empty());
        sink.write(&exercise::rows(10..20_000)).unwrap();
        assert_eq!(screen.0.lock().unwrap().len() as u64, sink.bytes_written());
        assert!(sink.bytes_written() > 64 << 10);
    }

    #[test]
    fn a_reader_that_goes_away_is_told_once_and_then_the_sink_drains() {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut sink = sink_to("the pipe", lines(), Box::new(writer));
        drop(reader);
        sink.write(&exercise::rows(0..10)).unwrap();
        assert!(matches!(sink.flush(), Err(Error::Closed(what)) if what == "the pipe"));
        assert!(matches!(sink.write(&exercise::rows(0..10)), Err(Error::Closed(_))));
        sink.flush().unwrap();
        assert_eq!(sink.prepare(1).unwrap(), None);
    }
}
