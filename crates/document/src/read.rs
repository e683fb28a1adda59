//! From texts to documents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::envelope::Document;
use crate::node::Span;
use crate::problem::{PROBLEMS_MAX, Problem};
use crate::settings::Settings;
use crate::source::Source;
use crate::variables;
use crate::yaml::{self, Budget};

/// A text that holds documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// What the user calls it: a path, or `-` for standard input.
    pub name: String,
    /// YAML or JSON.
    pub text: String,
}

/// What came of reading.
#[derive(Debug, Default)]
pub struct Read {
    /// The documents whose kind and spec can be told, in the order they were written. While there are problems, they
    /// are good for further checks and nothing else.
    pub documents: Vec<Document>,
    /// All that is wrong so far, each with its place.
    pub problems: Vec<Problem>,
}

/// Reads all documents of all inputs, fills in their variables and checks their envelopes.
pub fn read(inputs: &[Input], settings: &Settings) -> Read {
    let mut read = Read::default();
    let mut declared = BTreeSet::new();
    for input in inputs {
        read_input(input, settings, &mut declared, &mut read);
    }
    let unused = settings.all().iter().filter(|setting| !declared.contains(&setting.name));
    read.problems.extend(unused.map(|setting| {
        Problem::at(format!("{} {}", setting.option, setting.name))
            .found(format!("no document has a variable `{}`", setting.name))
            .expected("a name that is declared in `spec.variables`")
            .nearest(&setting.name, declared.iter().map(String::as_str))
    }));
    refuse_twins(&mut read);
    read
}

fn read_input(input: &Input, settings: &Settings, declared: &mut BTreeSet<String>, read: &mut Read) {
    let source = Arc::new(Source::new(&input.name, &input.text));
    let mut budget = Budget::default();
    let problems_before = read.problems.len();
    let roots = yaml::parse(&source, &mut budget, &mut read.problems);
    if roots.is_empty() && read.problems.len() == problems_before {
        let place = source.place(Span::default());
        read.problems.push(Problem::at("").found("no document").expected("at least one").place(place));
    }
    for mut root in roots {
        if read.problems.len() - problems_before >= PROBLEMS_MAX {
            break;
        }
        read.problems.extend(variables::substitute(&mut root, settings, &source, &mut budget, declared));
        read.documents.extend(Document::new(root, &source, &mut read.problems));
    }
}

/// Two documents of one kind, namespace and name would share their state.
fn refuse_twins(read: &mut Read) {
    let mut seen = BTreeMap::new();
    for document in read.documents.iter().filter(|document| document.metadata.name.as_str() != "unnamed") {
        let identity = (document.kind, &document.metadata.namespace, &document.metadata.name);
        let problem = document.locate(Problem::at("metadata.name"));
        let Some(first) = seen.insert(identity, problem.place.clone()) else { continue };
        let first = first.map_or_else(String::new, |place| format!("the first is at {}:{}", place.file, place.line));
        read.problems.push(
            problem
                .found(format!("a second {} named `{}`", document.kind, document.metadata.name))
                .expected("a name of its own")
                .hint(first),
        );
    }
}
