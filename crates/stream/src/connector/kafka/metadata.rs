//! What a cluster tells of topics: partitions, and the offsets where reading begins and ends; and the columns that tell
//! where a message came from.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use document::Problem;

use super::SourceSpec;
use crate::ledger::Starts;
use crate::{Error, World};

/// The schema of rows whose values have the columns of `value`: with `metadata`, also the columns that tell of the
/// message, and all of the value's may be null.
pub(crate) fn with_metadata(_: &SourceSpec, value: &SchemaRef, _: &str) -> Result<SchemaRef, Problem> {
    Ok(SchemaRef::clone(value))
}

/// The part of `schema` that messages' values hold.
pub(crate) fn without_metadata(_: &SourceSpec, schema: &SchemaRef) -> SchemaRef {
    SchemaRef::clone(schema)
}

/// The topics that the source reads, and how many partitions each has. A topic that is named and not there is an error.
pub(crate) fn partitions(_: &SourceSpec, _: &World) -> Result<BTreeMap<String, u32>, Error> {
    Ok(BTreeMap::new())
}

/// Where each of `partitions` begins by the source's `start`.
pub(crate) fn starts(_: &SourceSpec, _: &BTreeMap<String, u32>, _: &World) -> Result<Starts, Error> {
    Ok(Starts::new())
}
