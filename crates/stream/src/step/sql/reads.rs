//! Which leaves of an input a query reads: what nobody reads needn't be decoded.

use std::collections::BTreeSet;

use arrow::datatypes::SchemaRef;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema};
use datafusion_expr::Expr;

use super::super::Reads;
use super::pipeline::{Branch, Stage};

/// A column by number, and the path within it.
type Leaf = (usize, Vec<String>);

/// What the branches of input number `input` read of it; `None` if that is all of it.
pub(super) fn of(branches: &[Branch], input: usize, schema: &SchemaRef) -> Reads {
    let mut leaves: BTreeSet<Leaf> = BTreeSet::new();
    for branch in branches.iter().filter(|branch| branch.input == input) {
        leaves.append(&mut through(&branch.stages, schema));
    }
    if (0..schema.fields().len()).all(|column| leaves.contains(&(column, Vec::new()))) {
        return None;
    }
    let whole: BTreeSet<usize> = leaves.iter().filter(|leaf| leaf.1.is_empty()).map(|leaf| leaf.0).collect();
    let leaves = leaves.into_iter().filter(|(column, path)| path.is_empty() || !whole.contains(column));
    Some(leaves.map(|(column, path)| [vec![schema.field(column).name().clone()], path].concat()).collect())
}

/// What must go into stages for all of their output to come out: followed from the last stage to the first.
fn through(stages: &[Stage], schema: &SchemaRef) -> BTreeSet<Leaf> {
    let width = stages.iter().rev().find_map(|stage| match stage {
        Stage::Pick(_, out) | Stage::Project(_, _, out) => Some(out.fields().len()),
        Stage::Unnest(unfold) => Some(unfold.schema.fields().len()),
        Stage::Filter(..) => None,
    });
    let mut wanted: BTreeSet<Leaf> =
        (0..width.unwrap_or(schema.fields().len())).map(|column| (column, Vec::new())).collect();
    for stage in stages.iter().rev() {
        wanted = before(stage, wanted);
    }
    wanted
}

fn before(stage: &Stage, wanted: BTreeSet<Leaf>) -> BTreeSet<Leaf> {
    match stage {
        Stage::Pick(columns, _) => wanted.into_iter().map(|(column, path)| (columns[column], path)).collect(),
        Stage::Filter(predicate, schema) => {
            let mut wanted = wanted;
            collect(predicate, schema, &mut wanted);
            wanted
        }
        Stage::Project(exprs, schema, _) => {
            let mut needed = BTreeSet::new();
            for (column, path) in wanted {
                match leaf(&exprs[column], schema) {
                    Some((base, within)) => {
                        needed.insert((base, [within, path].concat()));
                    }
                    None => collect(&exprs[column], schema, &mut needed),
                }
            }
            needed
        }
        Stage::Unnest(unfold) => {
            let before = |(column, path): Leaf| match unfold.columns[column] {
                Ok(list) => (unfold.lists[list], Vec::new()),
                Err(column) => (column, path),
            };
            // The lists decide how many rows there are, also those that nobody looks into.
            wanted.into_iter().map(before).chain(unfold.lists.iter().map(|list| (*list, Vec::new()))).collect()
        }
    }
}

/// All leaves in an expression.
fn collect(expr: &Expr, schema: &DFSchema, leaves: &mut BTreeSet<Leaf>) {
    let visited = expr.apply(|expr| {
        Ok(match leaf(expr, schema) {
            Some(found) => {
                leaves.insert(found);
                TreeNodeRecursion::Jump
            }
            None => TreeNodeRecursion::Continue,
        })
    });
    debug_assert!(visited.is_ok(), "the visitor never fails");
}

/// The leaf that an expression is, if it is a column or a chain of names into one.
pub(super) fn leaf(expr: &Expr, schema: &DFSchema) -> Option<Leaf> {
    match expr {
        Expr::Alias(alias) => leaf(&alias.expr, schema),
        Expr::Column(column) => Some((index(column, schema)?, Vec::new())),
        Expr::ScalarFunction(call) if call.func.name() == "get_field" => {
            let (base, names) = call.args.split_first()?;
            let (column, mut path) = leaf(base, schema)?;
            for name in names {
                let Expr::Literal(name, _) = name else { return None };
                path.push(name.try_as_str()??.to_owned());
            }
            Some((column, path))
        }
        _ => None,
    }
}

fn index(column: &Column, schema: &DFSchema) -> Option<usize> {
    schema.index_of_column(column).ok()
}
