//! `headwater reference`: the pages of `docs/reference` and the files of `schema`, written from the code itself.

mod page;
mod schema;
mod verbs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::schema as json_schema;
use crate::exit::Exit;
use crate::session::Session;

/// The folders whose every file is generated.
const FOLDERS: [&str; 2] = ["docs/reference", "schema"];

/// Writes the reference pages and JSON Schemas, or says which are not fresh
#[derive(Args, Debug)]
pub(crate) struct Reference {
    /// The folder that holds `docs` and `schema`
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    out: PathBuf,
    /// Changes nothing; lists files that are stale, missing or left over, and ends with 1 if there are any
    #[arg(long)]
    check: bool,
}

pub(crate) fn act(arguments: &Reference, session: &Session) -> anyhow::Result<Exit> {
    let wanted = files()?;
    let found = existing(&arguments.out)?;
    if !arguments.check {
        return write(&arguments.out, &wanted, &found).map(|()| Exit::Done);
    }
    let mut differences = Vec::new();
    for (path, text) in &wanted {
        match found.get(path) {
            None => differences.push(format!("missing: {path}")),
            Some(there) if there != text => differences.push(format!("stale: {path}")),
            Some(_) => {}
        }
    }
    differences.extend(found.keys().filter(|path| !wanted.contains_key(*path)).map(|path| format!("extra: {path}")));
    differences.iter().try_for_each(|difference| session.screen.out(format!("{difference}\n")))?;
    Ok(if differences.is_empty() { Exit::Done } else { Exit::World })
}

/// All generated files, by their paths.
fn files() -> anyhow::Result<BTreeMap<String, String>> {
    let schema = json_schema::stream();
    let text = |schema: &serde_json::Value| {
        anyhow::Ok(serde_json::to_string_pretty(schema).context("print the schema")? + "\n")
    };
    let queue = json_schema::queue();
    let mut files = BTreeMap::from([
        ("schema/stream.json".to_owned(), text(&schema)?),
        ("schema/queue.json".to_owned(), text(&queue)?),
        ("schema/openapi.json".to_owned(), text(&api::openapi())?),
        ("docs/reference/queue.md".to_owned(), schema::queue(&queue)),
        ("docs/reference/cli.md".to_owned(), verbs::page()),
        ("docs/reference/metrics.md".to_owned(), page::metrics()),
    ]);
    for (path, text) in schema::pages(&schema) {
        files.insert(format!("docs/reference/{path}"), text);
    }
    Ok(files)
}

fn write(out: &Path, wanted: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> anyhow::Result<()> {
    for (path, text) in wanted.iter().filter(|(path, text)| found.get(*path) != Some(*text)) {
        let path = out.join(path);
        let write = || format!("write {}", path.display());
        std::fs::create_dir_all(path.parent().unwrap_or(out)).with_context(write)?;
        std::fs::write(&path, text).with_context(write)?;
    }
    for path in found.keys().filter(|path| !wanted.contains_key(*path)) {
        std::fs::remove_file(out.join(path)).with_context(|| format!("remove {path}"))?;
    }
    Ok(())
}

/// The files that are there, by their paths from `out`.
fn existing(out: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let (mut files, mut open) = (BTreeMap::new(), FOLDERS.map(PathBuf::from).to_vec());
    while let Some(folder) = open.pop() {
        let path = out.join(&folder);
        if !path.is_dir() {
            continue;
        }
        let read = || format!("list {}", path.display());
        for entry in std::fs::read_dir(&path).with_context(read)? {
            let entry = entry.with_context(read)?;
            let below = folder.join(entry.file_name());
            if entry.path().is_dir() {
                open.push(below);
            } else {
                // What isn't text isn't ours, so it differs from whatever is wanted.
                let text = std::fs::read(entry.path()).with_context(read)?;
                files.insert(below.display().to_string(), String::from_utf8_lossy(&text).into_owned());
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_fresh_until_it_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = files().unwrap();
        std::fs::create_dir_all(folder.path().join("docs/reference/step")).unwrap();
        std::fs::write(folder.path().join("docs/reference/step/gone.md"), "old").unwrap();
        write(folder.path(), &wanted, &existing(folder.path()).unwrap()).unwrap();
        assert_eq!(existing(folder.path()).unwrap(), wanted);
        for page in ["docs/reference/connector/files.md", "docs/reference/format/avro.md", "docs/reference/step/sql.md"]
        {
            assert!(wanted.contains_key(page), "{page}: {:?}", wanted.keys());
        }
    }
}
