//! `drop`: columns are left out.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use document::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Edge, Planned, Step, Stepped, nested, unknown_column};
use crate::{Reason, ReasonCode, Rows};

/// The columns to leave out, each a name, or a path into structs (`candidate.programpi`).
///
/// What is dropped right after a source is not decoded. A struct that loses its last field goes too.
/// Example: `drop: [cutoutScience, cutoutTemplate, cutoutDifference]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Spec(pub Vec<String>);

pub(super) fn plan(spec: &Spec, inputs: &[Edge], schema: &SchemaRef, path: &str) -> Result<Planned, Vec<Problem>> {
    let gone: BTreeSet<Vec<&str>> = spec.0.iter().map(|name| split(name, schema.fields())).collect();
    let pruned = inputs.iter().any(|edge| edge.pruned);
    let mut problems = Vec::new();
    for (number, name) in spec.0.iter().enumerate().filter(|_| !pruned) {
        problems.extend(missing(&split(name, schema.fields()), schema.fields(), &format!("{path}[{number}]")));
    }
    let (fields, shape) = keep(schema.fields(), &gone, &[]);
    if fields.is_empty() {
        problems.push(Problem::at(path).found("every column is dropped").expected("a column that remains"));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut reads = BTreeSet::new();
    collect_reads(schema.fields(), &shape, &mut Vec::new(), &mut reads);
    let out = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let step = Drop { schema: Arc::clone(&out), shape: Arc::from(shape) };
    Ok(Planned {
        schema: out,
        reads: vec![Some(reads); inputs.len()],
        explain: format!("drop {}", spec.0.join(", ")),
        opener: Arc::new(move |_| Ok(Box::new(step.clone()))),
    })
}

/// A name with a dot in it that is itself a column stays whole.
fn split<'a>(name: &'a str, fields: &Fields) -> Vec<&'a str> {
    if fields.find(name).is_some() { vec![name] } else { name.split('.').collect() }
}

fn missing(parts: &[&str], fields: &Fields, path: &str) -> Option<Problem> {
    let (first, rest) = parts.split_first()?;
    match fields.find(first).map(|(_, field)| field.data_type()) {
        Some(_) if rest.is_empty() => None,
        Some(DataType::Struct(children)) => missing(rest, children, path),
        Some(other) => Some(
            Problem::at(path).found(format!("`{first}`, which is {other}")).expected("a struct, to drop a field of it"),
        ),
        None => Some(unknown_column(path.to_owned(), first, fields.iter().map(|field| field.name().as_str()))),
    }
}

/// What remains of a list of fields: the field's index, and what remains within it unless that is all.
#[derive(Clone, Debug)]
struct Kept {
    index: usize,
    within: Option<Vec<Kept>>,
    field: FieldRef,
}

fn keep(fields: &Fields, gone: &BTreeSet<Vec<&str>>, above: &[&str]) -> (Vec<FieldRef>, Vec<Kept>) {
    let mut kept = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let path: Vec<&str> = above.iter().copied().chain([field.name().as_str()]).collect();
        let touched = gone.iter().any(|gone| gone.len() > path.len() && gone.starts_with(&path));
        let (field, within) = match field.data_type() {
            _ if gone.contains(&path) => continue,
            DataType::Struct(children) if touched => {
                let (fields, within) = keep(children, gone, &path);
                if fields.is_empty() {
                    continue;
                }
                let data_type = DataType::Struct(fields.into());
                (Arc::new(Field::clone(field).with_data_type(data_type)), Some(within))
            }
            _ => (Arc::clone(field), None),
        };
        kept.push(Kept { index, within, field });
    }
    (kept.iter().map(|kept| Arc::clone(&kept.field)).collect(), kept)
}

fn collect_reads(fields: &Fields, shape: &[Kept], above: &mut Vec<String>, reads: &mut BTreeSet<Vec<String>>) {
    for kept in shape {
        above.push(kept.field.name().clone());
        match (&kept.within, fields[kept.index].data_type()) {
            (Some(within), DataType::Struct(children)) => collect_reads(children, within, above, reads),
            _ => {
                reads.insert(above.clone());
            }
        }
        above.pop();
    }
}

#[derive(Clone)]
struct Drop {
    schema: SchemaRef,
    shape: Arc<[Kept]>,
}

impl Step for Drop {
    fn run(&mut self, _from: usize, columns: &RecordBatch) -> Result<Stepped, Reason> {
        let arrays = self.shape.iter().map(|kept| pick(kept, columns.column(kept.index))).collect::<Result<_, _>>();
        let columns = arrays.and_then(|arrays| nested::batch(&self.schema, arrays, columns.num_rows()));
        let columns = columns.map_err(|error| Reason::new(ReasonCode::Evaluation, error.to_string()))?;
        Ok(Stepped { columns, rows: Rows::Same })
    }
}

fn pick(kept: &Kept, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let Some(within) = &kept.within else { return Ok(Arc::clone(array)) };
    let parent = array.as_struct();
    let children = within.iter().map(|kept| pick(kept, parent.column(kept.index))).collect::<Result<_, _>>()?;
    let fields: Fields = within.iter().map(|kept| Arc::clone(&kept.field)).collect();
    Ok(Arc::new(StructArray::try_new(fields, children, parent.nulls().cloned())?))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringArray};

    use super::*;

    fn input() -> RecordBatch {
        let inner = Fields::from(vec![Field::new("rb", DataType::Int32, true), Field::new("pi", DataType::Utf8, true)]);
        let candidate = StructArray::try_new(
            inner.clone(),
            vec![Arc::new(Int32Array::from(vec![1, 2])), Arc::new(StringArray::from(vec!["x", "y"]))],
            None,
        )
        .unwrap();
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int32, false),
            Field::new("candidate", DataType::Struct(inner), true),
            Field::new("cutout", DataType::Utf8, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![7, 8])),
            Arc::new(candidate),
            Arc::new(StringArray::from(vec!["a", "b"])),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    fn edge(schema: SchemaRef, pruned: bool) -> Edge {
        Edge { name: "a".to_owned(), schema, pruned }
    }

    #[test]
    fn columns_and_nested_leaves_go_and_are_not_read() {
        let input = input();
        let spec = Spec(vec!["cutout".to_owned(), "candidate.pi".to_owned()]);
        let planned = plan(&spec, &[edge(input.schema(), false)], &input.schema(), "p").unwrap();
        let path = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
        assert_eq!(planned.reads, [Some([path(&["id"]), path(&["candidate", "rb"])].into())]);

        let out = planned.open(&stdx::Clock::manual(stdx::Timestamp::default())).unwrap().run(0, &input).unwrap();
        assert_eq!(out.columns.schema(), planned.schema);
        let candidate = out.columns.column(1).as_struct();
        assert_eq!(candidate.column_names(), ["rb"]);
        assert_eq!(out.columns.num_columns(), 2);
    }

    #[test]
    fn a_column_that_is_not_there_is_a_problem_unless_it_was_pruned() {
        let schema = input().schema();
        let spec = Spec(vec!["candidate.pj".to_owned(), "id.x".to_owned()]);
        let problems = plan(&spec, &[edge(Arc::clone(&schema), false)], &schema, "p").unwrap_err();
        assert_eq!(problems.len(), 2);
        assert_eq!(problems[0].hint.as_deref(), Some("did you mean `pi`?"));
        assert_eq!(problems[0].path, "p[0]");
        assert!(plan(&spec, &[edge(Arc::clone(&schema), true)], &schema, "p").is_ok());
    }
}
