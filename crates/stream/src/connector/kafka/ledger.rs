//! The ledger in Kafka.

use std::collections::BTreeMap;
use std::fmt;

use super::SinkSpec;
use crate::ledger::{Books, StreamRecord};
use crate::{Error, Ledger, Record, World};

/// The topics of a stream's ledger, and how they are reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// The sink that hosts it.
    pub(crate) sink: SinkSpec,
    /// `<namespace>.<name>` of the stream.
    pub(crate) stream: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topics _headwater.{}* at {}", self.stream, self.sink.connection().brokers())
    }
}

/// A stream's books in Kafka.
pub(crate) struct KafkaBooks {
    place: Place,
}

impl KafkaBooks {
    /// Connects.
    pub(crate) fn open(place: &Place, _: &World) -> Result<Self, Error> {
        Ok(Self { place: place.clone() })
    }
}

impl Books for KafkaBooks {
    fn stream(&self) -> Result<Option<StreamRecord>, Error> {
        Err(Error::House(format!("no ledger in {} yet", self.place)))
    }
    fn create_stream(&self, _: &StreamRecord) -> Result<(), Error> {
        Ok(())
    }
    fn write_stream(&self, _: &StreamRecord) -> Result<(), Error> {
        Ok(())
    }
    fn records(&self) -> Result<BTreeMap<String, Record>, Error> {
        Ok(BTreeMap::new())
    }
    fn holder(&self) -> Result<Option<(String, String)>, Error> {
        Ok(None)
    }
    fn put_aside(&self, _: &str) -> Result<Option<String>, Error> {
        Ok(None)
    }
    fn ledger(&self, _: &str, _: &str) -> Result<Box<dyn Ledger>, Error> {
        Err(Error::House(format!("no ledger in {} yet", self.place)))
    }
}
