//! The same stream in a world of its own: made-up sources, temporary sinks, a ledger that nobody else has.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use document::Problem;
use serde_json::{Value, json};

use super::columns::Recipe;
use super::feed::{Feed, Input, To};
use super::kafka::Cluster;
use super::outcome::Row;
use super::read;
use crate::connector::{SinkSpec, SourceSpec, files};
use crate::format::Format;
use crate::{Delivery, Error, Facts, Plan, Stream, World};

/// What the names of all temporary topics begin with.
const PREFIX: &str = "headwater-verify-";
/// Partitions of a temporary topic, unless the document makes its own with more.
const PARTITIONS: u32 = 3;
/// How often a source of files looks for more: the pieces come quickly.
const LOOK_EVERY: &str = "50ms";

/// What is asked of a stand-in.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The stream's spec as its document has it, without variables.
    pub spec: Value,
    /// An empty folder for everything that is a file.
    pub folder: PathBuf,
    /// Tells this verification from all others: lower-case letters and digits.
    pub token: String,
    /// What the made-up rows depend on.
    pub seed: u64,
    /// Rows that each source is given.
    pub rows: u64,
    /// The time over which rows shall come, for sources that make rows up by themselves.
    pub over: Duration,
    /// The longest time between commits: a stream that is killed sooner would never get to one.
    pub commit_every_max: Duration,
}

/// A sink whose rows are counted, or not.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Its name in the document.
    pub name: String,
    /// What the document promises of its rows.
    pub promise: Delivery,
    /// Why its rows are not counted, where they aren't.
    pub unchecked: Option<&'static str>,
}

/// The same stream in a world of its own.
pub struct StandIn {
    asked: Asked,
    namespace: String,
    /// Where it differs from the document in more than places and names.
    notes: Vec<String>,
    sinks: Vec<(Checked, Option<Held>)>,
    clusters: Vec<Cluster>,
}

/// Where a sink's rows are found.
enum Held {
    Files(Format),
    Topic(Box<Cluster>, Format),
}

impl StandIn {
    /// What will stand in for a stream, or why nothing can. Nothing is made yet.
    pub fn new(stream: &Stream, plan: &Plan, asked: Asked, world: &World) -> Result<Self, Vec<Problem>> {
        let sources = stream.spec.sources.iter();
        let problems: Vec<Problem> = sources.filter_map(|(name, source)| unverifiable(name, source)).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let namespace = stream.namespace.clone();
        let mut stand_in = Self { asked, namespace, notes: Vec::new(), sinks: Vec::new(), clusters: Vec::new() };
        stand_in.commit_sooner(plan);
        stand_in.find_sinks(stream, plan, world);
        Ok(stand_in)
    }

    /// Makes folders and topics, and the feed of the sources. Neither inputs, outputs nor ledger of the document are
    /// touched: what its sources hold is known from `facts`.
    pub fn open(&mut self, stream: &Stream, facts: &Facts, world: &World) -> Result<Feed, Error> {
        let mut feed = Feed { rows: self.asked.rows, released: 0, inputs: Vec::new() };
        for (name, source) in &stream.spec.sources {
            feed.inputs.extend(self.source(name, source, stream, facts, world)?);
        }
        self.make_topics(stream)?;
        Ok(feed)
    }

    /// The sinks of the document.
    pub fn checked(&self) -> impl Iterator<Item = &Checked> {
        self.sinks.iter().map(|(checked, _)| checked)
    }

    /// Where the stand-in differs from the document in more than places and names.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The temporary folder, and the clusters with what the names of the temporary topics begin with.
    pub fn places(&self) -> Vec<String> {
        let topics = self
            .clusters
            .iter()
            .map(|cluster| format!("topics {} at {}", self.prefixes().join("*, ") + "*", cluster.brokers()));
        std::iter::once(self.asked.folder.display().to_string()).chain(topics).collect()
    }

    /// The document of one run, as JSON; one that waits looks for more input at the end of what there is, and makes up
    /// its own rows slowly.
    pub fn document(&self, run: &str, waits: bool) -> Value {
        let mut spec = self.asked.spec.clone();
        let folder = self.asked.folder.join(run);
        for section in ["tests", "pod", "errors"] {
            remove(&mut spec, section);
        }
        let at = |name: &str| Value::from(folder.join(name).display().to_string());
        spec["commit"]["url"] = at("ledger");
        spec["quarantine"] = json!({ "url": at("quarantine") });
        for (name, source) in spec["sources"].as_object_mut().into_iter().flatten() {
            self.put_source(name, source, waits);
        }
        for (name, sink) in spec["sinks"].as_object_mut().into_iter().flatten() {
            self.put_sink(run, name, sink);
        }
        json!({
            "apiVersion": document::API_VERSION,
            "kind": "Stream",
            "metadata": { "name": self.name(run), "namespace": self.namespace },
            "spec": spec,
        })
    }

    /// The rows that a sink holds after a run.
    pub fn rows(&self, run: &str, sink: &str) -> Result<Vec<Row>, Error> {
        let found = self.sinks.iter().find(|(checked, _)| checked.name == sink).and_then(|(_, held)| held.as_ref());
        match found {
            Some(Held::Files(format)) => read::files(&self.output_folder(run, sink), format),
            Some(Held::Topic(cluster, format)) => cluster.rows(&self.topic(run, sink), format),
            None => Ok(Vec::new()),
        }
    }

    /// Takes away everything that was made.
    pub fn remove(self) -> Result<(), Error> {
        let groups: Vec<String> = RUNS.map(|run| format!("headwater.{}.{}", self.namespace, self.name(run))).into();
        let mut outcome = Ok(());
        for cluster in &self.clusters {
            outcome = outcome.and(cluster.delete(&self.prefixes(), &groups));
        }
        let folder = &self.asked.folder;
        outcome.and(fs::remove_dir_all(folder).map_err(Error::file("remove", folder)))
    }

    fn prefixes(&self) -> Vec<String> {
        let token = &self.asked.token;
        vec![format!("{PREFIX}{token}-"), format!("_headwater.{}.verify-{token}-", self.namespace)]
    }

    fn name(&self, run: &str) -> String {
        format!("verify-{}-{run}", self.asked.token)
    }

    fn topic(&self, run: &str, name: &str) -> String {
        format!("{PREFIX}{}-{run}-{name}", self.asked.token)
    }

    /// A topic for each entry of a source's `topics`.
    fn input_topics(&self, name: &str, count: usize) -> Vec<String> {
        (0..count).map(|index| self.topic("input", &format!("{name}-{index}"))).collect()
    }

    fn output_folder(&self, run: &str, name: &str) -> PathBuf {
        self.asked.folder.join(run).join("out").join(name)
    }

    fn input_folder(&self, name: &str) -> PathBuf {
        self.asked.folder.join("input").join(name)
    }

    fn commit_sooner(&mut self, plan: &Plan) {
        let most = self.asked.commit_every_max;
        if plan.commit_every > most {
            let every = document::Duration::from_millis(u64::try_from(most.as_millis()).unwrap_or(1).max(1));
            let found = plan.commit_every;
            self.notes.push(format!(
                "commits come every {every} instead of every {}, so that there are some between kills",
                document::Duration::from_millis(u64::try_from(found.as_millis()).unwrap_or(u64::MAX))
            ));
            self.asked.spec["commit"]["every"] = every.to_string().into();
        }
    }

    /// Makes what a source reads; nothing for one that makes rows up by itself.
    fn source(
        &mut self,
        name: &str,
        source: &SourceSpec,
        stream: &Stream,
        facts: &Facts,
        world: &World,
    ) -> Result<Option<Input>, Error> {
        let path = format!("spec.sources.{name}");
        let seen = facts.sources.get(name).and_then(|facts| facts.schema.clone());
        let format = source.kind(&path).and_then(|kind| source.format(kind, &path)).ok().flatten();
        let (Some(schema), Some(format)) = (seen, format.filter(|_| source.generate.is_none())) else {
            return Ok(None);
        };
        let format = self.encodable(format, name);
        let seed = self.asked.seed ^ stdx::hash(name.as_bytes());
        let given = stream.spec.tests.iter().filter_map(|test| test.given.get(name)).flatten().cloned().collect();
        let recipe = Recipe { seed, given, few: folders(stream, &schema), words: compared(stream) };
        let to = if let Some(kafka) = &source.kafka {
            let cluster = Cluster::of_source(kafka, world);
            self.clusters.push(cluster.clone());
            let topics = self.input_topics(name, kafka.topics.as_slice().len());
            topics.iter().try_for_each(|topic| cluster.create(topic, PARTITIONS))?;
            To::Topics { producer: cluster.producer()?, topics, partitions: PARTITIONS }
        } else {
            let folder = self.input_folder(name);
            fs::create_dir_all(&folder).map_err(Error::file("make", &folder))?;
            To::Folder(folder)
        };
        Ok(Some(Input { format, schema, recipe, to }))
    }

    /// The format that made-up input has: bare Avro records are not written, so they come in containers.
    fn encodable(&mut self, format: Format, name: &str) -> Format {
        let settings = serde_json::to_value(&format).unwrap_or_default();
        let framing = settings["avro"].get("framing").and_then(Value::as_str).unwrap_or("auto");
        let is_bare = !matches!(framing, "auto" | "container") || settings["avro"]["schema"].is_object();
        let settings = if format.name() == "avro" && is_bare {
            self.notes.push(format!("source {name} reads Avro containers instead of bare records"));
            json!({"avro": {}})
        } else {
            settings
        };
        self.asked.spec["sources"][name]["format"].clone_from(&settings);
        serde_json::from_value(settings).unwrap_or(format)
    }

    fn find_sinks(&mut self, stream: &Stream, plan: &Plan, world: &World) {
        for (name, sink) in &stream.spec.sinks {
            let promises = plan.promises.iter().filter(|promise| promise.sink == *name);
            let promise = promises.map(|promise| promise.delivery).min().unwrap_or(Delivery::AtLeastOnce);
            let held = held(sink, world);
            let unchecked = match held {
                Some(_) => None,
                None if sink.stdout.is_some() => Some("at least once, and what went to standard output is gone"),
                None => Some("nothing is kept there"),
            };
            self.sinks.push((Checked { name: name.clone(), promise, unchecked }, held));
        }
    }

    fn make_topics(&mut self, stream: &Stream) -> Result<(), Error> {
        let mut clusters = Vec::new();
        for (checked, held) in &self.sinks {
            let (Some(Held::Topic(cluster, _)), Some(sink)) = (held, stream.spec.sinks.get(&checked.name)) else {
                continue;
            };
            clusters.push(Cluster::clone(cluster));
            let given = sink.kafka.as_ref().and_then(|kafka| kafka.create.as_ref());
            let partitions = given.map_or(PARTITIONS, |create| create.partitions.max(PARTITIONS));
            for run in RUNS {
                cluster.create(&self.topic(run, &checked.name), partitions)?;
            }
        }
        self.clusters.extend(clusters);
        Ok(())
    }

    fn put_sink(&self, run: &str, name: &str, sink: &mut Value) {
        if sink.get("files").is_some() {
            sink["files"]["url"] = self.output_folder(run, name).display().to_string().into();
        } else if let Some(kafka) = sink.get_mut("kafka") {
            remove(kafka, "create");
            // Topics that are found row by row can't be made before: what would have been the topic is a header.
            if let Some(sql) = kafka["topic"].get("sql").cloned() {
                kafka["headers"]["headwater-topic"] = sql;
            }
            kafka["topic"] = self.topic(run, name).into();
        }
    }

    fn put_source(&self, name: &str, source: &mut Value, waits: bool) {
        if source.get("files").is_some() {
            let folder = self.input_folder(name);
            source["files"]["path"] = Value::from(folder.display().to_string());
            source["files"]["follow"] = if waits { json!({ "every": LOOK_EVERY }) } else { json!(false) };
        } else if source.get("kafka").is_some() {
            let count = match &source["kafka"]["topics"] {
                Value::Array(topics) => topics.len(),
                _ => 1,
            };
            let topics = self.input_topics(name, count);
            source["kafka"]["topics"] = json!(topics);
            source["kafka"]["start"] = json!("earliest");
            // The user's group belongs to the user's stream.
            remove(&mut source["kafka"], "group");
            remove(&mut source["kafka"], "stop");
        } else if let (Some(generate), true) = (source.get_mut("generate"), waits) {
            let total = generate["total"].as_f64().unwrap_or_default();
            let rate = (total / self.asked.over.as_secs_f64().max(0.1)).max(1.0);
            if generate["rate"].as_f64().is_none_or(|own| own > rate) {
                generate["rate"] = json!(rate);
            }
        }
    }
}

/// The three runs of a verification: one that is killed, and two that are not.
const RUNS: [&str; 3] = [StandIn::KILLED, StandIn::ONCE, StandIn::AGAIN];

impl StandIn {
    /// The run that is killed.
    pub const KILLED: &str = "killed";
    /// The run that shows what should be there.
    pub const ONCE: &str = "once";
    /// The run that shows what differs by itself.
    pub const AGAIN: &str = "again";

    /// The folder of one run.
    pub fn folder(&self, run: &str) -> PathBuf {
        self.asked.folder.join(run)
    }

    /// The temporary folder.
    pub fn root(&self) -> &Path {
        &self.asked.folder
    }
}

fn held(sink: &SinkSpec, world: &World) -> Option<Held> {
    let format = sink.written()?;
    match &sink.kafka {
        Some(kafka) => Some(Held::Topic(Box::new(Cluster::of_sink(kafka, world)), format)),
        None => sink.files.as_ref().map(|_| Held::Files(format)),
    }
}

/// The columns that folders of the sinks are named after, as far as their words tell.
fn folders(stream: &Stream, schema: &SchemaRef) -> Vec<String> {
    let sinks = stream.spec.sinks.values().filter_map(|sink| sink.files.as_ref());
    let words: Vec<&str> = sinks
        .flat_map(|files| &files.partition_by)
        .map(|level| match level {
            files::PartitionSpec::Column(name) => name.as_str(),
            files::PartitionSpec::Expression(expression) => expression.sql.as_str(),
        })
        .collect();
    let names = schema.fields().iter().map(|field| field.name());
    names.filter(|name| words.iter().any(|words| words.contains(name.as_str()))).cloned().collect()
}

/// The texts in the queries of the steps: what stands between single quotes.
fn compared(stream: &Stream) -> Vec<String> {
    let queries = stream.spec.steps.values().filter_map(|step| step.sql.as_deref());
    let texts: BTreeSet<&str> = queries.flat_map(|sql| sql.split('\'').skip(1).step_by(2)).collect();
    texts.into_iter().filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

/// Why a source can't be verified.
fn unverifiable(name: &str, source: &SourceSpec) -> Option<Problem> {
    let at = |connector: &str| Problem::at(format!("spec.sources.{name}.{connector}"));
    let ephemeral = |connector: &str| {
        at(connector)
            .found("a source whose rows can't be read again")
            .expected("a source that is replayable: what this one lost before a commit is gone, which is its promise")
            .hint("verify the same steps and sinks with a `files` or `kafka` source in its place")
    };
    if source.http.is_some() {
        return Some(ephemeral("http"));
    }
    if source.stdin.is_some() {
        return Some(ephemeral("stdin"));
    }
    let generate = source.generate.as_ref()?;
    (generate.seed.is_none() || generate.total.is_none()).then(|| {
        at("generate")
            .found("rows without a `seed` or without a `total`")
            .expected("both: the same rows must come again, and come to an end")
            .hint("generate: {seed: 1, total: 100000, ..}")
    })
}

fn remove(from: &mut Value, name: &str) {
    if let Some(fields) = from.as_object_mut() {
        fields.remove(name);
    }
}
