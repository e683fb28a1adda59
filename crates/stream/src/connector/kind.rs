//! The list of connectors, and all that depends on which one it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use document::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stdx::Chain;

use super::{World, blackhole, files, generate, http, kafka, stdin, stdout};
use crate::facts::{SourceFacts, Unseen};
use crate::format::{Format, FormatSpec, Name, avro};
use crate::plan::{DecodeOpener, Nature, SinkOpener, Sort, SourceOpener};
use crate::spec::Stream;
use crate::{Chunk, Facts, From, Limit, Origin, step};

/// How much of an input is looked at to infer its schema.
const SAMPLE: Limit = Limit { rows: 1000, bytes: 4 << 20 };

/// A source: exactly one connector, and the format of its messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceSpec {
    /// Files that globs name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<files::SourceSpec>,
    /// Standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<stdin::SourceSpec>,
    /// A long-lived stream of lines over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<http::SourceSpec>,
    /// Kafka topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<kafka::SourceSpec>,
    /// Rows made up on the spot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<generate::SourceSpec>,
    /// The format of the messages. By default: what the ending of the files' names says, `json` for `stdin`, `http`
    /// and `kafka`; `generate` needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<FormatSpec>,
}

/// A sink: where rows come from, exactly one connector, and the format it writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SinkSpec {
    /// The sources and steps that rows come from; several must have the same columns.
    pub from: From,
    /// Files that appear whole, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<files::SinkSpec>,
    /// Kafka topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<kafka::SinkSpec>,
    /// Standard output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<stdout::SinkSpec>,
    /// Nowhere: rows are counted and dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blackhole: Option<blackhole::SinkSpec>,
    /// The format. By default `parquet` for files and `json` for standard output and Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<FormatSpec>,
}

/// The connectors that rows come from.
#[derive(Clone, Copy, Debug)]
pub enum SourceKind<'a> {
    /// Files.
    Files(&'a files::SourceSpec),
    /// Standard input.
    Stdin,
    /// HTTP.
    Http(&'a http::SourceSpec),
    /// Kafka.
    Kafka(&'a kafka::SourceSpec),
    /// Generated rows.
    Generate(&'a generate::SourceSpec),
}

/// The connectors that rows go to.
#[derive(Clone, Copy, Debug)]
pub enum SinkKind<'a> {
    /// Files.
    Files(&'a files::SinkSpec),
    /// Kafka.
    Kafka(&'a kafka::SinkSpec),
    /// Standard output.
    Stdout,
    /// Nowhere.
    Blackhole,
}

impl SourceSpec {
    /// The connector.
    pub fn kind(&self, path: &str) -> Result<SourceKind<'_>, Problem> {
        let kinds = [
            self.files.as_ref().map(SourceKind::Files),
            self.stdin.as_ref().map(|_| SourceKind::Stdin),
            self.http.as_ref().map(SourceKind::Http),
            self.kafka.as_ref().map(SourceKind::Kafka),
            self.generate.as_ref().map(SourceKind::Generate),
        ];
        exactly_one(kinds, path, "`files`, `generate`, `http`, `kafka`, `stdin`")
    }

    /// The format of its messages; `None` where it makes columns by itself.
    pub(crate) fn format(&self, kind: SourceKind<'_>, path: &str) -> Result<Option<Format>, Problem> {
        let given = self.format.as_ref().map(FormatSpec::settings);
        match kind {
            SourceKind::Files(spec) => {
                let by_name = || spec.path.as_slice().first().and_then(|path| Format::of_file(path));
                given.or_else(by_name).map(Some).ok_or_else(|| {
                    Problem::at(path)
                        .found("files whose names don't tell their format")
                        .expected("`format`")
                        .hint("format: json")
                })
            }
            SourceKind::Stdin | SourceKind::Http(_) | SourceKind::Kafka(_) => {
                Ok(Some(given.unwrap_or_else(|| Format::named(Name::Json))))
            }
            SourceKind::Generate(spec) => match &self.format {
                Some(_) => Err(Problem::at(format!("{path}.format"))
                    .found("a format")
                    .expected("none: generated rows need no decoding")
                    .hint("remove it")),
                None => Ok(spec.alerts.is_some().then(|| Format::named(Name::Avro))),
            },
        }
    }
}

impl SinkSpec {
    /// The connector.
    pub fn kind(&self, path: &str) -> Result<SinkKind<'_>, Problem> {
        let kinds = [
            self.files.as_ref().map(SinkKind::Files),
            self.kafka.as_ref().map(SinkKind::Kafka),
            self.stdout.as_ref().map(|_| SinkKind::Stdout),
            self.blackhole.as_ref().map(|_| SinkKind::Blackhole),
        ];
        exactly_one(kinds, path, "`blackhole`, `files`, `kafka`, `stdout`")
    }

    /// The format that is written, where the connector writes one.
    pub(crate) fn written(&self) -> Option<Format> {
        match self.kind("").ok()? {
            SinkKind::Files(_) => Some(self.format(Name::Parquet)),
            SinkKind::Kafka(_) | SinkKind::Stdout => Some(self.format(Name::Json)),
            SinkKind::Blackhole => None,
        }
    }

    fn format(&self, default: Name) -> Format {
        self.format.as_ref().map_or_else(|| Format::named(default), FormatSpec::settings)
    }
}

fn exactly_one<T, const N: usize>(kinds: [Option<T>; N], path: &str, known: &str) -> Result<T, Problem> {
    let mut found = kinds.into_iter().flatten();
    match (found.next(), found.count()) {
        (Some(kind), 0) => Ok(kind),
        (None, _) => Err(Problem::at(path).found("no connector").expected(format!("exactly one of {known}"))),
        (_, more) => Err(Problem::at(path)
            .found(format!("{} connectors", more + 1))
            .expected(format!("exactly one of {known}"))
            .hint("make a part of each, with a name of its own")),
    }
}

/// What is wrong with a source's own words, found without looking at the world.
pub(crate) fn source_problems(spec: &SourceSpec, path: &str) -> Vec<Problem> {
    let kind = match spec.kind(path) {
        Ok(kind) => kind,
        Err(problem) => return vec![problem],
    };
    let mut problems = match kind {
        SourceKind::Files(files) => files::source_problems(files, &format!("{path}.files")),
        SourceKind::Stdin => Vec::new(),
        SourceKind::Http(http) => http::problems(http, &format!("{path}.http")),
        SourceKind::Kafka(kafka) => kafka::source_problems(kafka, &format!("{path}.kafka")),
        SourceKind::Generate(generate) => generate::problems(generate, &format!("{path}.generate")),
    };
    match spec.format(kind, path) {
        Ok(Some(format)) => {
            problems.extend(format.problems(&format!("{path}.format")));
            if format.is_scanned() && !matches!(kind, SourceKind::Files(_)) {
                problems.push(
                    Problem::at(format!("{path}.format"))
                        .found(format!("`{}`", format.name()))
                        .expected("a format of messages: json, csv, text, messagepack, avro"),
                );
            }
        }
        Ok(None) => {}
        Err(problem) => problems.push(problem),
    }
    problems
}

/// What is wrong with a sink's own words, found without looking at the world.
pub(crate) fn sink_problems(spec: &SinkSpec, path: &str) -> Vec<Problem> {
    let (mut problems, format) = match spec.kind(path) {
        Ok(SinkKind::Files(files)) => {
            (files::sink_problems(files, &format!("{path}.files")), Some(spec.format(Name::Parquet)))
        }
        Ok(SinkKind::Kafka(kafka)) => {
            (kafka::sink_problems(kafka, &format!("{path}.kafka")), Some(spec.format(Name::Json)))
        }
        Ok(SinkKind::Stdout) => (Vec::new(), Some(spec.format(Name::Json))),
        Ok(SinkKind::Blackhole) => (Vec::new(), None),
        Err(problem) => return vec![problem],
    };
    problems.extend(format.iter().flat_map(|format| format.problems(&format!("{path}.format"))));
    problems
}

/// Looks at a source: its schema and size.
pub(crate) fn look(spec: &SourceSpec, path: &str, world: &World) -> Result<SourceFacts, Unseen> {
    let problems = source_problems(spec, path);
    if !problems.is_empty() {
        return Err(problems.into());
    }
    let kind = spec.kind(path)?;
    let format = spec.format(kind, path)?;
    let schema = |schema| SourceFacts { schema: Some(schema), ..SourceFacts::default() };
    match (kind, format) {
        (SourceKind::Generate(generate), None) => {
            Ok(generate::schema(generate, &format!("{path}.generate"))
                .map(|found| schema(found.unwrap_or_else(empty)))?)
        }
        (SourceKind::Generate(_), Some(_)) => Ok(avro::columns_of(generate::alerts::schema_json()).map(schema)?),
        (SourceKind::Files(files), Some(format)) => look_at_files(files, &format, path, world),
        (SourceKind::Stdin, Some(format)) => {
            let mut cut = format.cut().ok_or_else(|| at(Problem::at("").found(format.name()), path))?;
            let chunk = stdin::Input::standard().peek(cut.as_mut(), SAMPLE.bytes).map_err(|error| {
                Unseen::of(error, |found| Problem::at(path).found(found).expected("input that can be read"))
            })?;
            Ok(format.infer(&world.folder, &chunk).map(schema).map_err(|problem| at(problem, path))?)
        }
        // A connection is not made to look at it: the first rows could not be given back.
        (SourceKind::Http(_), Some(format)) => {
            let nothing = Chunk::single(bytes::Bytes::new(), Origin { input: "http".into(), offset: 0 });
            format.infer(&world.folder, &nothing).map(schema).map_err(|_| {
                Problem::at(format!("{path}.format"))
                    .found("no schema")
                    .expected("the columns of the rows: a connection is not made to look at them")
                    .hint("format: {json: {schema: {columns: {id: int64, text: string}}}}, or `format: text` and JSON functions in a `sql` step")
                    .into()
            })
        }
        (SourceKind::Kafka(kafka), Some(format)) => kafka::look(kafka, &format, path, SAMPLE, world),
        (SourceKind::Files(_) | SourceKind::Stdin | SourceKind::Http(_) | SourceKind::Kafka(_), None) => {
            Ok(SourceFacts::default())
        }
    }
}

fn empty() -> SchemaRef {
    Arc::new(Schema::empty())
}

/// A format's problem, at its place in the document.
fn at(mut problem: Problem, path: &str) -> Problem {
    if !problem.path.starts_with("spec.") {
        problem.path = format!("{path}.{}", if problem.path.is_empty() { "format" } else { &problem.path });
    }
    problem
}

fn look_at_files(spec: &files::SourceSpec, format: &Format, path: &str, world: &World) -> Result<SourceFacts, Unseen> {
    let unreadable = |error| {
        let problem = Problem::at(format!("{path}.files.path"));
        Unseen::of(error, |found| problem.found(found).expected("files that can be read"))
    };
    let look = files::look(spec, &world.folder).map_err(unreadable)?;
    let (files, bytes) = (look.files, look.bytes);
    let sample = files::sample(spec, framed(format, &empty()), look, &world.folder, SAMPLE).map_err(unreadable)?;
    let schema = match sample {
        Some(files::Sample::Chunk(chunk)) => format.infer(&world.folder, &chunk),
        Some(files::Sample::File(file, name)) => format.scan_schema(&file).map_err(|error| {
            Problem::at(format!("{path}.files.path"))
                .found(format!("{name}: {}", Chain(&error)))
                .expected(format!("a {} file", format.name()))
        }),
        None => {
            let nothing = Chunk::single(bytes::Bytes::new(), Origin { input: "none".into(), offset: 0 });
            format.infer(&world.folder, &nothing).map_err(|_| {
                Problem::at(format!("{path}.files.path"))
                    .found("no file with rows to infer a schema from")
                    .expected(format!("at least one file that {} names", spec.path.as_slice().join(", ")))
                    .hint(format!(
                        "globs start from {}; where files come later, give the format a schema",
                        world.folder.display()
                    ))
            })
        }
    };
    let schema = schema.map_err(|problem| at(problem, path))?;
    Ok(SourceFacts { schema: Some(schema), files: Some(files), bytes: Some(bytes), ..SourceFacts::default() })
}

fn framed(format: &Format, wanted: &SchemaRef) -> files::Framed {
    if format.is_scanned() {
        let (format, wanted) = (format.clone(), Arc::clone(wanted));
        return files::Framed::Scan(Arc::new(move |file, from_row| format.scan(file, &wanted, from_row)));
    }
    let whole = format.is_whole();
    let cutting = format.clone();
    let cut = move || cutting.cut().unwrap_or_else(|| avro::cut(&avro::Spec::default()));
    files::Framed::Cut { cut: Box::new(cut), whole }
}

/// A source, planned.
pub(crate) struct SourceParts {
    pub(crate) what: String,
    pub(crate) format: Option<String>,
    pub(crate) nature: Nature,
    pub(crate) shards: u32,
    pub(crate) is_bounded: bool,
    pub(crate) open: SourceOpener,
    pub(crate) decode: Option<DecodeOpener>,
    /// Where its partitions are learnt, for sources whose tasks follow them.
    pub(crate) partitioned: Option<Arc<kafka::SourceSpec>>,
}

/// What rows have beside the columns of the messages: columns that the connector adds.
pub(crate) fn full_schema(spec: &SourceSpec, path: &str, messages: SchemaRef) -> Result<SchemaRef, Problem> {
    match &spec.kafka {
        Some(kafka) => kafka::with_metadata(kafka, &messages, &format!("{path}.kafka.metadata")),
        None => Ok(messages),
    }
}

/// Plans a source whose rows are `wanted`, a part of what there is.
pub(crate) fn plan_source(
    spec: &SourceSpec,
    source: &str,
    full: &SchemaRef,
    wanted: &SchemaRef,
    facts: &Facts,
) -> Result<SourceParts, Vec<Problem>> {
    let path = &*format!("spec.sources.{source}");
    let problems = source_problems(spec, path);
    if !problems.is_empty() {
        return Err(problems);
    }
    let kind = spec.kind(path).map_err(|problem| vec![problem])?;
    let format = spec.format(kind, path).map_err(|problem| vec![problem])?;
    let decode = format.clone().filter(|format| !format.is_scanned()).map(|format| -> DecodeOpener {
        let (full, wanted, folder) = (Arc::clone(full), Arc::clone(wanted), facts.folder.clone());
        Arc::new(move || format.decode(&full, &wanted, &folder))
    });
    let name = format.as_ref().map(|format| format.name().to_owned());
    let parts = |what: String, nature, shards, is_bounded, open: SourceOpener| SourceParts {
        what,
        format: name,
        nature,
        shards,
        is_bounded,
        open,
        decode,
        partitioned: None,
    };
    Ok(match kind {
        SourceKind::Files(files) => {
            let what = format!("files {}", files.path.as_slice().join(", "));
            let is_bounded = files.follow.every().is_none();
            let (files, wanted) = (files.clone(), Arc::clone(wanted));
            let format = format.unwrap_or_else(|| Format::named(Name::Json));
            let shards = files.shards.0;
            let open: SourceOpener = Arc::new(move |open| files::source(&files, framed(&format, &wanted), open));
            parts(what, Nature::Replayable, shards, is_bounded, open)
        }
        SourceKind::Stdin => {
            let cutting = format.unwrap_or_else(|| Format::named(Name::Json));
            let open: SourceOpener = Arc::new(move |open| {
                let cut = cutting.cut().ok_or_else(|| crate::Error::House("standard input can't be scanned".into()))?;
                stdin::source(stdin::Input::standard(), cut, &open)
            });
            parts("standard input".into(), Nature::Ephemeral, 1, true, open)
        }
        SourceKind::Http(http) => {
            let what = format!("http {}", http.url.split('?').next().unwrap_or_default());
            let http = http.clone();
            parts(what, Nature::Ephemeral, 1, false, Arc::new(move |open| http::source(&http, open)))
        }
        SourceKind::Kafka(kafka) => {
            let format = format.unwrap_or_else(|| Format::named(Name::Json));
            kafka::plan_source(kafka, source, &format, (full, wanted), facts)
        }
        SourceKind::Generate(generate) => {
            let nature = if generate.seed.is_some() { Nature::Replayable } else { Nature::Ephemeral };
            let is_bounded = generate.total.is_some() && generate.then == generate::Then::End;
            let what = if generate.alerts.is_some() { "generated alerts" } else { "generated rows" };
            let generate = generate.clone();
            parts(what.into(), nature, 1, is_bounded, Arc::new(move |open| generate::source(&generate, &open)))
        }
    })
}

/// A sink, planned.
pub(crate) struct SinkParts {
    pub(crate) what: String,
    pub(crate) format: Option<String>,
    pub(crate) sort: Sort,
    /// How long its files stay open.
    pub(crate) roll_every: Option<Duration>,
    /// How long its transactions may stay open.
    pub(crate) open_at_most: Option<Duration>,
    pub(crate) open: SinkOpener,
}

/// Plans a sink for rows of `schema`.
pub(crate) fn plan_sink(spec: &SinkSpec, path: &str, schema: &SchemaRef) -> Result<SinkParts, Vec<Problem>> {
    let mut problems = sink_problems(spec, path);
    if !problems.is_empty() {
        return Err(problems);
    }
    match spec.kind(path).map_err(|problem| vec![problem])? {
        SinkKind::Files(files) => {
            let format = spec.format(Name::Parquet);
            let (partitions, without) = partitions(files, path, schema)?;
            let kept = schema.fields().iter().filter(|field| !without.contains(field.name())).cloned();
            let inside = Arc::new(Schema::new(kept.collect::<Vec<_>>()));
            if inside.fields().is_empty() {
                problems.push(
                    Problem::at(format!("{path}.files.partitionBy"))
                        .found("every column")
                        .expected("at least one column that is left for the file"),
                );
            }
            problems.extend(format.encodable(&inside, &format!("{path}.format")));
            if !problems.is_empty() {
                return Err(problems);
            }
            let (sink, name) = (files.clone(), format.name().to_owned());
            let open: SinkOpener = Arc::new(move |open| {
                let (encoding, extension) = (format.clone(), format.extension());
                let encode: files::EncodeFile = Arc::new(move |schema| encoding.encode(schema));
                let (partitions, without) = (partitions.clone(), without.clone());
                files::sink(&sink, files::Written { encode, extension, partitions, without }, open)
            });
            Ok(SinkParts {
                what: format!("files {}", files.url),
                format: Some(name),
                sort: Sort::Staged,
                roll_every: Some(files.roll.every.get()),
                open_at_most: None,
                open,
            })
        }
        SinkKind::Kafka(kafka) => kafka::plan_sink(kafka, path, spec.format(Name::Json), schema),
        SinkKind::Stdout => {
            let format = spec.format(Name::Json);
            let problems = format.encodable(schema, &format!("{path}.format"));
            if !problems.is_empty() {
                return Err(problems);
            }
            let name = format.name().to_owned();
            let open: SinkOpener = Arc::new(move |_| {
                let format = format.clone();
                Ok(stdout::sink(Box::new(move |schema| format.encode(schema))))
            });
            let what = "standard output".into();
            Ok(SinkParts { what, format: Some(name), sort: Sort::Direct, roll_every: None, open_at_most: None, open })
        }
        SinkKind::Blackhole => Ok(SinkParts {
            what: "nowhere".into(),
            format: None,
            sort: Sort::Direct,
            roll_every: None,
            open_at_most: None,
            open: Arc::new(|_| Ok(blackhole::sink())),
        }),
    }
}

type Partitions = (Vec<files::Partition>, Vec<String>);

/// The levels of folders, and the columns that are therefore not in the file.
fn partitions(spec: &files::SinkSpec, path: &str, schema: &SchemaRef) -> Result<Partitions, Vec<Problem>> {
    let (mut partitions, mut without, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (index, partition) in spec.partition_by.iter().enumerate() {
        let at = format!("{path}.files.partitionBy[{index}]");
        let (name, sql, sql_path) = match partition {
            files::PartitionSpec::Column(name) => (name, format!("\"{}\"", name.replace('"', "\"\"")), at),
            files::PartitionSpec::Expression(given) => (&given.name, given.sql.clone(), format!("{at}.sql")),
        };
        let is_column = schema.index_of(name).is_ok();
        if is_column && matches!(partition, files::PartitionSpec::Expression(_)) {
            problems.push(
                Problem::at(format!("{path}.files.partitionBy[{index}].name"))
                    .found(format!("`{name}`, which is also a column"))
                    .expected("a name that no column has: readers see both as one"),
            );
        }
        match step::expression(&sql, schema, &sql_path) {
            Ok(expression) => {
                if is_column {
                    without.push(name.clone());
                }
                let value: files::Value = Arc::new(move |rows| expression.evaluate(rows));
                partitions.push(files::Partition { name: name.clone(), value });
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok((partitions, without)) } else { Err(problems) }
}

/// The folder that a sink writes to, where it writes to one.
pub(crate) fn folder_of(sink: &SinkSpec, folder: &Path) -> Option<PathBuf> {
    let files = sink.files.as_ref()?;
    Some(folder.join(files::local(&files.url).ok()?))
}

/// The ledger that a sink hosts, where it does.
pub(crate) fn hosted(sink: &SinkSpec, stream: &Stream) -> Option<kafka::Place> {
    let kafka = sink.kafka.as_ref().filter(|kafka| kafka.delivery == kafka::Delivery::ExactlyOnce)?;
    Some(kafka::Place { sink: kafka.clone(), stream: full_name(stream) })
}

/// The ledgers that the stream's clusters may hold, whether or not a sink hosts one now.
pub(crate) fn implied(stream: &Stream) -> Vec<kafka::Place> {
    let sinks = stream.spec.sinks.values().filter_map(|sink| sink.kafka.clone());
    let sources = stream.spec.sources.values().filter_map(|source| source.kafka.as_ref());
    let beside = sources.map(|source| kafka::SinkSpec {
        brokers: source.brokers.clone(),
        tls: source.tls.clone(),
        sasl: source.sasl.clone(),
        properties: source.properties.clone(),
        ..kafka::SinkSpec::default()
    });
    sinks.chain(beside).map(|sink| kafka::Place { sink, stream: full_name(stream) }).collect()
}

fn full_name(stream: &Stream) -> String {
    format!("{}.{}", stream.namespace, stream.name)
}
