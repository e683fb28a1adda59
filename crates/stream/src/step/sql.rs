//! `sql`: a query that rows pass one by one.
//!
//! ```text
//!  text --rewrite--> statement --context--> optimised plan --pipeline--> branches of stages --run--> rows
//!                                                               reads <-----+
//! ```

mod context;
mod functions;
mod json;
mod pipeline;
mod problem;
mod reads;
mod rewrite;
mod run;
#[cfg(test)]
mod tests;
mod time;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_expr::LogicalPlan;
use datafusion_sql::sqlparser::ast::Statement;
use document::Problem;
use stdx::Clock;

use super::{Edge, Planned, Reads};
use crate::{Error, Reason};
use context::{INPUT, Table};
use pipeline::{Branch, Stage};

/// Decides how a query is done.
pub(super) fn plan(sql: &str, inputs: &[Edge], path: &str) -> Result<Planned, Vec<Problem>> {
    let tables = context::tables(inputs).map_err(|problem| vec![problem.at(path)])?;
    let statement = rewrite::query(sql, &tables, path)?;
    let optimised =
        context::optimise(statement, &tables).map_err(|error| vec![problem::planning(&error, &tables, sql, path)])?;
    let branches = branches(&optimised, &tables, path)?;
    let schema = Arc::new(pipeline::output(&optimised));
    check_names(&schema, path)?;
    for (number, edge) in inputs.iter().enumerate() {
        if branches.iter().all(|branch| branch.input != number) && !reads_nothing(&optimised) {
            return Err(vec![unused(edge, path)]);
        }
    }
    run::Query::new(&branches, &schema, &Clock::system())
        .map_err(|error| vec![problem::planning(&error, &tables, sql, path)])?;
    let reads = (0..inputs.len()).map(|number| reads::of(&branches, number, &inputs[number].schema)).collect();
    let (opened, branches) = (Arc::clone(&schema), Arc::new(branches));
    Ok(Planned {
        schema,
        reads,
        explain: optimised.display_indent().to_string(),
        opener: Arc::new(move |clock| {
            let query = run::Query::new(&branches, &opened, clock);
            let query = query.map_err(|error| Error::House(format!("open a planned query: {error}")))?;
            Ok(Box::new(query))
        }),
    })
}

fn branches(plan: &LogicalPlan, tables: &[Table], path: &str) -> Result<Vec<Branch>, Vec<Problem>> {
    pipeline::branches(plan, tables).map_err(|problem| vec![problem.at(path)])
}

/// A query whose filter is always false has no branches, and that is no mistake in `from`.
fn reads_nothing(plan: &LogicalPlan) -> bool {
    let mut empty = matches!(plan, LogicalPlan::EmptyRelation(_));
    for input in plan.inputs() {
        empty |= reads_nothing(input);
    }
    empty
}

fn unused(edge: &Edge, path: &str) -> Problem {
    Problem::at(path)
        .found(format!("a query that never reads `{}`", edge.name))
        .expected("each input in a FROM")
        .hint(format!("SELECT .. FROM {} UNION ALL .., or take it out of `from`", edge.name))
}

fn check_names(schema: &SchemaRef, path: &str) -> Result<(), Vec<Problem>> {
    let mut seen = BTreeSet::new();
    let doubled = schema.fields().iter().filter(|field| !seen.insert(field.name().as_str()));
    let problems: Vec<_> = doubled.map(|field| problem::doubled(field.name()).at(path)).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// One SQL expression over the columns of a schema, for parts that need a value per row.
#[derive(Debug)]
pub struct Expression {
    /// The type of its values.
    pub data_type: DataType,
    /// The leaf paths it reads.
    pub reads: Reads,
    query: run::Query,
}

impl Expression {
    /// The value for each row of a batch that has the schema it was planned for.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, Reason> {
        Ok(Arc::clone(self.query.rows(0, batch)?.columns.column(0)))
    }
}

/// Plans one expression; `now()` in it reads the machine's clock.
pub fn expression(sql: &str, schema: &SchemaRef, path: &str) -> Result<Expression, Vec<Problem>> {
    let tables = [Table { name: INPUT.to_owned(), schema: Arc::clone(schema), inputs: vec![0] }];
    let statement: Statement = rewrite::expression(sql, &tables, path)?;
    let optimised =
        context::optimise(statement, &tables).map_err(|error| vec![problem::planning(&error, &tables, sql, path)])?;
    let branches = branches(&optimised, &tables, path)?;
    let by_row =
        |branch: &Branch| branch.stages.iter().all(|stage| !matches!(stage, Stage::Filter(..) | Stage::Unnest(_)));
    if branches.len() != 1 || !branches.iter().all(by_row) {
        return Err(vec![
            Problem::at(path)
                .found("an expression that gives more or fewer values than rows")
                .expected("one value per row"),
        ]);
    }
    let out = Arc::new(pipeline::output(&optimised));
    let query = run::Query::new(&branches, &out, &Clock::system())
        .map_err(|error| vec![problem::planning(&error, &tables, sql, path)])?;
    Ok(Expression { data_type: out.field(0).data_type().clone(), reads: reads::of(&branches, 0, schema), query })
}
