//! Rows into topics, in transactions that also hold the task's record.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::SinkSpec;
use crate::connector::files::EncodeFile;
use crate::{Error, OpenSink, Reason, Sink};

/// The value of an expression for each row.
pub(crate) type Value = Arc<dyn Fn(&RecordBatch) -> Result<ArrayRef, Reason> + Send + Sync>;

/// What a sink writes.
#[derive(Clone)]
pub(crate) struct Written {
    /// Makes an encoder of messages.
    pub(crate) encode: EncodeFile,
    /// The columns that are part of the message.
    pub(crate) columns: SchemaRef,
    /// The topic, where it isn't fixed: text.
    pub(crate) topic: Option<Value>,
    /// The key.
    pub(crate) key: Option<Value>,
    /// Headers.
    pub(crate) headers: Vec<(String, Value)>,
}

/// Opens the sink of one task.
pub(crate) fn sink(_: &SinkSpec, _: Written, _: OpenSink) -> Result<Box<dyn Sink>, Error> {
    Err(Error::House("no Kafka sink yet".into()))
}
