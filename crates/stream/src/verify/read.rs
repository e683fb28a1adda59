//! Rows as readers find them: in files, and in messages.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::LineDelimitedWriter;
use bytes::Bytes;
use serde_json::Value;

use super::outcome::Row;
use crate::connector::files::MESSAGE_BYTES_MAX;
use crate::format::Format;
use crate::{Chunk, Ends, Error, Origin};

/// What stands for the folder of a file, in a row.
const FOLDER: &str = "_folder";
/// What stands for a row that has no columns of its own.
const VALUE: &str = "value";
/// Rows that are taken from a columnar file at once.
const SCAN_ROWS: usize = 8192;

/// The rows of all files beneath `folder` that readers see. Each row also tells the folder of its file, which is where
/// `partitionBy` puts values.
pub(super) fn files(folder: &Path, format: &Format) -> Result<Vec<Row>, Error> {
    let mut paths = Vec::new();
    walk(folder, &mut paths)?;
    let mut rows = Vec::new();
    for path in paths {
        let inner = path.parent().and_then(|parent| parent.strip_prefix(folder).ok()).unwrap_or(Path::new(""));
        let inner = inner.display().to_string();
        for mut row in file(&path, format)? {
            if !inner.is_empty() {
                row.insert(FOLDER.into(), inner.clone().into());
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

/// The rows of one message.
pub(super) fn message(bytes: &[u8], format: &Format) -> Result<Vec<Row>, Error> {
    match format.name() {
        "avro" => decoded(&single(bytes), format),
        "messagepack" => Ok(vec![packed(bytes)?]),
        "json" => Ok(vec![object(bytes)]),
        _ => Ok(vec![plain(bytes)]),
    }
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Error::file("list", folder))?,
    };
    for entry in entries {
        let entry = entry.map_err(Error::file("list", folder))?;
        let path = entry.path();
        let is_hidden = entry.file_name().to_string_lossy().starts_with(['_', '.']);
        match path.is_dir() {
            _ if is_hidden => {}
            true => walk(&path, paths)?,
            false => paths.push(path),
        }
    }
    Ok(())
}

fn file(path: &Path, format: &Format) -> Result<Vec<Row>, Error> {
    if format.is_scanned() {
        let open = || File::open(path).map_err(Error::file("open", path));
        let schema = format.scan_schema(&open()?)?;
        let mut scan = format.scan(open()?, &schema, 0)?;
        let mut rows = Vec::new();
        while let Some(batch) = scan.next(SCAN_ROWS)? {
            rows.extend(of_columns(&batch)?);
        }
        return Ok(rows);
    }
    let bytes = fs::read(path).map_err(Error::file("read", path))?;
    match format.name() {
        "avro" => decoded(&single(&bytes), format),
        "csv" => decoded(&cut(bytes, format, path)?, format),
        _ => {
            let chunk = cut(bytes, format, path)?;
            let each = chunk.ranges().into_iter().map(|(start, end)| message(&chunk.bytes[start..end], format));
            Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
        }
    }
}

fn single(bytes: &[u8]) -> Chunk {
    Chunk::single(Bytes::copy_from_slice(bytes), Origin { input: "output".into(), offset: 0 })
}

/// All messages of a file.
fn cut(bytes: Vec<u8>, format: &Format, path: &Path) -> Result<Chunk, Error> {
    let broken = |found: String| Error::Stored { what: "an output file", path: path.into(), found };
    let mut cut = format.cut().ok_or_else(|| broken(format!("{} is not cut", format.name())))?;
    let bytes = Bytes::from(bytes);
    let header = cut.header(&bytes, true).map_err(|reason| broken(reason.message))?.unwrap_or(0);
    let (head, body) = (bytes.slice(..header), bytes.slice(header..));
    let (mut ends, mut at) = (Vec::new(), 0);
    while at < body.len() && !cut.lines() {
        let mut more = Vec::new();
        let rest = &body[at..body.len().min(at + MESSAGE_BYTES_MAX)];
        let taken = cut.cut(rest, true, SCAN_ROWS, &mut more).map_err(|reason| broken(reason.message))?;
        if taken == 0 {
            return Err(broken(format!("a message that doesn't end, at byte {}", header + at)));
        }
        let base = u32::try_from(at).map_err(|_| broken("more than 4 GiB".into()))?;
        ends.extend(more.into_iter().map(|end| base + end));
        at += taken;
    }
    let ends = if cut.lines() { Ends::Lines } else { Ends::At { ends, bytes: true } };
    let origins = vec![(0, Origin { input: path.display().to_string().into(), offset: header as u64 })];
    Ok(Chunk { bytes: body, ends, header: (header > 0).then_some(head), origins, beside: None })
}

fn decoded(chunk: &Chunk, format: &Format) -> Result<Vec<Row>, Error> {
    let folder = Path::new("");
    let found = format.infer(folder, chunk).map_err(|problem| Error::World(format!("an output: {problem}")))?;
    // A file's own idea of its types would differ from the next file's.
    let schema = if format.name() == "csv" { as_text(&found) } else { found };
    let mut decode = format.decode(&schema, &schema, folder)?;
    let decoded = decode.decode(chunk, 0)?;
    if let Some(bad) = decoded.bad.first() {
        return Err(Error::World(format!("an output can't be read back: {}", bad.reason.message)));
    }
    of_columns(&decoded.columns)
}

fn as_text(schema: &SchemaRef) -> SchemaRef {
    let text = |field: &Arc<Field>| Field::new(field.name(), DataType::Utf8, true);
    Arc::new(Schema::new(schema.fields().iter().map(text).collect::<Vec<_>>()))
}

fn of_columns(columns: &RecordBatch) -> Result<Vec<Row>, Error> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(columns).and_then(|()| writer.finish()).map_err(Error::arrow("show rows as JSON"))?;
    let bytes = writer.into_inner();
    Ok(bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(object).collect())
}

fn object(bytes: &[u8]) -> Row {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => map.into_iter().collect(),
        _ => plain(bytes),
    }
}

fn plain(bytes: &[u8]) -> Row {
    [(VALUE.to_owned(), String::from_utf8_lossy(bytes).into())].into()
}

fn packed(mut bytes: &[u8]) -> Result<Row, Error> {
    let broken = |error: String| Error::World(format!("an output is not MessagePack: {error}"));
    let value = rmpv::decode::read_value(&mut bytes).map_err(|error| broken(error.to_string()))?;
    let rmpv::Value::Map(entries) = value else { return Ok([(VALUE.to_owned(), value.to_string().into())].into()) };
    let name = |name: rmpv::Value| name.as_str().map_or_else(|| name.to_string(), str::to_owned);
    Ok(entries.into_iter().map(|(key, value)| (name(key), value.to_string().into())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Name;

    #[test]
    fn every_format_gives_back_the_rows_it_was_given() {
        let fields = vec![Field::new("id", DataType::Int64, true), Field::new("text", DataType::Utf8, true)];
        let schema = Arc::new(Schema::new(fields));
        let rows =
            super::super::rows(&schema, &super::super::Recipe { seed: 3, ..Default::default() }, 0, 500).unwrap();
        for name in [Name::Json, Name::Csv, Name::MessagePack, Name::Avro, Name::Parquet, Name::Arrow] {
            let format = Format::named(name);
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("part=1")).unwrap();
            let mut encode = format.encode(&schema).unwrap();
            let mut bytes = Vec::new();
            encode.encode(&rows, &mut bytes).unwrap();
            encode.finish(&mut bytes).unwrap();
            fs::write(folder.path().join("part=1/a"), &bytes).unwrap();
            fs::write(folder.path().join("_hidden"), "no row").unwrap();
            let found = files(folder.path(), &format).unwrap();
            assert_eq!(found.len(), 500, "{name:?}");
            assert_eq!(found[0][FOLDER], "part=1");
            let id = &found[499]["id"];
            assert_eq!(id.as_str().map_or_else(|| id.to_string(), str::to_owned), "499", "{name:?}");
        }
    }
}
