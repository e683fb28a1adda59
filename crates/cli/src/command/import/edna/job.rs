//! What a job reads and writes.

use super::conf::Conf;
use super::python::{Call, Script};

/// Where records came from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ingest {
    Sampled,
    Filtered,
    Kafka,
    Simulated,
    /// A class that isn't EDNA's.
    Other,
}

/// Where records went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Emit {
    Kafka,
    Stdout,
    Counter,
    Sql,
    Upsert,
    /// A class that isn't EDNA's, or none.
    Other,
}

/// What a job reads and writes, and how that was told.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) ingest: Ingest,
    pub(super) ingest_call: Option<&'a Call>,
    pub(super) emit: Emit,
    pub(super) emit_call: Option<&'a Call>,
    /// What it was told by.
    pub(super) told_by: &'static str,
}

/// Tells a job by what its script calls, otherwise by the name of its script, otherwise by its variables.
pub(super) fn recognise<'a>(script: Option<&'a Script>, filename: Option<&str>, conf: &Conf) -> Option<Job<'a>> {
    let told = script.and_then(by_script);
    told.or_else(|| filename.and_then(by_name)).or_else(|| by_variables(conf))
}

/// The sort of ingest that a class is.
pub(super) fn ingest(class: &str) -> Option<Ingest> {
    Some(match class {
        "TwitterStreamingIngest" => Ingest::Sampled,
        "TwitterFilteredIngest" => Ingest::Filtered,
        "KafkaIngest" => Ingest::Kafka,
        "SimulatedIngest" => Ingest::Simulated,
        _ if class.ends_with("Ingest") => Ingest::Other,
        _ => return None,
    })
}

/// The sort of emit that a class is.
pub(super) fn emit(class: &str) -> Option<Emit> {
    Some(match class {
        "KafkaEmit" => Emit::Kafka,
        "StdoutEmit" => Emit::Stdout,
        "RecordCounterEmit" => Emit::Counter,
        "SQLEmit" => Emit::Sql,
        "SQLUpsertEmit" => Emit::Upsert,
        _ if class.ends_with("Emit") => Emit::Other,
        _ => return None,
    })
}

/// The class of EDNA's that a name stands for: a class of the script's own for its base.
pub(super) fn class<'a>(name: &'a str, script: &'a Script) -> &'a str {
    let own = script.classes.iter().find(|class| class.name == name);
    own.map_or(name, |class| class.base.as_str())
}

fn by_script(script: &Script) -> Option<Job<'_>> {
    let mut ingests = script.calls.iter().filter_map(|call| Some((ingest(class(&call.name, script))?, call)));
    let mut emits = script.calls.iter().filter_map(|call| Some((emit(class(&call.name, script))?, call)));
    let (ingest, ingest_call) = ingests.next()?;
    let (emit, emit_call) = emits.next().map_or((Emit::Other, None), |(emit, call)| (emit, Some(call)));
    Some(Job { ingest, ingest_call: Some(ingest_call), emit, emit_call, told_by: "the classes that its script calls" })
}

fn by_name(filename: &str) -> Option<Job<'static>> {
    let (ingest, emit) = match filename.strip_suffix(".py").unwrap_or(filename) {
        "TwitterSampledStreamerToKafka" => (Ingest::Sampled, Emit::Kafka),
        "TwitterSampledStreamer" => (Ingest::Sampled, Emit::Stdout),
        "TwitterFilteredStreamerToKafka" => (Ingest::Filtered, Emit::Kafka),
        "TwitterFilteredStreamer" => (Ingest::Filtered, Emit::Stdout),
        "KafkaIngestEmitJob" => (Ingest::Kafka, Emit::Kafka),
        "SQLEmitSample" => (Ingest::Simulated, Emit::Sql),
        "SQLUpsertSample" => (Ingest::Simulated, Emit::Upsert),
        _ => return None,
    };
    Some(Job { ingest, ingest_call: None, emit, emit_call: None, told_by: "the name of its script" })
}

fn by_variables(conf: &Conf) -> Option<Job<'static>> {
    let has = |name| conf.has(name);
    let ingest = match () {
        () if has("bearer_token") && has("filters") => Ingest::Filtered,
        () if has("bearer_token") => Ingest::Sampled,
        () if has("import_key") => Ingest::Kafka,
        () if has("sql_fields") => Ingest::Simulated,
        () => return None,
    };
    let emit = match () {
        () if has("export_key") || has("kafka_topic") && has("bootstrap_server") => Emit::Kafka,
        () if has("upsert_fields") => Emit::Upsert,
        () if has("sql_fields") => Emit::Sql,
        () => Emit::Stdout,
    };
    Some(Job { ingest, ingest_call: None, emit, emit_call: None, told_by: "the variables that it has" })
}
