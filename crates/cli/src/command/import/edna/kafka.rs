//! Kafka's part of the document.

use super::Work;
use super::python::Call;
use crate::command::import::yaml::{Lines, scalar};

/// The port where a job names none.
const PORT: &str = "9092";
/// How long a topic that EDNA made kept its messages: one day.
const RETENTION_MS: u64 = 86_400_000;

/// A topic and where it is, as scalars of a document.
struct Topic {
    name: String,
    brokers: String,
}

/// Writes the source.
pub(super) fn source(lines: &mut Lines, work: &mut Work<'_>) {
    let topic = topic(work, work.job.ingest_call, &Side::IN);
    lines.below("kafka", |lines| {
        lines.line(&format!("brokers: {}", topic.brokers));
        lines.line(&format!("topics: [{}]", topic.name));
        lines
            .comment("EDNA began with what came after its start. Positions are kept from the first run on; `earliest`");
        lines.comment("reads what the topic holds already.");
        lines.line("start: latest");
    });
    if work.job.ingest_call.is_some_and(|call| call.argument("default_group").is_some()) {
        let place = work.called(work.job.ingest_call);
        work.leave(
            "`default_group` of KafkaIngest",
            "positions are kept in the stream's own ledger, not by a consumer group, so the group's offsets are not used",
            "start with `start: earliest` where nothing may be missed: rows that the old job had handled come again",
            place,
        );
    }
}

/// Writes the sink.
pub(super) fn sink(lines: &mut Lines, work: &mut Work<'_>) {
    let call = work.job.emit_call;
    let topic = topic(work, call, &Side::OUT);
    let written = work.value(call, "topic_retention_ms", &["topic_retention_ms"]);
    let millis = written.as_deref().and_then(|written| written.parse().ok());
    if let (Some(_), None) = (&written, millis) {
        let place = work.conf.place("topic_retention_ms");
        work.leave("`topic_retention_ms`", "it is no whole number", "the document has EDNA's default of 24h", place);
    }
    lines.below("kafka", |lines| {
        lines.line(&format!("brokers: {}", topic.brokers));
        lines.line(&format!("topic: {}", topic.name));
        lines.comment("How the topic is made where there is none, as EDNA made it (topic_retention_ms).");
        lines.line(&format!("create: {{partitions: 1, retention: {}}}", duration(millis.unwrap_or(RETENTION_MS))));
    });
}

/// What differs between reading and writing.
struct Side {
    /// The variables that may name the topic, the likeliest first.
    names: &'static [&'static str],
    /// The variable of the document where none does.
    missing: &'static str,
    class: &'static str,
    is_in: bool,
}

impl Side {
    const IN: Side =
        Side { names: &["import_key", "kafka_topic"], missing: "importTopic", class: "KafkaIngest", is_in: true };
    const OUT: Side =
        Side { names: &["kafka_topic", "export_key"], missing: "exportTopic", class: "KafkaEmit", is_in: false };
}

fn topic(work: &mut Work<'_>, call: Option<&Call>, side: &Side) -> Topic {
    // A job that reads one topic and writes another without saying which has `import_key` and `export_key`.
    let both = work.conf.has("import_key") && work.conf.has("export_key");
    let names = if both && !side.is_in { &["export_key"] } else { side.names };
    let graph = work.template.jobgraph.as_ref();
    let graph = graph.and_then(|graph| if side.is_in { &graph.import_key } else { &graph.export_key }.clone());
    let name = if let Some(name) = work.value(call, "kafka_topic", names).or(graph) {
        work.topics.push(name.clone());
        scalar(&name)
    } else {
        let place = work.called(call);
        work.leave(
            format!("the topic of {}", side.class),
            "no file says it: it is made in Python, or has no variable",
            format!("write it, or give `--set {}=NAME` to each command", side.missing),
            place,
        );
        work.variables.push((side.missing.to_owned(), None));
        format!("\"${{{}}}\"", side.missing)
    };
    let server = work.value(call, "bootstrap_server", &["bootstrap_server"]).unwrap_or_else(|| "localhost".to_owned());
    let port = work.value(call, "bootstrap_port", &["bootstrap_port"]).unwrap_or_else(|| PORT.to_owned());
    let brokers = brokers(&server, &port);
    // One place to change, since the name of a service of the cluster means nothing on a laptop.
    let common = work.variables.iter().find(|(name, _)| name == "brokers").map(|(_, value)| value.clone());
    let brokers = match common {
        None => {
            work.variables.push(("brokers".to_owned(), Some(brokers)));
            "\"${brokers}\"".to_owned()
        }
        Some(same) if same.as_deref() == Some(&brokers) => "\"${brokers}\"".to_owned(),
        Some(_) => scalar(&brokers),
    };
    Topic { name, brokers }
}

/// `a,b:1` and a port as `a:9092,b:1`.
fn brokers(servers: &str, port: &str) -> String {
    let servers = servers.split(',').map(str::trim).filter(|server| !server.is_empty());
    let with_port = |server: &str| if server.contains(':') { server.to_owned() } else { format!("{server}:{port}") };
    servers.map(with_port).collect::<Vec<_>>().join(",")
}

/// Milliseconds in the largest unit up to hours that they are whole in.
fn duration(millis: u64) -> String {
    let units = [(3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let unit = units.into_iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{millis}ms"), |(unit, name)| format!("{}{name}", millis / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_have_ports_and_retentions_have_units() {
        assert_eq!(brokers("a, b:1,", "9093"), "a:9093,b:1");
        assert_eq!([86_400_000, 90_000, 1500, 0].map(duration), ["24h", "90s", "1500ms", "0ms"]);
    }
}
