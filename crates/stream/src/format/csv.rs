//! CSV: rows of text with delimiters.

mod cut;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray, cast::AsArray, new_null_array};
use arrow::csv::reader::Decoder;
use arrow::csv::{ReaderBuilder, WriterBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use document::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::format::base64_text;
use crate::format::bisect::{self, Fault};
use crate::format::end_message;
use crate::format::lines::Spans;
use crate::format::schema::{self, INFERRED_ROWS_MAX, SchemaSpec, describe_type};
use crate::{Chunk, Cut, Decode, Decoded, Encode, Error};

/// CSV.
///
/// With a header, columns are found by name in each file, so that files may order them differently; columns that a file
/// lacks are null, columns that are not in the schema are ignored. A row with another number of fields than the header,
/// or a value of another type than its column, is put aside and the others go on. An empty field is null, in columns of
/// text too. Quoted fields may hold line feeds, and a quote inside of one is written twice; a quote that is never closed
/// takes the rest of the file with it. Bytes are base64 text.
///
/// Lists and structs can't be written: flatten them in a `sql` step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Spec {
    /// The columns when reading. Inferred columns are bool, int64, float64 or string; numbers with leading zeros are
    /// text. Without a header, columns are in the order written here, or are called `column_1`, `column_2`, ...
    pub schema: SchemaSpec,
    /// Whether the first line of a file names the columns; when writing, whether to write it.
    pub header: bool,
    /// What stands between fields, one ASCII character; `"\t"` for tabs.
    pub delimiter: char,
    /// What encloses fields that hold delimiters, quotes or line feeds, one ASCII character.
    pub quote: char,
}

impl Default for Spec {
    fn default() -> Self {
        Self { schema: SchemaSpec::Infer, header: true, delimiter: ',', quote: '"' }
    }
}

impl Spec {
    fn delimiter(&self) -> u8 {
        u8::try_from(self.delimiter).unwrap_or(b',')
    }

    fn quote(&self) -> u8 {
        u8::try_from(self.quote).unwrap_or(b'"')
    }
}

pub(crate) fn problems(spec: &Spec, path: &str) -> Vec<Problem> {
    let mut problems = spec.schema.problems(&format!("{path}.schema"));
    for (name, mark) in [("delimiter", spec.delimiter), ("quote", spec.quote)] {
        if !mark.is_ascii() || matches!(mark, '\n' | '\r') {
            let found = format!("`{}`", mark.escape_default());
            problems.push(
                Problem::at(format!("{path}.{name}")).found(found).expected("one ASCII character, not a line end"),
            );
        }
    }
    if spec.delimiter == spec.quote {
        let found = format!("`{}`, which is the delimiter too", spec.quote);
        problems
            .push(Problem::at(format!("{path}.quote")).found(found).expected("another character than the delimiter"));
    }
    if !spec.header && matches!(spec.schema, SchemaSpec::File(_)) {
        let hint = "write the columns in their order, as in schema: {columns: {id: int64}}";
        problems.push(
            Problem::at(format!("{path}.schema")).found("a file").expected("columns, as there is no header").hint(hint),
        );
    }
    if let SchemaSpec::Columns(columns) = &spec.schema
        && let Ok(fields) = columns.fields(path)
    {
        problems.extend(encodable(spec, &Schema::new(fields), &format!("{path}.schema")));
    }
    problems
}

pub(crate) const fn extension(_spec: &Spec) -> &'static str {
    "csv"
}

pub(crate) fn cut(spec: &Spec) -> Box<dyn Cut> {
    Box::new(cut::Records { header: spec.header, delimiter: spec.delimiter(), quote: spec.quote() })
}

/// The schema that is written down, or that of the first rows. Problems name paths from `schema` on.
pub(crate) fn infer(spec: &Spec, folder: &Path, sample: &Chunk) -> Result<SchemaRef, Problem> {
    if let Some(schema) = spec.schema.given(folder)? {
        return Ok(schema);
    }
    let problem = |found: String| {
        let hint = "write the schema down, as in schema: {columns: {id: int64}}";
        Problem::at("schema").found(found).expected("rows to infer a schema from").hint(hint)
    };
    let mut spans = Spans::default();
    spans.find(sample, 0, is_text);
    let names = match (&sample.header, spans.places.first()) {
        (Some(header), _) => names(spec, header).map_err(problem)?,
        (None, Some((start, end))) => {
            let first = names(spec, &sample.bytes[*start..*end]).map_err(problem)?;
            if spec.header { first } else { (1..=first.len()).map(|number| format!("column_{number}")).collect() }
        }
        (None, None) => return Err(problem("no row".into())),
    };
    spans.places.truncate(INFERRED_ROWS_MAX);
    spans.numbers.truncate(INFERRED_ROWS_MAX);
    let texts: SchemaRef = Arc::new(Schema::new(texts(&names)));
    let mut file = File::new(spec, &texts, &names);
    let rows = bisect::decode(&spans, &texts, |range| file.attempt(&sample.bytes, &spans, range));
    let rows = rows.map_err(|error| problem(error.to_string()))?.columns;
    let guess = |(name, column): (&String, &ArrayRef)| Field::new(name, guess(column.as_string()), true);
    Ok(Arc::new(Schema::new(names.iter().zip(rows.columns()).map(guess).collect::<Vec<_>>())))
}

fn texts(names: &[String]) -> Vec<Field> {
    names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect()
}

fn guess(values: &StringArray) -> DataType {
    let all = |is: fn(&str) -> bool| values.iter().flatten().all(is);
    let is_padded =
        |value: &str| value.len() > 1 && value.starts_with('0') && value.bytes().all(|byte| byte.is_ascii_digit());
    if values.iter().flatten().next().is_none() || values.iter().flatten().any(is_padded) {
        DataType::Utf8
    } else if all(|value| value.parse::<i64>().is_ok()) {
        DataType::Int64
    } else if all(|value| value.parse::<f64>().is_ok()) {
        DataType::Float64
    } else if all(|value| matches!(value, "true" | "false")) {
        DataType::Boolean
    } else {
        DataType::Utf8
    }
}

/// The fields of a header line.
fn names(spec: &Spec, header: &[u8]) -> Result<Vec<String>, String> {
    let header = header.strip_prefix(b"\xef\xbb\xbf").unwrap_or(header);
    let count = cut::fields(header, spec.delimiter(), spec.quote());
    let schema: SchemaRef = Arc::new(Schema::new(texts(&vec![String::new(); count])));
    let mut decoder = builder(spec, schema).with_batch_size(1).build_decoder();
    let rows = decoder.decode(header).and_then(|_| decoder.decode(b"\n")).and_then(|_| decoder.flush());
    let row = rows.map_err(|error| format!("a header that can't be read: {error}"))?;
    let row = row.ok_or("an empty header")?;
    let name = |column: &ArrayRef| column.as_string::<i32>().iter().flatten().collect::<String>();
    let names: Vec<_> = row.columns().iter().map(name).collect();
    match names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        Some((_, name)) if spec.header => Err(format!("the column `{name}` twice in the header")),
        _ => Ok(names),
    }
}

fn builder(spec: &Spec, schema: SchemaRef) -> ReaderBuilder {
    ReaderBuilder::new(schema).with_delimiter(spec.delimiter()).with_quote(spec.quote())
}

#[expect(clippy::unnecessary_wraps, reason = "all formats are opened alike")]
pub(crate) fn decode(spec: &Spec, schema: &SchemaRef) -> Result<Box<dyn Decode>, Error> {
    Ok(Box::new(CsvDecode { spec: spec.clone(), schema: schema.clone(), file: None, spans: Spans::default() }))
}

struct CsvDecode {
    spec: Spec,
    schema: SchemaRef,
    /// The columns of the last header.
    file: Option<(Option<bytes::Bytes>, File)>,
    spans: Spans,
}

impl Decode for CsvDecode {
    fn decode(&mut self, chunk: &Chunk, from: usize) -> Result<Decoded, Error> {
        let Self { spec, schema, file, spans } = self;
        spans.find(chunk, from, is_text);
        if file.as_ref().is_none_or(|(header, _)| *header != chunk.header) {
            let names = match (&chunk.header, spans.places.first()) {
                (Some(header), _) => names(spec, header),
                (None, Some((start, end))) => Ok(ordered(spec, schema, &chunk.bytes[*start..*end])),
                (None, None) => Ok(Vec::new()),
            };
            match names {
                Ok(names) => *file = Some((chunk.header.clone(), File::new(spec, schema, &names))),
                Err(why) => {
                    let broken = |at: usize| Err(Fault::At(at, format!("the file has {why}")));
                    return bisect::decode(spans, schema, |range| broken(range.start));
                }
            }
        }
        let Some((_, file)) = file else { return Err(Error::House("no columns of a CSV file".into())) };
        let decoded = bisect::decode(spans, schema, |range| file.attempt(&chunk.bytes, spans, range));
        if spans.places.is_empty() {
            self.file = None;
        }
        decoded
    }
}

/// The names of the columns where there is no header: as written down, otherwise as many as the first row has.
fn ordered(spec: &Spec, schema: &SchemaRef, first: &[u8]) -> Vec<String> {
    if let SchemaSpec::Columns(columns) = &spec.schema {
        return columns.0.iter().map(|(name, _)| name.clone()).collect();
    }
    let number = |field: &Arc<Field>| field.name().strip_prefix("column_")?.parse().ok();
    let most = schema.fields().iter().filter_map(number).max().unwrap_or(0);
    let count = cut::fields(first, spec.delimiter(), spec.quote()).max(most);
    (1..=count).map(|number| format!("column_{number}")).collect()
}

/// A file's columns, and how to make the stream's columns of them.
struct File {
    spec: Spec,
    schema: SchemaRef,
    /// The columns of the file, with text where nobody reads them, and where bytes are text.
    own: SchemaRef,
    /// The file's columns that are read, in the stream's order.
    read: Vec<usize>,
}

impl File {
    fn new(spec: &Spec, schema: &SchemaRef, names: &[String]) -> Self {
        let text = base64_text::text_schema(schema).unwrap_or_else(|| schema.clone());
        let own = |name: &String| {
            let known = text.field_with_name(name).map(|field| field.data_type().clone());
            Field::new(name, known.unwrap_or(DataType::Utf8), true)
        };
        let own: SchemaRef = Arc::new(Schema::new(names.iter().map(own).collect::<Vec<_>>()));
        let read = schema.fields().iter().filter_map(|field| own.index_of(field.name()).ok()).collect();
        Self { spec: spec.clone(), schema: schema.clone(), own, read }
    }

    fn attempt(&mut self, bytes: &[u8], spans: &Spans, range: Range<usize>) -> Result<RecordBatch, Fault> {
        let fault = |error: arrow::error::ArrowError| Fault::Somewhere(reason(&error.to_string()));
        let (first, rows) = (range.start, range.len());
        let builder = builder(&self.spec, self.own.clone()).with_batch_size(rows + 1);
        let mut decoder = builder.with_projection(self.read.clone()).build_decoder();
        for at in range {
            let (start, end) = spans.places[at];
            feed(&mut decoder, &bytes[start..end], rows - (at - first)).map_err(|why| Fault::At(at, why))?;
        }
        let batch = decoder.flush().map_err(fault)?;
        let batch = batch.unwrap_or_else(|| RecordBatch::new_empty(Arc::new(Schema::empty())));
        let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
            Some(column) => column.clone(),
            None => new_null_array(&base64_type(field.data_type()), rows),
        };
        let columns: Vec<_> = self.schema.fields().iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let text = base64_text::text_schema(&self.schema).unwrap_or_else(|| self.schema.clone());
        let batch = RecordBatch::try_new_with_options(text, columns, &options).map_err(fault)?;
        base64_text::convert(&batch, &self.schema).map_err(fault)
    }
}

fn base64_type(data_type: &DataType) -> DataType {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("", data_type.clone(), true)]));
    base64_text::text_schema(&schema).unwrap_or(schema).field(0).data_type().clone()
}

/// Feeds one message, which must hold one row. `left` is how many rows are still to come, this one included.
fn feed(decoder: &mut Decoder, message: &[u8], left: usize) -> Result<(), String> {
    let message = message.strip_suffix(b"\n").unwrap_or(message);
    let message = message.strip_suffix(b"\r").unwrap_or(message);
    let mut read = 0;
    while read < message.len() {
        match decoder.decode(&message[read..]).map_err(|error| reason(&error.to_string()))? {
            0 => return Err("expected one row, found more after it".into()),
            more => read += more,
        }
    }
    decoder.decode(b"\n").map_err(|error| reason(&error.to_string()))?;
    match decoder.capacity() {
        capacity if capacity == left => Ok(()),
        capacity if capacity > left => Err("expected a whole row, found a quote that isn't closed".into()),
        _ => Err("expected one row, found more after it".into()),
    }
}

/// Arrow counts lines from the start of what it was given, which is nothing that anybody could look up.
fn reason(error: &str) -> String {
    match error.split_once(" for line ").and_then(|(what, rest)| Some((what, rest.split_once(", ")?.1))) {
        Some((what, rest)) => format!("{what}: {rest}"),
        None => error.to_owned(),
    }
}

const fn is_text(byte: u8) -> bool {
    !matches!(byte, b'\r' | b'\n')
}

pub(crate) fn encodable(_spec: &Spec, schema: &Schema, path: &str) -> Vec<Problem> {
    let hint = "select the parts that are needed in a sql step, or write json";
    schema::refused(schema, path, "CSV", hint, &|data_type| {
        !data_type.is_nested() && !matches!(data_type, DataType::Interval(_)) && describe_type(data_type) != "null"
    })
}

#[expect(clippy::unnecessary_wraps, reason = "all formats are opened alike")]
pub(crate) fn encode(spec: &Spec, _schema: &SchemaRef) -> Result<Box<dyn Encode>, Error> {
    Ok(Box::new(CsvEncode { spec: spec.clone(), header: spec.header }))
}

struct CsvEncode {
    spec: Spec,
    /// Whether the header is still to be written.
    header: bool,
}

impl Encode for CsvEncode {
    fn encode(&mut self, columns: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        let text = base64_text::text_schema(columns.schema_ref());
        let text = text.map(|text| base64_text::convert(columns, &text)).transpose();
        let text = text.map_err(Error::arrow("write bytes as base64"))?;
        let builder = WriterBuilder::new().with_delimiter(self.spec.delimiter()).with_quote(self.spec.quote());
        let mut writer = builder.with_header(std::mem::take(&mut self.header)).build(out);
        writer.write(text.as_ref().unwrap_or(columns)).map_err(Error::arrow("write rows as CSV"))
    }

    fn messages(&mut self, columns: &RecordBatch, out: &mut Vec<u8>, ends: &mut Vec<u32>) -> Result<(), Error> {
        // A message has no line before it that could name its columns.
        self.header = false;
        for row in 0..columns.num_rows() {
            self.encode(&columns.slice(row, 1), out)?;
            out.pop();
            end_message(out, ends)?;
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
