//! One consumer for a container, with a queue for each partition.

use super::SourceSpec;

/// A source's consumer, shared by the tasks of a container. It connects when the first task opens its partitions, and
/// goes when the last has closed them.
#[derive(Clone, Debug)]
pub(crate) struct Hub {
    spec: SourceSpec,
}

impl Hub {
    /// A consumer to be.
    pub(crate) fn new(spec: &SourceSpec) -> Self {
        Self { spec: spec.clone() }
    }
}
