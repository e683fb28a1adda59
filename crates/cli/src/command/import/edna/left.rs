//! What no document can hold, with the way to go.

use super::job::{self, Ingest};
use super::python::Call;
use super::{Work, conf, python};

/// Classes whose work is done by the document, or is none. So is that of serializers and contexts.
const CARRIED: [&str; 6] =
    ["BaseProcess", "ChainedProcess", "ObjectToJson", "ObjectToSQL", "SQLTupleFactory", "StreamBuilder"];
/// Keywords of ingests and emits that are carried over, or told of by themselves.
const KEYWORDS: [&str; 18] = [
    "serializer",
    "in_serializer",
    "out_serializer",
    "bearer_token",
    "tweet_fields",
    "user_fields",
    "place_fields",
    "media_fields",
    "poll_fields",
    "filters",
    "kafka_topic",
    "bootstrap_server",
    "bootstrap_port",
    "default_group",
    "topic_retention_ms",
    "stream_list",
    "stream_callback",
    "tuple_factory",
];

/// What the script does between its ingest and its emit, and what else it calls.
pub(super) fn process(work: &mut Work<'_>) {
    let Some((name, script)) = work.script else {
        let name = work.template.filename.as_deref().map(|name| format!("{}.py", name.trim_end_matches(".py")));
        let name = name.unwrap_or_else(|| "the job's Python file".to_owned());
        work.leave(
            name,
            "it was not given, so what it does to records isn't known",
            "give it as well: it is looked at, never run",
            None,
        );
        return;
    };
    for class in &script.classes {
        let place = work.line(class.line);
        work.leave(
            format!("the class {}", class.name),
            "it is Python, and Python isn't carried over",
            "write it as an `sql` step, or as a step in Rust (`docs/guide/rust-job.md`)",
            place,
        );
    }
    let mut told: Vec<&str> = Vec::new();
    let has_ends = work.job.ingest_call.is_some();
    for call in &script.calls {
        let is_own = script.classes.iter().any(|class| class.name == call.name);
        let is_end =
            [work.job.ingest_call, work.job.emit_call].into_iter().flatten().any(|end| std::ptr::eq(end, call));
        if is_end {
            keywords(work, call);
        } else if !is_own && !told.contains(&call.name.as_str()) {
            told.push(&call.name);
            other(work, call);
        }
    }
    if !has_ends {
        work.leave(
            format!("what {name} does"),
            "it calls no ingest, so the document was made without it",
            "compare the two",
            work.line(1),
        );
    }
}

fn keywords(work: &mut Work<'_>, call: &Call) {
    let tables = ["host", "port", "user", "password", "database", "table"];
    let is_table = call.name.starts_with("SQL");
    for (keyword, argument) in &call.arguments {
        if let python::Argument::Variable(variable) = argument
            && is_table
            && tables.contains(&keyword.as_str())
        {
            work.conf.asked(variable);
        }
        if KEYWORDS.contains(&keyword.as_str()) || is_table && tables.contains(&keyword.as_str()) {
            continue;
        }
        let (why, instead) = match keyword.as_str() {
            "emit_buffer_batch_size" | "emit_buffer_timeout_ms" => (
                "rows are handed on when a batch is full, when its time has passed and when the source runs dry",
                "nothing; `batch: {rows: ..., every: ...}` sets both bounds",
            ),
            "record_print" => ("the progress says the rows at each moment", "nothing"),
            _ => ("no part of a document means it", "look for it in the reference of the connector"),
        };
        let place = work.called(Some(call));
        work.leave(format!("`{keyword}` of {}", call.name), why, instead, place);
    }
}

fn other(work: &mut Work<'_>, call: &Call) {
    let name = call.name.as_str();
    let is_http = matches!(work.job.ingest, Ingest::Sampled | Ingest::Filtered);
    let (why, instead) = match name {
        "StringSerializer" | "MsgPackSerializer" | "MsgPackBufferedSerializable" => (
            "it packs messages as MessagePack; the document hands them on as they are",
            "write `format: messagepack` where messages are maps; let what reads the output read plain text otherwise",
        ),
        _ if name.ends_with("Serializer") || name.ends_with("Context") || CARRIED.contains(&name) => return,
        "JsonToObject" | "RobustJsonToObject" if !is_http => return,
        "JsonToObject" | "RobustJsonToObject" => (
            "no connection is made to look at rows, so their columns aren't known; posts are handed on as text",
            "reach in with `json_get_str(value, 'data', 'id')` in an `sql` step, or write the columns under \
             `format: {json: {schema: {columns: ...}}}`",
        ),
        "Filter" | "KeyedFilter" => (
            "its function is Python",
            "write it as a step: `kept: {from: SOURCE, sql: SELECT * FROM SOURCE WHERE ...}`, and let the sink read it",
        ),
        "Map" => (
            "its function is Python",
            "write it as a step: `mapped: {from: SOURCE, sql: SELECT ... FROM SOURCE}`, and let the sink read it",
        ),
        "SklearnClassifier" => (
            "a model of scikit-learn is Python",
            "write the step in Rust (`docs/guide/rust-job.md`), or classify what the sink wrote",
        ),
        _ if job::ingest(name).is_some() => ("a second source of the job", "add it under `sources`"),
        _ if job::emit(name).is_some() => ("a second emit of the job", "add it under `sinks`, with its own `from`"),
        _ => ("it is Python, and Python isn't carried over", "see whether the stream needs it"),
    };
    let place = work.called(Some(call));
    work.leave(name, why, instead, place);
}

/// What `config.yaml` says of images, replicas and files.
pub(super) fn template(work: &mut Work<'_>) {
    let Some(config) = work.config else { return };
    let template = work.template;
    let place = |field: &str| {
        let entry = config.root().get("template").and_then(|template| template.entry(field));
        entry.map(|entry| config.place(entry.key_span))
    };
    if let Some(jobname) = template.jobname.as_ref().filter(|jobname| **jobname != work.name) {
        let (what, instead) = (format!("the jobname `{jobname}`"), format!("the stream is called `{}`", work.name));
        work.leave(what, "names are lower-case letters, digits and `-`", instead, place("jobname"));
    }
    if let Some(replicas) = template.jobreplicas.filter(|replicas| *replicas != 1) {
        work.leave(
            format!("`jobreplicas: {replicas}`"),
            "each replica did the same work again, or had no partition to read",
            "nothing: one process reads all partitions",
            place("jobreplicas"),
        );
    }
    for (field, is_there, why, instead) in [
        (
            "jobimage",
            template.jobimage.is_some(),
            "no image is built for a job",
            "nothing: the same program runs every document",
        ),
        (
            "filedependencies",
            template.filedependencies.is_some(),
            "files that Python needs; EDNA left them out of the image that ran, too",
            "nothing, unless a step is to do what they did",
        ),
        (
            "jobdependencies",
            template.jobdependencies.is_some(),
            "packages that Python needs",
            "nothing: connectors and formats are part of the program",
        ),
        (
            "jobvariables",
            template.jobvariables.is_some(),
            "only the controller read them, to fill ednaconf.yaml",
            "compare them with the document's `variables`",
        ),
    ] {
        if is_there {
            work.leave(format!("`{field}`"), why, instead, place(field));
        }
    }
    graph(work, place("jobgraph"));
    let known = ["applicationname", "jobname", "filename", "jobcontext", "jobreplicas", "jobtype", "jobgraph"];
    let told = ["jobimage", "filedependencies", "jobdependencies", "jobvariables"];
    for entry in config.root().get("template").map_or(&[][..], document::Node::entries) {
        if !known.contains(&entry.key.as_str()) && !told.contains(&entry.key.as_str()) {
            let what = format!("`{}`", named(&entry.key));
            let place = Some(config.place(entry.key_span));
            work.leave(what, "EDNA's templates don't use it", "see whether the stream needs it", place);
        }
    }
}

/// The keys by which jobs are chained, where they aren't the topics themselves.
fn graph(work: &mut Work<'_>, place: Option<document::Place>) {
    let Some(graph) = &work.template.jobgraph else { return };
    let other = |key: &Option<String>| key.as_ref().is_some_and(|key| !work.topics.contains(key));
    let (import, export) = (other(&graph.import_key), other(&graph.export_key));
    let what = match (import, export) {
        (true, true) => "`import_key` and `export_key` of `jobgraph`",
        (true, false) => "`import_key` of `jobgraph`",
        (false, true) => "`export_key` of `jobgraph`",
        (false, false) => return,
    };
    work.leave(
        what,
        "a label for the controller: no topic of the job has that name",
        "nothing: streams are chained by the topics that they name",
        place,
    );
}

/// The variables that no part of the document came from.
pub(super) fn variables(work: &mut Work<'_>) {
    for (name, place) in work.conf.unasked() {
        let (why, instead) = match name.as_str() {
            _ if conf::is_secret(&name) => {
                ("a secret that no part of the document needs", "keep it where secrets are kept, not in a file")
            }
            "upsert_fields" => ("there is no sink for MySQL", "see SQLUpsertEmit"),
            _ => ("no part of the document came from it", "see whether the script did something with it"),
        };
        work.leave(format!("the variable `{}`", named(&name)), why, instead, Some(place));
    }
    let root = work.conf.foreign.root().entries().iter().filter(|entry| entry.key != "variables");
    let others = root.map(|entry| (named(&entry.key).to_owned(), work.conf.foreign.place(entry.key_span)));
    for (name, place) in others.collect::<Vec<_>>() {
        let why = if name == "options" { "EDNA mixed them up with variables" } else { "EDNA doesn't read it" };
        work.leave(format!("`{name}`"), why, "see whether the stream needs it", Some(place));
    }
}

/// A key as it may be shown: one that is no plain word may be a value that was mistyped, and a secret.
fn named(key: &str) -> &str {
    let is_word = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if is_word && key.len() <= document::Name::LENGTH_MAX { key } else { "..." }
}
