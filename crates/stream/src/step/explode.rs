//! `explode`: a row per element of a list.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use document::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Edge, Planned, Step, Stepped, nested, unknown_column};
use crate::{Reason, ReasonCode, Rows};

/// Makes a row of each element of a list; the other columns are repeated.
///
/// An element that is a struct stays one: the next step reaches into it with dots. For more than one list, or for
/// expressions beside it, use `unnest(list)` in `sql`.
/// Example: `explode: {column: prv_candidates, as: previous, keep: [objectId]}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The list: a column, or a path into structs (`candidate.epochs`).
    pub column: String,
    /// The name of the column that holds the element. By default the last part of `column`.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The columns at the top to keep beside the element. By default all but the list itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Vec<String>>,
    /// Whether a row whose list is empty or null gives one row with a null element. By default it gives none.
    #[serde(default)]
    pub outer: bool,
}

pub(super) fn plan(spec: &Spec, inputs: &[Edge], schema: &SchemaRef, path: &str) -> Result<Planned, Vec<Problem>> {
    let mut problems = Vec::new();
    let known = || schema.fields().iter().map(|field| field.name().as_str());
    let list = find(&spec.column, schema, path).map_err(|problem| problems.push(problem)).ok();
    let top = list.as_ref().and_then(|(places, _)| places.first().filter(|_| places.len() == 1).copied());
    let keep: Vec<usize> = match &spec.keep {
        None => (0..schema.fields().len()).filter(|index| Some(*index) != top).collect(),
        Some(names) => {
            let place = |(number, name): (usize, &String)| {
                let found = schema.fields().find(name).map(|(index, _)| index);
                if found.is_none() {
                    problems.push(unknown_column(format!("{path}.keep[{number}]"), name, known()));
                }
                found
            };
            names.iter().enumerate().filter_map(place).collect()
        }
    };
    let last = spec.column.rsplit('.').next().unwrap_or_default();
    let name = spec.name.as_deref().unwrap_or(last);
    if keep.iter().any(|index| schema.field(*index).name() == name) {
        problems.push(
            Problem::at(path)
                .found(format!("two columns named `{name}`"))
                .expected("columns with different names")
                .hint("give the element another name with `as`"),
        );
    }
    let Some((places, element)) = list.filter(|_| problems.is_empty()) else { return Err(problems) };

    let mut fields: Vec<FieldRef> = keep.iter().map(|index| Arc::clone(&schema.fields()[*index])).collect();
    fields.push(Arc::new(Field::clone(&element).with_name(name).with_nullable(true)));
    let reads = spec.keep.as_ref().map(|names| {
        let list = places_to_path(&places, schema);
        names.iter().map(|name| vec![name.clone()]).chain([list]).collect()
    });
    let out = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let step = Explode { schema: Arc::clone(&out), places, keep, outer: spec.outer };
    Ok(Planned {
        schema: out,
        reads: vec![reads; inputs.len()],
        explain: format!("explode {} as {name}{}", spec.column, if spec.outer { ", outer" } else { "" }),
        opener: Arc::new(move |_| Ok(Box::new(step.clone()))),
    })
}

/// The way to a list through structs, and the field of its elements.
fn find(column: &str, schema: &SchemaRef, path: &str) -> Result<(Vec<usize>, FieldRef), Problem> {
    let path = format!("{path}.column");
    let whole = schema.fields().find(column).is_some();
    let parts: Vec<&str> = if whole { vec![column] } else { column.split('.').collect() };
    let mut fields = schema.fields();
    let mut places = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let Some((index, field)) = fields.find(part) else {
            return Err(unknown_column(path, part, fields.iter().map(|field| field.name().as_str())));
        };
        places.push(index);
        match field.data_type() {
            DataType::Struct(children) if number + 1 < parts.len() => fields = children,
            other => {
                let element = nested::element(other).filter(|_| number + 1 == parts.len());
                let wrong = || Problem::at(path).found(format!("`{part}`, which is {other}")).expected("a list");
                return element.map(|element| (places, Arc::clone(element))).ok_or_else(wrong);
            }
        }
    }
    Err(Problem::at(path).found("no column").expected("the name of a list"))
}

fn places_to_path(places: &[usize], schema: &SchemaRef) -> Vec<String> {
    let mut fields = schema.fields();
    let mut path = Vec::new();
    for place in places {
        path.push(fields[*place].name().clone());
        if let DataType::Struct(children) = fields[*place].data_type() {
            fields = children;
        }
    }
    path
}

#[derive(Clone)]
struct Explode {
    schema: SchemaRef,
    places: Vec<usize>,
    keep: Vec<usize>,
    outer: bool,
}

impl Explode {
    fn explode(&self, columns: &RecordBatch) -> Result<Stepped, ArrowError> {
        let (first, rest) = self.places.split_first().ok_or(ArrowError::InvalidArgumentError("no list".to_owned()))?;
        let list = rest
            .iter()
            .try_fold(Arc::clone(columns.column(*first)), |array, place| nested::field(array.as_struct(), *place))?;
        let mut unfolded = nested::unfold(&[list], self.outer)?;
        let kept = self.keep.iter().map(|index| take(columns.column(*index), &unfolded.rows, None));
        let mut arrays: Vec<ArrayRef> = kept.collect::<Result<_, _>>()?;
        arrays.append(&mut unfolded.elements);
        let columns = nested::batch(&self.schema, arrays, unfolded.rows.len())?;
        Ok(Stepped { columns, rows: Rows::picked(&unfolded.rows) })
    }
}

impl Step for Explode {
    fn run(&mut self, _from: usize, columns: &RecordBatch) -> Result<Stepped, Reason> {
        self.explode(columns).map_err(|error| Reason::new(ReasonCode::Evaluation, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, Int32Array, ListArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn input() -> RecordBatch {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
            Some(vec![Some(4)]),
        ]);
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int32Array::from(vec![10, 20, 30, 40])) as ArrayRef),
            ("list", Arc::new(lists)),
        ])
        .unwrap()
    }

    fn run(spec: &Spec, input: &RecordBatch) -> Stepped {
        let schema = input.schema();
        let edge = Edge { name: "a".to_owned(), schema: Arc::clone(&schema), pruned: false };
        let planned = plan(spec, &[edge], &schema, "p").unwrap();
        planned.open(&stdx::Clock::manual(stdx::Timestamp::default())).unwrap().run(0, input).unwrap()
    }

    #[test]
    fn elements_become_rows_that_know_where_they_came_from() {
        let spec = Spec { column: "list".to_owned(), name: Some("n".to_owned()), ..Spec::default() };
        // A slice has an offset, which lists must honour.
        let out = run(&spec, &input().slice(0, 4));
        assert_eq!(out.columns.column(0).as_primitive::<Int32Type>().values(), &[10, 10, 40]);
        let elements: Vec<_> = out.columns.column(1).as_primitive::<Int32Type>().iter().collect();
        assert_eq!(elements, [Some(1), None, Some(4)]);
        assert_eq!((0..3).map(|row| out.rows.before(row)).collect::<Vec<_>>(), [0, 0, 3]);
        let out = run(&spec, &input().slice(3, 1));
        assert_eq!(out.columns.column(1).as_primitive::<Int32Type>().values(), &[4]);
    }

    #[test]
    fn outer_keeps_rows_without_elements() {
        let spec = Spec { column: "list".to_owned(), keep: Some(vec![]), outer: true, ..Spec::default() };
        let out = run(&spec, &input());
        let elements: Vec<_> = out.columns.column(0).as_primitive::<Int32Type>().iter().collect();
        assert_eq!(elements, [Some(1), None, None, None, Some(4)]);
        assert_eq!((0..5).map(|row| out.rows.before(row)).collect::<Vec<_>>(), [0, 0, 1, 2, 3]);
        assert!(out.columns.column(0).is_null(2));
    }

    #[test]
    fn what_is_no_list_is_a_problem() {
        let schema = input().schema();
        let edge = [Edge { name: "a".to_owned(), schema: Arc::clone(&schema), pruned: false }];
        let spec = |column: &str| Spec { column: column.to_owned(), ..Spec::default() };
        assert_eq!(plan(&spec("id"), &edge, &schema, "p").unwrap_err()[0].expected, "a list");
        let near = plan(&spec("lists"), &edge, &schema, "p").unwrap_err();
        assert_eq!(near[0].hint.as_deref(), Some("did you mean `list`?"));
    }
}
