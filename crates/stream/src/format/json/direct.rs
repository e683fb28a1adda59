//! Plain lines, read from their bytes straight into columns.
//!
//! What is taken here is a subset of what Arrow's decoder takes, with the same values. Whatever is out of the ordinary
//! (a number as text, a name twice, a wrong type, anything broken) is left to that decoder, line by line, so that there
//! is one judge of what is bad.

mod cursor;
mod value;

use std::ops::Range;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::format::column::{Column, Values, finish_all};

use self::cursor::Cursor;
use self::value::Object;

/// Reads plain lines.
pub(super) struct Direct {
    schema: SchemaRef,
    object: Object,
    rows: Column,
}

impl Direct {
    /// A reader for the columns of `schema`; `None` where one has a type that is left to Arrow.
    pub(super) fn new(schema: &SchemaRef) -> Option<Self> {
        let object = Object::new(schema.fields())?;
        let children: Option<Vec<Column>> =
            schema.fields().iter().map(|field| Column::new(field.data_type())).collect();
        let rows = Column::of(Values::Struct(children?));
        Some(Self { schema: schema.clone(), object, rows })
    }

    /// Reads lines until one is out of the ordinary; its number, or the range's end.
    pub(super) fn read(&mut self, bytes: &[u8], places: &[(usize, usize)], range: Range<usize>) -> usize {
        self.rows.reclaim();
        for at in range.clone() {
            let (start, end) = places[at];
            let before = self.rows.len();
            let mut cursor = Cursor::new(&bytes[start..], end - start);
            let read = self.object.read(&mut cursor, &mut self.rows, 0).and_then(|()| cursor.end());
            if read.is_none() {
                self.rows.truncate(before);
                return at;
            }
        }
        range.end
    }

    /// What was read, leaving nothing.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        let Values::Struct(children) = &mut self.rows.values else {
            return Err(ArrowError::SchemaError("the rows of a JSON reader are no record".to_owned()));
        };
        let columns = finish_all(children, self.schema.fields())?;
        self.rows.nulls.finish();
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }
}
