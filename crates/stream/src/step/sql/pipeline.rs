//! A plan as what is done to the rows of each input, in order.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::{DFSchema, DFSchemaRef, NullHandling};
use datafusion_expr::utils::conjunction;
use datafusion_expr::{Expr, LogicalPlan, TableScan, Unnest};

use super::context::Table;
use super::problem::Found;

/// What is done to the rows of one input.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    /// The number of the input.
    pub(super) input: usize,
    /// What is done to them, in order.
    pub(super) stages: Vec<Stage>,
}

/// One thing that is done to rows.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// Some of the columns, by number.
    Pick(Vec<usize>, SchemaRef),
    /// The rows for which an expression over columns is true.
    Filter(Expr, DFSchemaRef),
    /// New columns from expressions over columns.
    Project(Vec<Expr>, DFSchemaRef, SchemaRef),
    /// A row per element of lists.
    Unnest(Unfold),
}

/// A row per element of lists.
#[derive(Clone, Debug)]
pub(super) struct Unfold {
    /// The lists, side by side.
    pub(super) lists: Vec<usize>,
    /// Each output column: a list's elements by its place in `lists`, or a column that is repeated.
    pub(super) columns: Vec<Result<usize, usize>>,
    /// Whether rows without elements give a row of nulls.
    pub(super) outer: bool,
    pub(super) schema: SchemaRef,
}

/// The branches that together make a plan.
pub(super) fn branches(plan: &LogicalPlan, tables: &[Table]) -> Result<Vec<Branch>, Found> {
    let (input, stage) = match plan {
        LogicalPlan::TableScan(scan) => return scanned(scan, tables),
        LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row => return Ok(Vec::new()),
        LogicalPlan::SubqueryAlias(alias) => return branches(&alias.input, tables),
        LogicalPlan::Union(union) => {
            let parts: Vec<_> = union.inputs.iter().map(|input| branches(input, tables)).collect::<Result<_, _>>()?;
            return Ok(parts.into_iter().flatten().collect());
        }
        LogicalPlan::Filter(filter) => {
            (&filter.input, Stage::Filter(filter.predicate.clone(), Arc::clone(filter.input.schema())))
        }
        LogicalPlan::Projection(projection) => {
            let out = arrow_schema(&projection.schema);
            (&projection.input, Stage::Project(projection.expr.clone(), Arc::clone(projection.input.schema()), out))
        }
        LogicalPlan::Unnest(unnest) => (&unnest.input, Stage::Unnest(unfold(unnest)?)),
        other => return Err(refused(other)),
    };
    let mut branches = branches(input, tables)?;
    for branch in &mut branches {
        branch.stages.push(stage.clone());
    }
    Ok(branches)
}

/// The schema of what comes out: view types, which sinks don't know, come out as plain text and bytes.
pub(super) fn output(plan: &LogicalPlan) -> Schema {
    let schema = plan.schema().as_arrow();
    let plain = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8View => Field::clone(field).with_data_type(DataType::Utf8),
        DataType::BinaryView => Field::clone(field).with_data_type(DataType::Binary),
        _ => Field::clone(field),
    };
    Schema::new_with_metadata(schema.fields().iter().map(plain).collect::<Vec<_>>(), schema.metadata().clone())
}

fn scanned(scan: &TableScan, tables: &[Table]) -> Result<Vec<Branch>, Found> {
    let table = tables.iter().find(|table| table.name == scan.table_name.table());
    let table = table.ok_or_else(|| Found::new(format!("table `{}`", scan.table_name), "a table of the step"))?;
    if scan.fetch.is_some() {
        return Err(Found::new("LIMIT", "a query without it"));
    }
    let mut stages = Vec::new();
    if let Some(filter) = conjunction(scan.filters.iter().cloned()) {
        let whole = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &table.schema);
        let whole = whole.map_err(|error| Found::new(error.strip_backtrace(), "columns with different names"))?;
        stages.push(Stage::Filter(filter, Arc::new(whole)));
    }
    if let Some(columns) = &scan.projection {
        stages.push(Stage::Pick(columns.clone(), arrow_schema(&scan.projected_schema)));
    }
    Ok(table.inputs.iter().map(|input| Branch { input: *input, stages: stages.clone() }).collect())
}

fn unfold(unnest: &Unnest) -> Result<Unfold, Found> {
    let deep = unnest.list_type_columns.iter().any(|(_, list)| list.depth > 1);
    if deep {
        return Err(Found::new("unnest of unnest", "one level at a time")
            .hint("SELECT unnest(inner) AS x FROM (SELECT unnest(list) AS inner FROM ..)"));
    }
    if !unnest.struct_type_columns.is_empty() {
        return Err(Found::new("unnest of a struct", "unnest of a list").hint("column.* gives the fields of a struct"));
    }
    let lists: Vec<usize> = unnest.list_type_columns.iter().map(|(index, _)| *index).collect();
    let columns = unnest.dependency_indices.iter();
    let columns = columns.map(|index| lists.iter().position(|list| list == index).ok_or(*index)).collect();
    let outer = !matches!(unnest.options.null_handling, NullHandling::Drop);
    Ok(Unfold { lists, columns, outer, schema: arrow_schema(&unnest.schema) })
}

fn arrow_schema(schema: &DFSchemaRef) -> SchemaRef {
    Arc::clone(schema.inner())
}

fn refused(plan: &LogicalPlan) -> Found {
    let what = match plan {
        LogicalPlan::Aggregate(_) => "an aggregate",
        LogicalPlan::Distinct(_) => "DISTINCT",
        LogicalPlan::Join(_) => "a join",
        LogicalPlan::Limit(_) => "LIMIT",
        LogicalPlan::Sort(_) => "ORDER BY",
        LogicalPlan::Subquery(_) => "a subquery in an expression",
        LogicalPlan::Window(_) => "a window function",
        LogicalPlan::EmptyRelation(_) => "a SELECT without FROM",
        _ => "something that needs more than one row at a time",
    };
    Found::new(what, "a query that takes rows one by one: columns, expressions, WHERE, unnest, UNION ALL")
}
