//! A query at work: stages over batches, without planning anything.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{FilterBuilder, cast, concat_batches, prep_null_mask_filter, take};
use arrow::datatypes::{Field, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, DataFusionError, Result};
use datafusion_expr::Expr;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use stdx::Clock;

use super::pipeline::{Branch, Stage, Unfold};
use super::{functions, problem, reads};
use crate::step::{Step, Stepped, nested};
use crate::{Reason, ReasonCode, Rows};

/// A query that rows can be pushed through.
#[derive(Clone, Debug)]
pub(super) struct Query {
    branches: Vec<(usize, Vec<Work>)>,
    schema: SchemaRef,
}

/// A stage with its expressions ready to run.
#[derive(Clone, Debug)]
enum Work {
    Pick(Vec<usize>, SchemaRef),
    /// The predicate, and what of the rows is needed afterwards. That can't fail, so it is taken before the rows are
    /// filtered, and only what is needed is copied.
    Filter(Arc<dyn PhysicalExpr>, Option<Columns>),
    Project(Columns),
    Unnest(Unfold),
}

#[derive(Clone, Debug)]
struct Columns {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl Query {
    /// Makes the expressions of planned branches; `now()` in them reads `clock`.
    pub(super) fn new(branches: &[Branch], schema: &SchemaRef, clock: &Clock) -> Result<Self> {
        let ready = |branch: &Branch| Ok((branch.input, works(&branch.stages, clock)?));
        Ok(Self { branches: branches.iter().map(ready).collect::<Result<_>>()?, schema: Arc::clone(schema) })
    }

    /// Pushes rows of input number `from` through.
    pub(super) fn rows(&self, from: usize, columns: &RecordBatch) -> Result<Stepped, Reason> {
        self.push(from, columns)
            .map_err(|error| Reason::new(ReasonCode::Evaluation, problem::clean(&error.find_root().strip_backtrace())))
    }

    fn push(&self, from: usize, columns: &RecordBatch) -> Result<Stepped> {
        let mut done = self.branches.iter().filter(|(input, _)| *input == from);
        let mut parts = Vec::new();
        for (_, works) in &mut done {
            parts.push(self.branch(works, columns)?);
        }
        match parts.len() {
            0 => {
                Ok(Stepped { columns: RecordBatch::new_empty(Arc::clone(&self.schema)), rows: Rows::Picked([].into()) })
            }
            1 => Ok(parts.remove(0)),
            _ => {
                let batch = concat_batches(&self.schema, parts.iter().map(|part| &part.columns))?;
                let row = |part: &Stepped, row: usize| u32::try_from(part.rows.before(row)).unwrap_or(u32::MAX);
                let rows = parts.iter().flat_map(|part| (0..part.columns.num_rows()).map(|at| row(part, at)));
                Ok(Stepped { columns: batch, rows: Rows::Picked(rows.collect()) })
            }
        }
    }

    fn branch(&self, works: &[Work], columns: &RecordBatch) -> Result<Stepped> {
        let mut stepped = Stepped { columns: columns.clone(), rows: Rows::Same };
        for work in works {
            stepped = work.run(stepped)?;
        }
        let count = stepped.columns.num_rows();
        let arrays = stepped.columns.columns().iter().zip(self.schema.fields());
        let arrays = arrays.map(|(array, field)| {
            if array.data_type() == field.data_type() { Ok(Arc::clone(array)) } else { cast(array, field.data_type()) }
        });
        stepped.columns = nested::batch(&self.schema, arrays.collect::<Result<_, _>>()?, count)?;
        Ok(stepped)
    }
}

impl Step for Query {
    fn run(&mut self, from: usize, columns: &RecordBatch) -> Result<Stepped, Reason> {
        self.rows(from, columns)
    }
}

fn works(stages: &[Stage], clock: &Clock) -> Result<Vec<Work>> {
    let mut works = Vec::new();
    for stage in stages {
        match stage {
            Stage::Pick(columns, schema) => match works.last_mut() {
                Some(Work::Filter(_, needed @ None)) => {
                    let column = |(index, field): (&usize, &Arc<Field>)| {
                        Arc::new(Column::new(field.name(), *index)) as Arc<dyn PhysicalExpr>
                    };
                    let exprs = columns.iter().zip(schema.fields()).map(column).collect();
                    *needed = Some(Columns { exprs, schema: Arc::clone(schema) });
                }
                _ => works.push(Work::Pick(columns.clone(), Arc::clone(schema))),
            },
            Stage::Filter(predicate, schema) => works.push(Work::Filter(physical(predicate, schema, clock)?, None)),
            Stage::Project(exprs, input, schema) => {
                let paths = exprs.iter().all(|expr| reads::leaf(expr, input).is_some());
                let exprs = exprs.iter().map(|expr| physical(expr, input, clock)).collect::<Result<_>>()?;
                let columns = Columns { exprs, schema: Arc::clone(schema) };
                match works.last_mut() {
                    Some(Work::Filter(_, needed)) if paths => {
                        // What was picked before is the input of what is taken now.
                        *needed = Some(match needed.take() {
                            Some(picked) => columns.of(&picked)?,
                            None => columns,
                        });
                    }
                    _ => works.push(Work::Project(columns)),
                }
            }
            Stage::Unnest(unfold) => works.push(Work::Unnest(unfold.clone())),
        }
    }
    Ok(works)
}

fn physical(expr: &Expr, schema: &DFSchema, clock: &Clock) -> Result<Arc<dyn PhysicalExpr>> {
    let expr = expr.clone().transform_up(|expr| {
        let own = match &expr {
            Expr::ScalarFunction(call) => functions::at_run(&call.func, clock),
            _ => None,
        };
        Ok(match (own, expr) {
            (Some(own), Expr::ScalarFunction(mut call)) => {
                call.func = own;
                Transformed::yes(Expr::ScalarFunction(call))
            }
            (_, expr) => Transformed::no(expr),
        })
    })?;
    create_physical_expr(&expr.data, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())
}

impl Columns {
    fn evaluate(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let arrays = self.exprs.iter().map(|expr| expr.evaluate(batch)?.into_array(rows));
        Ok(nested::batch(&self.schema, arrays.collect::<Result<_>>()?, rows)?)
    }

    /// These columns, over what `picked` gives, as columns over what `picked` is made of.
    fn of(self, picked: &Self) -> Result<Self> {
        let replaced = |expr: Arc<dyn PhysicalExpr>| {
            let expr = expr.transform_up(|expr| {
                Ok(match expr.downcast_ref::<Column>() {
                    Some(column) => Transformed::yes(Arc::clone(&picked.exprs[column.index()])),
                    None => Transformed::no(expr),
                })
            })?;
            Ok::<_, DataFusionError>(expr.data)
        };
        let exprs = self.exprs.into_iter().map(replaced).collect::<Result<_>>()?;
        Ok(Self { exprs, schema: self.schema })
    }
}

impl Work {
    fn run(&self, stepped: Stepped) -> Result<Stepped> {
        let Stepped { columns, rows } = stepped;
        match self {
            Self::Pick(picked, schema) => {
                let arrays = picked.iter().map(|column| Arc::clone(columns.column(*column))).collect();
                Ok(Stepped { columns: nested::batch(schema, arrays, columns.num_rows())?, rows })
            }
            Self::Project(exprs) => Ok(Stepped { columns: exprs.evaluate(&columns)?, rows }),
            Self::Filter(predicate, needed) => filter(predicate.as_ref(), needed.as_ref(), &columns, &rows),
            Self::Unnest(unfold) => unnest(unfold, &columns, &rows),
        }
    }
}

fn filter(
    predicate: &dyn PhysicalExpr,
    needed: Option<&Columns>,
    columns: &RecordBatch,
    rows: &Rows,
) -> Result<Stepped> {
    let count = columns.num_rows();
    let mask = predicate.evaluate(columns)?.into_array(count)?;
    let mask = mask.as_boolean_opt().ok_or_else(|| DataFusionError::Plan("WHERE is not true or false".to_owned()))?;
    let mask: BooleanArray = if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() };
    let columns = match needed {
        Some(needed) => needed.evaluate(columns)?,
        None => columns.clone(),
    };
    let kept = mask.true_count();
    if kept == count {
        return Ok(Stepped { columns, rows: rows.clone() });
    }
    let filter = FilterBuilder::new(&mask).optimize().build();
    let arrays = columns.columns().iter().map(|array| filter.filter(array)).collect::<Result<_, _>>()?;
    let columns = nested::batch(&columns.schema(), arrays, kept)?;
    let picked: UInt32Array = UInt32Array::from_iter_values(0..u32::try_from(count).unwrap_or(u32::MAX));
    let picked = filter.filter(&picked)?;
    Ok(Stepped { columns, rows: Rows::picked(picked.as_primitive()).through(rows) })
}

fn unnest(unfold: &Unfold, columns: &RecordBatch, rows: &Rows) -> Result<Stepped> {
    let lists: Vec<ArrayRef> = unfold.lists.iter().map(|list| Arc::clone(columns.column(*list))).collect();
    let unfolded = nested::unfold(&lists, unfold.outer)?;
    let arrays = unfold.columns.iter().map(|column| match column {
        Ok(list) => Ok(Arc::clone(&unfolded.elements[*list])),
        Err(column) => take(columns.column(*column), &unfolded.rows, None),
    });
    let arrays = arrays.collect::<Result<_, _>>()?;
    let columns = nested::batch(&unfold.schema, arrays, unfolded.rows.len())?;
    Ok(Stepped { columns, rows: Rows::picked(&unfolded.rows).through(rows) })
}
