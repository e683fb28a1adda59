//! `rename`: columns get new names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use document::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Edge, Planned, Step, Stepped, nested, unknown_column};
use crate::{Reason, ReasonCode, Rows};

/// New names of columns at the top: `{old: new}`. The others keep theirs, and all keep their order.
///
/// To rename a field of a struct, take it out with `sql`: `SELECT candidate.rb AS realBogus`.
/// Example: `rename: {objectId: object, candid: alert}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Spec(pub BTreeMap<String, String>);

pub(super) fn plan(spec: &Spec, inputs: &[Edge], schema: &SchemaRef, path: &str) -> Result<Planned, Vec<Problem>> {
    let pruned = inputs.iter().any(|edge| edge.pruned);
    let known = || schema.fields().iter().map(|field| field.name().as_str());
    let unknown = spec.0.keys().filter(|old| !pruned && schema.fields().find(old).is_none());
    let mut problems: Vec<_> = unknown.map(|old| unknown_column(format!("{path}.{old}"), old, known())).collect();

    let named = |field: &FieldRef| spec.0.get(field.name()).cloned().unwrap_or_else(|| field.name().clone());
    let mut seen = BTreeSet::new();
    for field in schema.fields() {
        if !seen.insert(named(field)) {
            problems.push(
                Problem::at(path)
                    .found(format!("two columns named `{}`", named(field)))
                    .expected("columns with different names"),
            );
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let fields: Vec<Field> = schema.fields().iter().map(|field| Field::clone(field).with_name(named(field))).collect();
    let out = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let names: Vec<String> = spec.0.iter().map(|(old, new)| format!("{old} to {new}")).collect();
    let step = Rename(Arc::clone(&out));
    Ok(Planned {
        schema: out,
        reads: vec![None; inputs.len()],
        explain: format!("rename {}", names.join(", ")),
        opener: Arc::new(move |_| Ok(Box::new(step.clone()))),
    })
}

#[derive(Clone)]
struct Rename(SchemaRef);

impl Step for Rename {
    fn run(&mut self, _from: usize, columns: &RecordBatch) -> Result<Stepped, Reason> {
        let columns = nested::batch(&self.0, columns.columns().to_vec(), columns.num_rows())
            .map_err(|error| Reason::new(ReasonCode::Evaluation, error.to_string()))?;
        Ok(Stepped { columns, rows: Rows::Same })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int32Array};

    use super::*;

    fn input() -> RecordBatch {
        let one = || Arc::new(Int32Array::from(vec![1])) as ArrayRef;
        RecordBatch::try_from_iter([("objectId", one()), ("candid", one())]).unwrap()
    }

    fn planned(names: &[(&str, &str)]) -> Result<Planned, Vec<Problem>> {
        let spec = Spec(names.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect());
        let schema = input().schema();
        plan(&spec, &[Edge { name: "a".to_owned(), schema: Arc::clone(&schema), pruned: false }], &schema, "p")
    }

    #[test]
    fn names_change_in_place() {
        let planned = planned(&[("objectId", "candid"), ("candid", "alert")]).unwrap();
        let out = planned.open(&stdx::Clock::manual(stdx::Timestamp::default())).unwrap().run(0, &input()).unwrap();
        let schema = out.columns.schema();
        assert_eq!(schema.fields().iter().map(|field| field.name()).collect::<Vec<_>>(), ["candid", "alert"]);
    }

    #[test]
    fn unknown_and_doubled_names_are_problems() {
        let problems = planned(&[("objectid", "x"), ("candid", "objectId")]).unwrap_err();
        assert_eq!(problems[0].hint.as_deref(), Some("did you mean `objectId`?"));
        assert_eq!(problems[1].found, "two columns named `objectId`");
    }
}
