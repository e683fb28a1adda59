//! Documents from files and standard input, as streams and queues that can be planned.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use document::{Document, FILE_BYTES_MAX, Input, Kind, Problem};
use stream::{Facts, Plan, Stream};

use crate::exit::{Problems, Unseen};
use crate::queues::LoadedQueue;
use crate::session::Session;

/// A stream and the document that asks for it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) document: Document,
    pub(crate) stream: Stream,
}

impl Loaded {
    /// What the stream is called among others: its name, with its namespace where that isn't `default`.
    pub(crate) fn label(&self) -> String {
        label(&self.stream.namespace, &self.stream.name)
    }

    /// Looks at the world.
    pub(crate) fn facts(&self, forget: &[String], session: &Session) -> Result<Facts, Unseen> {
        stream::facts(&self.stream, forget, &session.world(&self.stream)).map_err(|unseen| {
            let Problems(problems) = self.locate(unseen.problems);
            Unseen(stream::Unseen { problems, ..unseen })
        })
    }

    /// What will happen.
    pub(crate) fn plan(&self, facts: &Facts) -> Result<Plan, Problems> {
        stream::plan(&self.stream, facts).map_err(|found| self.locate(found))
    }

    /// The problems with their places in the document.
    pub(crate) fn locate(&self, problems: Vec<Problem>) -> Problems {
        Problems(problems.into_iter().map(|problem| self.document.locate(problem)).collect())
    }

    /// The names of the parts (`sources` or `sinks`) that use a connector.
    pub(crate) fn parts_with(&self, parts: &str, connector: &str) -> Vec<String> {
        let spec = self.document.spec_json();
        let parts = spec.get(parts).and_then(serde_json::Value::as_object);
        let with = parts.into_iter().flatten().filter(|(_, part)| part.get(connector).is_some());
        with.map(|(name, _)| name.clone()).collect()
    }
}

/// A name, with its namespace where that isn't `default`.
pub(crate) fn label(namespace: &str, name: &str) -> String {
    if namespace == "default" { name.to_owned() } else { format!("{namespace}/{name}") }
}

/// Something that can be run, of any kind.
#[derive(Debug)]
pub(crate) enum Workload {
    Stream(Box<Loaded>),
    Queue(Box<LoadedQueue>),
}

impl Workload {
    /// What it is called among others.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Stream(stream) => stream.label(),
            Self::Queue(queue) => queue.label(),
        }
    }

    /// The document that asks for it.
    pub(crate) fn document(&self) -> &Document {
        match self {
            Self::Stream(stream) => &stream.document,
            Self::Queue(queue) => &queue.document,
        }
    }

    /// The stream, if it is one.
    pub(crate) fn stream(&self) -> Option<&Loaded> {
        match self {
            Self::Stream(stream) => Some(stream),
            Self::Queue(_) => None,
        }
    }
}

/// Reads all documents of all files, which must be streams, or tells all that is wrong with them.
pub(crate) fn load(files: &[PathBuf], session: &Session) -> Result<Vec<Loaded>, Problems> {
    let (mut streams, mut problems) = (Vec::new(), Vec::new());
    for workload in load_all(files, session)? {
        match workload {
            Workload::Stream(stream) => streams.push(*stream),
            Workload::Queue(queue) => {
                let problem = Problem::at("kind").found("a `Queue`, where only streams are taken").expected("`Stream`");
                problems.push(queue.document.locate(problem));
            }
        }
    }
    if problems.is_empty() { Ok(streams) } else { Err(Problems(problems)) }
}

/// Reads all documents of all files, or tells all that is wrong with them.
pub(crate) fn load_all(files: &[PathBuf], session: &Session) -> Result<Vec<Workload>, Problems> {
    let (mut inputs, mut problems) = (Vec::new(), Vec::new());
    for (at, path) in files.iter().enumerate() {
        if path.as_os_str() == "-" && files.iter().take(at).any(|earlier| earlier == path) {
            problems.push(Problem::at("").found("`-` given twice").expected("standard input once"));
            continue;
        }
        match read_text(path) {
            Ok(text) => inputs.push(Input { name: path.display().to_string(), text }),
            Err(problem) => problems.push(problem),
        }
    }
    // A `--set` that belongs to a file that can't be read isn't wrong too.
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    let read = document::read(&inputs, &session.settings);
    problems.extend(read.problems);
    let mut loaded = Vec::new();
    for document in read.documents {
        match workload_of(document) {
            Ok(workload) => loaded.push(workload),
            Err(found) => problems.extend(found),
        }
    }
    problems.extend(loaded.iter().filter_map(Workload::stream).flat_map(standard_input_twice));
    if problems.is_empty() { Ok(loaded) } else { Err(Problems(problems)) }
}

/// Reads the only document of a file.
pub(crate) fn load_one(file: &Path, session: &Session) -> Result<Loaded, Problems> {
    let mut loaded = load(&[file.to_owned()], session)?;
    match (loaded.pop(), loaded.len()) {
        (Some(one), 0) => Ok(one),
        (_, more) => {
            let problem = Problem::at("").found(format!("{} documents in `{}`", more + 1, file.display()));
            Err(Problems(vec![problem.expected("a file with one document")]))
        }
    }
}

fn workload_of(document: Document) -> Result<Workload, Vec<Problem>> {
    match document.kind {
        Kind::Stream => stream_of(document).map(|stream| Workload::Stream(Box::new(stream))),
        Kind::Queue => LoadedQueue::new(document).map(|queue| Workload::Queue(Box::new(queue))),
        Kind::Gateway | Kind::SparkJob => {
            let problem = Problem::at("kind").found(format!("kind `{}` is not run yet", document.kind));
            Err(vec![document.locate(problem.expected("`Stream` or `Queue`"))])
        }
    }
}

fn stream_of(document: Document) -> Result<Loaded, Vec<Problem>> {
    let spec = document.spec().map_err(|mut problems| {
        let graph = stream::check_tree(&document.spec_json());
        problems.extend(graph.into_iter().map(|problem| document.locate(problem)));
        problems
    })?;
    let (name, namespace) = (document.metadata.name.to_string(), document.metadata.namespace.to_string());
    let stream = Stream { name, namespace, spec };
    let problems = stream::check(&stream);
    if problems.is_empty() {
        Ok(Loaded { document, stream })
    } else {
        Err(problems.into_iter().map(|problem| document.locate(problem)).collect())
    }
}

fn standard_input_twice(loaded: &Loaded) -> Vec<Problem> {
    if loaded.document.file != "-" {
        return Vec::new();
    }
    let problem = |name: String| {
        let problem = Problem::at(format!("spec.sources.{name}.stdin"))
            .found("standard input, from which the document itself was read")
            .expected("the document in a file");
        loaded.document.locate(problem)
    };
    loaded.parts_with("sources", "stdin").into_iter().map(problem).collect()
}

/// The text of a file, or of standard input where it is called `-`.
pub(crate) fn read_text(path: &Path) -> Result<String, Problem> {
    // One byte more than is allowed, so that too much is noticed.
    let most = FILE_BYTES_MAX as u64 + 1;
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(most).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(most).read_to_string(&mut text))
    };
    match read {
        Ok(_) => Ok(text),
        Err(error) => {
            let found = format!("can't read `{}`: {error}", path.display());
            Err(Problem::at("").found(found).expected("a text file that can be read"))
        }
    }
}
