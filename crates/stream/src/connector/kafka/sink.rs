//! Rows into topics, in transactions that also hold the task's record.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};

use super::connection::{Connection, Role};
use super::ledger::{KafkaLedger, Place, task_index};
use super::producer::{Fault, Message, Producer, Sent};
use super::topics::Target;
use super::values::{Values, Written, at, unwritable};
use super::{Delivery, Partitioner, SinkSpec, TopicSpec};
use crate::format::Encode;
use crate::memory::Lease;
use crate::{BadRow, Batch, Error, Ledger, OpenSink, Reason, Sink, Token};

/// Opens the sink of one task.
pub(crate) fn sink(spec: &SinkSpec, written: Written, open: OpenSink) -> Result<Box<dyn Sink>, Error> {
    let connection = spec.connection();
    let fixed = match &spec.topic {
        TopicSpec::Expression(_) => None,
        TopicSpec::Name(name) => Some(written.topics.find(name, spec, &connection, &open.world)?.ok_or_else(|| {
            let reason = format!("there is no topic `{name}`; make it, or let `create` make it");
            Error::Kafka { verb: "write to".into(), brokers: connection.brokers(), reason }
        })?),
    };
    let mut settings = spec.settings();
    settings.extend(written.topics.settings(spec));
    let out = match spec.delivery {
        Delivery::ExactlyOnce => {
            let place = Place { sink: spec.clone(), stream: open.stream.as_ref().to_owned() };
            Out::Hosted(Box::new(KafkaLedger::open(&place, &open.task, &open.uid, &settings, &open.world)?))
        }
        Delivery::AtLeastOnce => {
            let limit = spec.transaction_timeout.0.get();
            Out::Direct(Producer::open(&connection, &Role::Produce, &settings, limit, &open.world)?)
        }
    };
    Ok(Box::new(KafkaSink {
        batch_bytes: written.topics.batch_bytes(spec),
        spec: spec.clone(),
        connection,
        written,
        index: task_index(&open.task),
        fixed,
        found: HashMap::new(),
        out,
        shape: None,
        values: Vec::new(),
        ends: Vec::new(),
        queued_bytes: 0,
        bytes_written: 0,
        lease: open.world.pool.lease(),
        open,
    }))
}

/// Where messages go.
enum Out {
    /// Into the transactions of the task's ledger.
    Hosted(Box<KafkaLedger>),
    /// To their readers at once.
    Direct(Producer),
}

impl Out {
    fn producer(&mut self) -> &mut Producer {
        match self {
            Self::Hosted(ledger) => ledger.producer(),
            Self::Direct(producer) => producer,
        }
    }
}

/// An encoder, and the columns that it is given.
struct Shape {
    schema: SchemaRef,
    kept: Vec<usize>,
    encode: Box<dyn Encode>,
}

struct KafkaSink {
    spec: SinkSpec,
    connection: Connection,
    written: Written,
    open: OpenSink,
    index: u32,
    fixed: Option<Arc<Target>>,
    /// The topics that rows named so far.
    found: HashMap<String, Arc<Target>>,
    out: Out,
    /// The batch that the producer was opened for.
    batch_bytes: usize,
    shape: Option<Shape>,
    values: Vec<u8>,
    ends: Vec<u32>,
    /// What was handed to the client since nothing waited in it.
    queued_bytes: usize,
    bytes_written: u64,
    lease: Lease,
}

impl KafkaSink {
    /// Writes rows; where an expression fails, halves them until those that fail stand alone.
    fn put(&mut self, rows: &RecordBatch, first: usize, bad: &mut Vec<BadRow>) -> Result<(), Error> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        match Values::of(&self.written, rows, &self.open.schema) {
            Ok(values) => self.put_all(rows, &values, first, bad),
            Err(reason) if rows.num_rows() == 1 => {
                bad.push(BadRow { row: number(first), reason });
                Ok(())
            }
            Err(_) => {
                let half = rows.num_rows() / 2;
                self.put(&rows.slice(0, half), first, bad)?;
                self.put(&rows.slice(half, rows.num_rows() - half), first + half, bad)
            }
        }
    }

    fn put_all(
        &mut self,
        rows: &RecordBatch,
        values: &Values,
        first: usize,
        bad: &mut Vec<BadRow>,
    ) -> Result<(), Error> {
        self.fit(rows.schema_ref())?;
        let Some(shape) = &mut self.shape else { return Err(Error::House("a sink without a shape".into())) };
        let columns = rows.project(&shape.kept).map_err(Error::arrow("leave out columns"))?;
        let (mut bytes, mut ends) = (std::mem::take(&mut self.values), std::mem::take(&mut self.ends));
        bytes.clear();
        ends.clear();
        shape.encode.messages(&columns, &mut bytes, &mut ends)?;
        if ends.len() != rows.num_rows() {
            return Err(Error::House(format!("{} rows became {} messages", rows.num_rows(), ends.len())));
        }
        let mut start = 0;
        for (row, end) in ends.iter().enumerate() {
            let value = &bytes[start..*end as usize];
            start = *end as usize;
            let is_tombstone = self.spec.tombstones && columns.columns().iter().all(|column| column.is_null(row));
            let refused = self.put_row(values, row, (!is_tombstone).then_some(value))?;
            bad.extend(refused.map(|reason| BadRow { row: number(first + row), reason }));
        }
        (self.values, self.ends) = (bytes, ends);
        Ok(())
    }

    /// Sends one message, or tells why it can't be.
    fn put_row(&mut self, values: &Values, row: usize, value: Option<&[u8]>) -> Result<Option<Reason>, Error> {
        let target = match self.target(at(values.topic.as_ref(), row))? {
            Ok(target) => target,
            Err(reason) => return Ok(Some(reason)),
        };
        let key = at(values.key.as_ref(), row);
        let mut bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
        let mut headers: Option<OwnedHeaders> = None;
        for ((name, _), values) in self.written.headers.iter().zip(&values.headers) {
            let Some(value) = at(Some(values), row) else { continue };
            // Lengths go with each.
            bytes += name.len() + value.len() + 10;
            let all = headers.take().unwrap_or_else(|| OwnedHeaders::new_with_capacity(self.written.headers.len()));
            headers = Some(all.insert(Header { key: name, value: Some(value) }));
        }
        if let Some(why) = target.refuses(bytes, key.is_some()) {
            return Ok(Some(unwritable(why)));
        }
        let partition = match self.spec.partitioner {
            Partitioner::Task => i32::try_from(self.index % target.partitions.max(1)).ok(),
            Partitioner::Murmur2 | Partitioner::Crc32 => None,
        };
        let message = Message { topic: &target.name, partition, key, value, headers };
        let sent = match &mut self.out {
            Out::Hosted(ledger) => ledger.producer().begin().and_then(|()| ledger.producer().send(message)),
            Out::Direct(producer) => producer.send(message),
        };
        match sent.map_err(|fault| self.failed(fault))? {
            Sent::Queued => {
                self.bytes_written += bytes as u64;
                self.queued_bytes += bytes;
                Ok(None)
            }
            Sent::Refused(RDKafkaErrorCode::MessageSizeTooLarge) => {
                Ok(Some(unwritable(format!("too long: the message has {bytes} bytes"))))
            }
            Sent::Refused(code) => {
                self.found.clear();
                Err(self.refused(&target, &format!("{code}")))
            }
        }
    }

    /// The topic of a row whose expression gave `name`.
    fn target(&mut self, name: Option<&[u8]>) -> Result<Result<Arc<Target>, Reason>, Error> {
        if let Some(fixed) = &self.fixed {
            return Ok(Ok(Arc::clone(fixed)));
        }
        let Some(name) = name else { return Ok(Err(unwritable("`topic` is null"))) };
        let Ok(name) = std::str::from_utf8(name) else { return Ok(Err(unwritable("`topic` is no text"))) };
        if let Some(target) = self.found.get(name) {
            return Ok(Ok(Arc::clone(target)));
        }
        let found = self.written.topics.find(name, &self.spec, &self.connection, &self.open.world)?;
        let Some(target) = found else { return Ok(Err(unwritable(format!("there is no topic `{name}`")))) };
        if self.written.topics.batch_bytes(&self.spec) < self.batch_bytes {
            return Err(self.refused(&target, "it takes smaller batches than those that came before: opening again"));
        }
        self.found.insert(name.to_owned(), Arc::clone(&target));
        Ok(Ok(target))
    }

    fn refused(&self, target: &Target, why: &str) -> Error {
        let reason = format!("topic {}: {why}", target.name);
        Error::Kafka { verb: "write to".into(), brokers: self.connection.brokers(), reason }
    }

    /// Opens an encoder for rows of `schema`, unless there is one.
    fn fit(&mut self, schema: &SchemaRef) -> Result<(), Error> {
        if self.shape.as_ref().is_some_and(|shape| shape.schema == *schema) {
            return Ok(());
        }
        let fields = schema.fields().iter().enumerate();
        let kept: Vec<usize> =
            fields.filter(|(_, field)| !self.spec.without.contains(field.name())).map(|(index, _)| index).collect();
        let columns: SchemaRef =
            Arc::new(Schema::new(kept.iter().map(|index| schema.fields()[*index].clone()).collect::<Vec<_>>()));
        let encode = (self.written.encode)(&columns)?;
        self.shape = Some(Shape { schema: Arc::clone(schema), kept, encode });
        Ok(())
    }

    fn failed(&mut self, fault: Fault) -> Error {
        if let Some(undelivered) = self.out.producer().undelivered() {
            self.written.topics.learn(&undelivered);
        }
        match &self.out {
            Out::Hosted(ledger) => ledger.explain(fault),
            Out::Direct(_) => fault.error,
        }
    }

    fn deliver(&mut self) -> Result<(), Error> {
        let delivered = self.out.producer().deliver();
        delivered.map_err(|fault| self.failed(fault))?;
        self.queued_bytes = 0;
        self.lease.set(0);
        Ok(())
    }
}

impl Sink for KafkaSink {
    fn write(&mut self, batch: &Batch) -> Result<Vec<BadRow>, Error> {
        let mut bad = Vec::new();
        self.put(&batch.columns, 0, &mut bad)?;
        self.flush()?;
        if !self.lease.set(self.queued_bytes) {
            self.deliver()?;
        }
        Ok(bad)
    }

    fn flush(&mut self) -> Result<(), Error> {
        let served = self.out.producer().serve();
        served.map_err(|fault| self.failed(fault))?;
        if self.out.producer().is_idle() {
            self.queued_bytes = 0;
            self.lease.set(0);
        }
        Ok(())
    }

    fn prepare(&mut self, _: u64) -> Result<Option<Token>, Error> {
        self.deliver()?;
        Ok(None)
    }

    fn publish(&mut self, _: &Token) -> Result<(), Error> {
        Ok(())
    }

    fn sweep(&mut self, _: Option<&Token>) -> Result<(), Error> {
        Ok(())
    }

    fn ledger(&mut self) -> Option<&mut dyn Ledger> {
        match &mut self.out {
            Out::Hosted(ledger) => Some(ledger.as_mut()),
            Out::Direct(_) => None,
        }
    }

    fn bytes_written(&self) -> u64 {
        self.bytes_written
    }
}

fn number(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
