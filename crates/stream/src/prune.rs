//! Takes out of a schema what nobody reads, down to the leaves of nested records.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};

/// What is read of an edge: paths of columns or of fields within them; `None` is everything.
pub(crate) type Reads = Option<BTreeSet<Vec<String>>>;

/// Both together.
pub(crate) fn union(a: Reads, b: &Reads) -> Reads {
    match (a, b) {
        (Some(mut a), Some(b)) => {
            a.extend(b.iter().cloned());
            Some(a)
        }
        _ => None,
    }
}

/// `schema` with only what `reads` names. A path that stops at a record keeps all of it; lists keep their elements
/// whole unless the path goes on.
pub(crate) fn prune(schema: &SchemaRef, reads: &Reads) -> SchemaRef {
    let Some(reads) = reads else { return Arc::clone(schema) };
    let paths: Vec<&[String]> = reads.iter().map(Vec::as_slice).collect();
    let fields = keep(schema.fields(), &paths);
    // A batch must have its number of rows even when nobody reads a value: the cheapest column is kept.
    if fields.is_empty() {
        let cheapest = schema.fields().iter().min_by_key(|field| width(field.data_type()));
        return Arc::new(Schema::new(cheapest.into_iter().cloned().collect::<Vec<_>>()));
    }
    Arc::new(Schema::new(fields))
}

fn keep(fields: &Fields, paths: &[&[String]]) -> Vec<FieldRef> {
    fields.iter().filter_map(|field| keep_field(field, paths)).collect()
}

fn keep_field(field: &FieldRef, paths: &[&[String]]) -> Option<FieldRef> {
    let rests: Vec<&[String]> =
        paths.iter().filter(|path| path.first() == Some(field.name())).map(|path| &path[1..]).collect();
    if rests.is_empty() {
        return None;
    }
    if rests.iter().any(|rest| rest.is_empty()) {
        return Some(Arc::clone(field));
    }
    let DataType::Struct(inner) = field.data_type() else { return Some(Arc::clone(field)) };
    let kept = keep(inner, &rests);
    if kept.is_empty() {
        return Some(Arc::clone(field));
    }
    let pruned = Field::new(field.name(), DataType::Struct(kept.into()), field.is_nullable());
    Some(Arc::new(pruned.with_metadata(field.metadata().clone())))
}

fn width(data_type: &DataType) -> usize {
    data_type.primitive_width().unwrap_or(usize::MAX)
}

/// The number of leaves in a schema, for the printed plan.
pub(crate) fn leaves(fields: &Fields) -> usize {
    fields.iter().map(|field| leaves_of(field.data_type())).sum()
}

fn leaves_of(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => leaves(fields),
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            leaves_of(field.data_type())
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> SchemaRef {
        let candidate = Fields::from(vec![
            Field::new("jd", DataType::Float64, false),
            Field::new("rb", DataType::Float32, true),
            Field::new("nbad", DataType::Int32, true),
        ]);
        Arc::new(Schema::new(vec![
            Field::new("objectId", DataType::Utf8, false),
            Field::new("candidate", DataType::Struct(candidate), false),
            Field::new("cutout", DataType::Binary, true),
        ]))
    }

    #[expect(clippy::unnecessary_wraps, reason = "what is read is wrapped everywhere")]
    fn reads(paths: &[&[&str]]) -> Reads {
        Some(paths.iter().map(|path| path.iter().map(|part| (*part).to_owned()).collect()).collect())
    }

    #[test]
    fn keeps_only_the_named_leaves_in_order() {
        let pruned = prune(&schema(), &reads(&[&["candidate", "rb"], &["objectId"]]));
        assert_eq!(pruned.fields().len(), 2);
        let DataType::Struct(inner) = pruned.field(1).data_type() else { panic!("not a record") };
        assert_eq!(inner.iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["rb"]);
        assert_eq!((leaves(schema().fields()), leaves(pruned.fields())), (5, 2));
    }

    #[test]
    fn a_whole_record_wins_over_its_leaves() {
        let pruned = prune(&schema(), &reads(&[&["candidate", "rb"], &["candidate"]]));
        assert_eq!(leaves(pruned.fields()), 3);
    }

    #[test]
    fn no_column_at_all_keeps_the_cheapest_for_the_count() {
        let pruned = prune(&schema(), &reads(&[]));
        assert_eq!(pruned.fields().len(), 1);
        assert_eq!(union(None, &reads(&[])), None);
    }
}
