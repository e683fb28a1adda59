//! What every document has around its spec.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::check;
use crate::name::Name;
use crate::node::{Node, Value};
use crate::path::{Path, Segment};
use crate::problem::Problem;
use crate::source::Source;
use crate::within;

/// The `apiVersion` of every document.
pub const API_VERSION: &str = "headwater.dev/v1alpha1";

/// What a document describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// Rows that flow from sources through steps to sinks.
    Stream,
    /// A jobs API, its store and its workers.
    Queue,
    /// A gateway to notebook kernels.
    Gateway,
    /// A Spark application on Kubernetes.
    SparkJob,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 4] = [Kind::Stream, Kind::Queue, Kind::Gateway, Kind::SparkJob];

    /// The kind as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Stream => "Stream",
            Kind::Queue => "Queue",
            Kind::Gateway => "Gateway",
            Kind::SparkJob => "SparkJob",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a document is called, and what others have noted on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The name, unique for its kind and namespace.
    pub name: Name,
    /// The namespace, which keeps documents of the same name apart; also the Kubernetes namespace.
    #[serde(default = "default_namespace")]
    pub namespace: Name,
    /// Short texts to select by, also put on Kubernetes objects.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Notes that nothing selects by, also put on Kubernetes objects.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

fn default_namespace() -> Name {
    "default".parse().expect("a name by its letters")
}

/// A document as it is written, for its check and its schema.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Envelope {
    /// The version of the shape of documents.
    api_version: ApiVersion,
    /// What the document describes.
    kind: Kind,
    /// What the document is called.
    metadata: Metadata,
    /// What is asked.
    spec: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
enum ApiVersion {
    #[serde(rename = "headwater.dev/v1alpha1")]
    V1Alpha1,
}

/// One document: its envelope read, its variables filled in, its spec still a tree.
#[derive(Debug, Clone)]
pub struct Document {
    /// The file it came from, as the user named it.
    pub file: String,
    /// What it describes.
    pub kind: Kind,
    /// What it is called.
    pub metadata: Metadata,
    root: Node,
    source: Arc<Source>,
}

impl Document {
    /// Checks the envelope. A document comes out as soon as its kind and spec can be told, so that its spec can be
    /// checked in the same go; one whose metadata is wrong is then called `unnamed`.
    pub(crate) fn new(root: Node, source: &Arc<Source>, problems: &mut Vec<Problem>) -> Option<Document> {
        let (metadata, found) = check::envelope(&root, source);
        problems.extend(found);
        let kind = root.get("kind").and_then(Node::text);
        let kind = Kind::ALL.into_iter().find(|known| Some(known.as_str()) == kind)?;
        matches!(root.get("spec")?.value, Value::Map(_)).then_some(())?;
        let metadata = metadata.unwrap_or_else(|| Metadata {
            name: "unnamed".parse().expect("a name by its letters"),
            namespace: default_namespace(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        });
        Some(Document { file: source.name.clone(), kind, metadata, root, source: Arc::clone(source) })
    }

    /// The spec as the type of its domain, or all that is wrong with it.
    ///
    /// Where a variable had no value, the list of problems may be empty: [`crate::read`] has told what is wrong.
    pub fn spec<T: DeserializeOwned + JsonSchema>(&self) -> Result<T, Vec<Problem>> {
        let key = self.root.entry("spec").map(|entry| entry.key_span);
        check::part(&self.spec_without_variables(), key, &Path::default().field("spec"), &self.source)
    }

    /// The spec as plain values, without `variables`: to be compared, kept or sent on.
    pub fn spec_json(&self) -> serde_json::Value {
        self.spec_without_variables().to_json()
    }

    /// The part at a path such as `spec.steps[2].sql`.
    pub fn node(&self, path: &str) -> Option<&Node> {
        self.node_at(&Path::parse(path))
    }

    /// The same problem with the place of its path: that of the deepest part of it that the document has, or of the
    /// stretch within its text. A problem that has a place already keeps it.
    #[must_use]
    pub fn locate(&self, mut problem: Problem) -> Problem {
        if problem.place.is_some() {
            return problem;
        }
        let path = Path::parse(&problem.path);
        let mut span = self.root.spot(&path);
        if let Some(within) = problem.within.take() {
            match self.node_at(&path).and_then(|node| within::span(node, *within, &self.source.text)) {
                Some(exact) => span = exact,
                // Said in words where it can't be shown.
                None => problem.found = format!("{} ({within})", problem.found),
            }
        }
        let mut place = self.source.place(span);
        if problem.is_masked {
            self.source.mask(&mut place, &[span]);
        }
        problem.place(place)
    }

    fn node_at(&self, path: &Path) -> Option<&Node> {
        path.segments().iter().try_fold(&self.root, |node, segment| match (segment, &node.value) {
            (Segment::Field(name), _) => node.get(name),
            (Segment::Item(index), Value::List(items)) => items.get(*index),
            (Segment::Item(_), _) => None,
        })
    }

    fn spec_without_variables(&self) -> Node {
        let mut spec = self.root.get("spec").cloned().unwrap_or_else(|| self.root.clone());
        if let Value::Map(entries) = &mut spec.value {
            entries.retain(|entry| entry.key != "variables");
        }
        spec
    }
}
