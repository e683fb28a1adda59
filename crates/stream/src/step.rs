//! What is done to rows on their way: the seam [`Step`], and the list of kinds.

mod drop;
mod explode;
mod nested;
mod rename;
mod sql;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use document::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stdx::Clock;

use crate::{Error, From, Reason, Rows};

pub use drop::Spec as Drop;
pub use explode::Spec as Explode;
pub use rename::Spec as Rename;
pub use sql::{Expression, expression};

/// What a step made of a batch.
#[derive(Debug)]
pub struct Stepped {
    /// The rows that come out.
    pub columns: RecordBatch,
    /// The row of the input that each was made of.
    pub rows: Rows,
}

/// Turns columns into columns.
///
/// Promises: the same input gives the same output; each row that comes out is made of one row that went in; an error
/// means that nothing came out, so that the batch can be halved until the row that fails stands alone.
pub trait Step: Send {
    /// Works on rows from input number `from` (the order of `from:` in the document).
    fn run(&mut self, from: usize, columns: &RecordBatch) -> Result<Stepped, Reason>;
}

/// One step of a stream: where its rows come from, and exactly one of `sql`, `explode`, `rename` and `drop`.
///
/// Example: `{from: alerts, sql: "SELECT * FROM alerts WHERE candidate.rb >= 0.55"}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepSpec {
    /// The sources and steps that rows come from.
    pub from: From,
    /// A query in SQL over the inputs, each of which is a table; a single input, or several with the same columns, are
    /// also the table `input`.
    ///
    /// Rows pass one by one: columns, expressions, `WHERE`, `unnest(list)`, subqueries in `FROM`, and `UNION ALL`.
    /// Names keep their case. Dots reach into structs (`candidate.rb`, named `rb` in the output), `list[1].field` into
    /// lists, `candidate.*` gives all fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// One row per element of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explode: Option<explode::Spec>,
    /// New names for columns at the top: `{old: new}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rename: Option<rename::Spec>,
    /// Columns to leave out; dots reach into structs: `[cutoutScience, candidate.programpi]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<drop::Spec>,
}

/// The kinds of step.
#[derive(Clone, Copy, Debug)]
pub enum StepKind<'a> {
    /// A query.
    Sql(&'a str),
    /// One row per element of a list.
    Explode(&'a explode::Spec),
    /// New names.
    Rename(&'a rename::Spec),
    /// Fewer columns.
    Drop(&'a drop::Spec),
}

impl StepSpec {
    /// What kind of step it is.
    pub fn kind(&self, path: &str) -> Result<StepKind<'_>, Problem> {
        let kinds = [
            self.sql.as_deref().map(StepKind::Sql),
            self.explode.as_ref().map(StepKind::Explode),
            self.rename.as_ref().map(StepKind::Rename),
            self.drop.as_ref().map(StepKind::Drop),
        ];
        let mut found = kinds.into_iter().flatten();
        match (found.next(), found.count()) {
            (Some(kind), 0) => Ok(kind),
            (first, rest) => Err(Problem::at(path)
                .found(if first.is_none() {
                    "no kind of step".to_owned()
                } else {
                    format!("{} kinds of step", rest + 1)
                })
                .expected("exactly one of `sql`, `explode`, `rename`, `drop`")
                .hint("make a step of each, and chain them with `from`")),
        }
    }
}

/// One input edge of a step.
#[derive(Clone, Debug)]
pub struct Edge {
    /// The name of the source or step.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// Whether columns that nobody reads were already taken out of `schema`: then a column that is to be dropped may be
    /// missing.
    pub pruned: bool,
}

/// The leaf paths that are read of an input; `None` means all, also those that later schemas bring.
pub type Reads = Option<BTreeSet<Vec<String>>>;

pub(crate) type Opener = Arc<dyn Fn(&Clock) -> Result<Box<dyn Step>, Error> + Send + Sync>;

/// A planned step: pure, printable, opened once per task.
#[derive(Clone)]
pub struct Planned {
    /// The columns that come out.
    pub schema: SchemaRef,
    /// What is read of each input. A path that ends at a struct or list reads all of it.
    pub reads: Vec<Reads>,
    /// What is done, a line for each thing.
    pub explain: String,
    opener: Opener,
}

impl Planned {
    /// A step that reads everything.
    pub(crate) fn new(schema: SchemaRef, explain: String, opener: Opener) -> Self {
        Self { schema, reads: vec![None], explain, opener }
    }

    /// Makes the step; `now()` in its expressions reads `clock`.
    pub fn open(&self, clock: &Clock) -> Result<Box<dyn Step>, Error> {
        (self.opener)(clock)
    }
}

impl fmt::Debug for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planned")
            .field("schema", &self.schema)
            .field("reads", &self.reads)
            .field("explain", &self.explain)
            .finish_non_exhaustive()
    }
}

/// Decides what a step does to its inputs.
pub fn plan(spec: &StepSpec, inputs: &[Edge], path: &str) -> Result<Planned, Vec<Problem>> {
    match spec.kind(path).map_err(|problem| vec![problem])? {
        StepKind::Sql(query) => sql::plan(query, inputs, &format!("{path}.sql")),
        StepKind::Explode(spec) => explode::plan(spec, inputs, &same_schema(inputs, path)?, &format!("{path}.explode")),
        StepKind::Rename(spec) => rename::plan(spec, inputs, &same_schema(inputs, path)?, &format!("{path}.rename")),
        StepKind::Drop(spec) => drop::plan(spec, inputs, &same_schema(inputs, path)?, &format!("{path}.drop")),
    }
}

/// The schema that all inputs share.
fn same_schema(inputs: &[Edge], path: &str) -> Result<SchemaRef, Vec<Problem>> {
    let Some((first, rest)) = inputs.split_first() else {
        return Err(vec![
            Problem::at(format!("{path}.from")).found("no input").expected("the name of a source or step"),
        ]);
    };
    let other = rest.iter().find(|edge| edge.schema.fields() != first.schema.fields());
    other.map_or(Ok(Arc::clone(&first.schema)), |other| {
        Err(vec![
            Problem::at(format!("{path}.from"))
                .found(format!("`{}` and `{}` with different columns", first.name, other.name))
                .expected("inputs with the same columns and types")
                .hint("bring them to the same columns with an `sql` step: SELECT .. FROM a UNION ALL SELECT .. FROM b"),
        ])
    })
}

/// The problem of a column that isn't there, with the nearest one that is.
fn unknown_column<'a>(path: String, name: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let problem = Problem::at(path).found(format!("column `{name}`")).expected("a column of the input");
    match nearest(name, known) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None => problem,
    }
}

/// The known name that `name` was probably meant to be.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let likeness = |other: &str| {
        datafusion_common::utils::datafusion_strsim::normalized_levenshtein(&lower, &other.to_lowercase())
    };
    known
        .map(|other| (likeness(other), other))
        .filter(|(like, _)| *like >= 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn spec(json: &str) -> StepSpec {
        serde_json::from_str(json).unwrap()
    }

    fn edge(name: &str, column: &str) -> Edge {
        let schema = Arc::new(Schema::new(vec![Field::new(column, DataType::Int64, true)]));
        Edge { name: name.to_owned(), schema, pruned: false }
    }

    #[test]
    fn a_step_is_exactly_one_kind() {
        let one = spec(r#"{"from": "alerts", "drop": ["a"]}"#);
        assert!(matches!(one.kind("p"), Ok(StepKind::Drop(_))));
        assert_eq!(serde_json::to_string(&one).unwrap(), r#"{"from":"alerts","drop":["a"]}"#);
        let none = spec(r#"{"from": ["a", "b"]}"#);
        assert_eq!(none.from.names(), ["a", "b"]);
        assert_eq!(none.kind("p").unwrap_err().found, "no kind of step");
        let two = spec(r#"{"from": "a", "drop": [], "rename": {}}"#);
        assert_eq!(two.kind("p").unwrap_err().found, "2 kinds of step");
        assert!(serde_json::from_str::<StepSpec>(r#"{"from": "a", "filter": "x"}"#).is_err());
    }

    #[test]
    fn inputs_of_other_columns_are_for_sql_alone() {
        let inputs = [edge("a", "x"), edge("b", "y")];
        let problems =
            plan(&spec(r#"{"from": ["a", "b"], "rename": {"x": "z"}}"#), &inputs, "spec.steps.s").unwrap_err();
        assert_eq!(problems[0].path, "spec.steps.s.from");
        let sql = spec(r#"{"from": ["a", "b"], "sql": "SELECT x FROM a UNION ALL SELECT y FROM b"}"#);
        let planned = plan(&sql, &inputs, "spec.steps.s").unwrap();
        assert_eq!(planned.schema.field(0).name(), "x");
        assert!(planned.explain.contains("Union"), "{}", planned.explain);
        let wrong = spec(r#"{"from": ["a", "b"], "sql": "SELECT x FROM input"}"#);
        assert_eq!(plan(&wrong, &inputs, "spec.steps.s").unwrap_err()[0].path, "spec.steps.s.sql");
    }
}
