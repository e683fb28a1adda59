//! A source and a sink as the plan sees them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use document::Problem;

use super::hub::Hub;
use super::values::{Value, Written};
use super::{Delivery, Partitioner, SinkSpec, SourceSpec, TopicSpec, columns, metadata, sample, sink, source};
use crate::connector::{SinkParts, SourceParts};
use crate::facts::{SourceFacts, Unseen};
use crate::format::Format;
use crate::plan::{DecodeOpener, Nature, SinkOpener, Sort, SourceOpener};
use crate::{Facts, Limit, World, step};

/// Looks at a source: its topics, their partitions, and what the newest messages look like.
pub(crate) fn look(
    spec: &SourceSpec,
    format: &Format,
    path: &str,
    limit: Limit,
    world: &World,
) -> Result<SourceFacts, Unseen> {
    let partitions = metadata::partitions(spec, world).map_err(|error| match error {
        crate::Error::NoTopic { .. } => Unseen::from(
            Problem::at(format!("{path}.kafka.topics"))
                .found(error.to_string())
                .expected("topics that are there")
                .hint("make the topic first, or name it by a regular expression: `^name$` waits for it"),
        ),
        error => error.into(),
    })?;
    // A schema that is given needs no look at messages.
    let nothing = crate::Chunk::single(bytes::Bytes::new(), crate::Origin { input: "none".into(), offset: 0 });
    let schema = match format.infer(&world.folder, &nothing) {
        Ok(schema) if !schema.fields().is_empty() => schema,
        _ => {
            let Some(chunk) = sample::sample(spec, &partitions, limit, world)? else {
                let problem =
                    Problem::at(format!("{path}.format")).found("no schema, and no message to infer one from");
                return Err(problem
                    .expected("the columns of the rows")
                    .hint("format: {json: {schema: {columns: {id: int64, text: string}}}}, or `format: text`")
                    .into());
            };
            format.infer(&world.folder, &chunk)?
        }
    };
    Ok(SourceFacts { schema: Some(schema), partitions, ..SourceFacts::default() })
}

/// Plans a source whose rows are `wanted`, a part of `full`.
pub(crate) fn plan_source(
    spec: &SourceSpec,
    name: &str,
    format: &Format,
    (full, wanted): (&SchemaRef, &SchemaRef),
    facts: &Facts,
) -> SourceParts {
    let value = |schema| columns::without_metadata(spec, schema);
    let (full, wanted, folder) = (value(full), value(wanted), facts.folder.clone());
    let decoding = format.clone();
    let decode: DecodeOpener = Arc::new(move || decoding.decode(&full, &wanted, &folder));
    let partitions = facts.sources.get(name).map(|facts| &facts.partitions);
    let shards = partitions.and_then(|topics| topics.values().copied().max()).unwrap_or(1);
    let count = partitions.map_or(1, |topics| topics.values().map(|count| *count as usize).sum());
    let containers = facts.ledger.stream.as_ref().map_or(1, |record| record.containers);
    let hub = Hub::new(spec, count.div_ceil((containers as usize).max(1)));
    let what = format!("kafka {} at {}", spec.topics.as_slice().join(", "), spec.connection().brokers());
    let opened = spec.clone();
    let open: SourceOpener = Arc::new(move |open| source::source(&opened, &hub, &open));
    SourceParts {
        what,
        format: Some(format.name().into()),
        nature: Nature::Replayable,
        shards,
        is_bounded: spec.stop.is_some(),
        open,
        decode: Some(decode),
        partitioned: Some(Arc::new(spec.clone())),
    }
}

/// Plans a sink for rows of `schema`.
pub(crate) fn plan_sink(
    spec: &SinkSpec,
    path: &str,
    format: Format,
    schema: &SchemaRef,
) -> Result<SinkParts, Vec<Problem>> {
    let mut problems = Vec::new();
    for (index, column) in spec.without.iter().enumerate().filter(|(_, column)| schema.index_of(column).is_err()) {
        let problem = Problem::at(format!("{path}.kafka.without[{index}]")).found(format!("no column `{column}`"));
        problems.push(problem.expected("a column of the rows"));
    }
    let kept = schema.fields().iter().filter(|field| !spec.without.contains(field.name())).cloned();
    let columns: SchemaRef = Arc::new(Schema::new(kept.collect::<Vec<_>>()));
    if format.is_scanned() {
        let problem = Problem::at(format!("{path}.format")).found(format!("`{}`", format.name()));
        problems.push(problem.expected("a format of messages: json, csv, text, messagepack, avro"));
    }
    problems.extend(format.encodable(&columns, &format!("{path}.format")));
    let mut value = |sql: &str, path: String| match step::expression(sql, schema, &path) {
        Ok(expression) => {
            let value: Value = Arc::new(move |rows: &RecordBatch| expression.evaluate(rows));
            Some(value)
        }
        Err(found) => {
            problems.extend(found);
            None
        }
    };
    let topic = match &spec.topic {
        TopicSpec::Name(_) => None,
        TopicSpec::Expression(topic) => value(&topic.sql, format!("{path}.kafka.topic.sql")),
    };
    let key = spec.key.as_ref().and_then(|key| value(key, format!("{path}.kafka.key")));
    let each = spec.headers.iter();
    let headers: Vec<(String, Value)> = each
        .filter_map(|(name, sql)| Some((name.clone(), value(sql, format!("{path}.kafka.headers.{name}"))?)))
        .collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    let (sort, what) = match spec.delivery {
        Delivery::ExactlyOnce => (Sort::Hosting, "in transactions"),
        Delivery::AtLeastOnce => (Sort::Direct, "at once"),
    };
    let topic_words = match &spec.topic {
        TopicSpec::Name(name) => name.clone(),
        TopicSpec::Expression(topic) => format!("by {}", topic.sql),
    };
    let keyless = if spec.partitioner == Partitioner::Task { ", a partition for each task" } else { "" };
    let what = format!("kafka {topic_words} at {}, {what}{keyless}", spec.connection().brokers());
    let name = format.name().to_owned();
    let encode = Arc::new(move |schema: &SchemaRef| format.encode(schema));
    let written = Written { encode, topic, key, headers, topics: Arc::default() };
    let timeout = spec.transaction_timeout.0.get();
    let spec = spec.clone();
    let open: SinkOpener = Arc::new(move |open| sink::sink(&spec, written.clone(), open));
    let open_at_most = (sort == Sort::Hosting).then_some(timeout);
    Ok(SinkParts { what, format: Some(name), sort, roll_every: None, open_at_most, open })
}
