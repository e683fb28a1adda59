//! What readers see in a folder of outputs: names that begin with neither `_` nor `.`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// The files that readers see, sorted.
pub(crate) fn visible(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    walk(folder, true, &mut files);
    files
}

/// All files beneath a folder, those that readers don't see too.
pub(crate) fn all(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    walk(folder, false, &mut files);
    files
}

fn walk(folder: &Path, only_visible: bool, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        match path.is_dir() {
            _ if only_visible && name.starts_with(['_', '.']) => {}
            true => walk(&path, only_visible, files),
            false => files.push(path),
        }
    }
}

/// The values of the whole-number column `id` in all files that readers see, each with how often it is there.
/// A file that isn't whole is an error.
pub(crate) fn ids(folder: &Path) -> BTreeMap<i64, usize> {
    let mut counts = BTreeMap::new();
    for path in visible(folder) {
        for id in ids_of(&path) {
            *counts.entry(id).or_insert(0) += 1;
        }
    }
    counts
}

fn ids_of(path: &Path) -> Vec<i64> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("jsonl") => {
            let text = fs::read_to_string(path).unwrap();
            assert!(text.ends_with('\n'), "{} is cut off", path.display());
            let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_i64().unwrap();
            text.lines().map(id).collect()
        }
        Some("parquet") => {
            let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap());
            let reader = reader.unwrap_or_else(|error| panic!("{}: {error}", path.display())).build().unwrap();
            let id = |batch: arrow::array::RecordBatch| {
                batch.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().to_vec()
            };
            reader.flat_map(|batch| id(batch.unwrap())).collect()
        }
        _ => panic!("a stray file: {}", path.display()),
    }
}

/// Readers see each id at most once.
pub(crate) fn assert_nothing_twice(folder: &Path) {
    let twice: Vec<i64> = ids(folder).into_iter().filter(|(_, count)| *count > 1).map(|(id, _)| id).collect();
    assert!(twice.is_empty(), "{}: {} ids twice, such as {}", folder.display(), twice.len(), twice[0]);
}

/// Readers see the ids from 0 up to `count`, each once, and nothing is left that they don't see.
pub(crate) fn assert_exactly(folder: &Path, count: i64) {
    assert_nothing_twice(folder);
    let there = ids(folder);
    let missing: Vec<i64> = (0..count).filter(|id| !there.contains_key(id)).collect();
    assert!(missing.is_empty(), "{}: {} ids missing, such as {}", folder.display(), missing.len(), missing[0]);
    assert_eq!(there.len(), usize::try_from(count).unwrap());
    assert_nothing_staged(folder);
}

/// Nothing is staged any more.
pub(crate) fn assert_nothing_staged(folder: &Path) {
    assert_eq!(all(&folder.join("_headwater/staging")), Vec::<PathBuf>::new());
}
