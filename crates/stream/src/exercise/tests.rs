//! The exercises pass on parts in memory that keep the promises, and fail on parts that break one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::*;
use arrow::array::UInt32Array;

use crate::{BadRow, Error, Reason, ReasonCode, Sink, Stepped, Token};

/// A server in memory.
#[derive(Default)]
struct Server {
    visible: Vec<String>,
    staged: BTreeMap<String, Vec<String>>,
}

type Shared = Arc<Mutex<Server>>;

fn visible(server: &Shared) -> Vec<String> {
    server.lock().unwrap().visible.clone()
}

/// A sink that stages under its claim.
struct Staged {
    server: Shared,
    claim: u64,
    parts: u64,
    rows: Vec<String>,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    SweepsHigherClaims,
    SweepsWhatIsKept,
    PublishesTwice,
}

fn staged(server: &Shared, claim: u64, fault: Option<Fault>) -> Box<dyn Sink> {
    Box::new(Staged { server: Arc::clone(server), claim, parts: 0, rows: Vec::new(), fault })
}

impl Sink for Staged {
    fn write(&mut self, batch: &Batch) -> Result<Vec<BadRow>, Error> {
        self.rows.extend(texts(&batch.columns));
        Ok(Vec::new())
    }

    fn prepare(&mut self, _: u64) -> Result<Option<Token>, Error> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        self.parts += 1;
        let name = format!("{:03}-{}", self.claim, self.parts);
        self.server.lock().unwrap().staged.insert(name.clone(), std::mem::take(&mut self.rows));
        Ok(Some(Token(name.into())))
    }

    fn publish(&mut self, token: &Token) -> Result<(), Error> {
        let mut server = self.server.lock().unwrap();
        let name = token.0.as_str().unwrap();
        let rows = match self.fault {
            Some(Fault::PublishesTwice) => server.staged.get(name).cloned(),
            _ => server.staged.remove(name),
        };
        server.visible.extend(rows.unwrap_or_default());
        Ok(())
    }

    fn sweep(&mut self, keep: Option<&Token>) -> Result<(), Error> {
        let keeps = |name: &str| keep.is_some_and(|keep| keep.0 == name) && self.fault != Some(Fault::SweepsWhatIsKept);
        let higher = |name: &str| name[..3].parse::<u64>().unwrap() >= self.claim;
        let spares = |name: &str| keeps(name) || (higher(name) && self.fault != Some(Fault::SweepsHigherClaims));
        self.server.lock().unwrap().staged.retain(|name, _| spares(name));
        Ok(())
    }
}

/// Whether the exercise found a broken promise.
fn fails(exercise: impl FnOnce()) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(exercise)).is_err()
}

#[test]
fn a_staged_sink_passes_and_each_fault_is_found_out() {
    let run = |fault| {
        let server = Shared::default();
        sink(|claim| staged(&server, claim, fault), || visible(&server));
    };
    run(None);
    for fault in [Fault::SweepsHigherClaims, Fault::SweepsWhatIsKept, Fault::PublishesTwice] {
        assert!(fails(|| run(Some(fault))));
    }
}

/// Lines of whole numbers, and what to do with those that are none.
struct Numbers {
    forgets_bad: bool,
}

impl Decode for Numbers {
    fn decode(&mut self, chunk: &Chunk, from: usize) -> Result<Decoded, Error> {
        let (mut numbers, mut picked, mut bad) = (Vec::<i64>::new(), Vec::new(), Vec::new());
        let ranges = chunk.ranges();
        for (message, (start, end)) in (0..).zip(&ranges).skip(from) {
            match std::str::from_utf8(&chunk.bytes[*start..*end]).unwrap().parse() {
                Ok(number) => {
                    numbers.push(number);
                    picked.push(message);
                }
                Err(_) if self.forgets_bad => {}
                Err(_) => bad.push(BadRow { row: message, reason: Reason::new(ReasonCode::Malformed, "no number") }),
            }
        }
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, false)]);
        let columns = RecordBatch::try_new(schema.into(), vec![Arc::new(Int64Array::from(numbers))]).unwrap();
        Ok(Decoded { columns, messages: Rows::Picked(picked.into()), bad, next: ranges.len(), wider: None })
    }
}

impl Encode for Numbers {
    fn encode(&mut self, columns: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        for row in row_texts(columns) {
            out.extend_from_slice(row.strip_prefix("n=").unwrap().as_bytes());
            out.push(b'\n');
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<u8>) -> Result<(), Error> {
        Ok(())
    }
}

fn messages() -> Messages {
    let bytes = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    Messages { lines: true, header: None, good: bytes(&["1", "22", "-3"]), bad: bytes(&["x", "1.5"]) }
}

#[test]
fn a_decoder_passes_and_one_that_drops_messages_is_found_out() {
    decode(|| Box::new(Numbers { forgets_bad: false }), &messages());
    assert!(fails(|| decode(|| Box::new(Numbers { forgets_bad: true }), &messages())));
}

#[test]
fn an_encoder_passes_and_a_wrong_reader_is_found_out() {
    let read = |bytes: &[u8]| {
        let bytes = Bytes::copy_from_slice(bytes);
        let chunk = Chunk {
            bytes,
            ends: Ends::Lines,
            header: None,
            origins: vec![(0, Origin { input: "x".into(), offset: 0 })],
            beside: None,
        };
        vec![Numbers { forgets_bad: false }.decode(&chunk, 0).unwrap().columns]
    };
    let columns = read(b"1\n2\n3\n").remove(0);
    encode(|_| Box::new(Numbers { forgets_bad: false }), read, &columns);
    assert!(fails(|| encode(|_| Box::new(Numbers { forgets_bad: false }), |_| Vec::new(), &columns)));
}

/// Keeps rows with odd numbers.
struct Odd {
    /// A fault on purpose: says that each row is made of the one before.
    shifted: bool,
}

impl Step for Odd {
    fn run(&mut self, _: usize, columns: &RecordBatch) -> Result<Stepped, Reason> {
        let numbers = columns.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
        let mut picked: Vec<u32> =
            (0..).zip(numbers.values()).filter(|(_, n)| *n % 2 == 1).map(|(row, _)| row).collect();
        let columns = arrow::compute::take_record_batch(columns, &UInt32Array::from(picked.clone())).unwrap();
        if self.shifted {
            picked = picked.into_iter().map(|row| row.saturating_sub(1)).collect();
        }
        Ok(Stepped { columns, rows: Rows::Picked(picked.into()) })
    }
}

#[test]
fn a_step_passes_and_one_that_misnames_rows_is_found_out() {
    let batch = rows(0..10);
    let odd = step(|| Box::new(Odd { shifted: false }), 0, &batch.columns);
    assert_eq!(texts(&odd), ["row-1", "row-3", "row-5", "row-7", "row-9"]);
    assert!(fails(|| drop(step(|| Box::new(Odd { shifted: true }), 0, &batch.columns))));
}
