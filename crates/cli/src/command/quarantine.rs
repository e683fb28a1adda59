//! `headwater quarantine`: rows that were put aside.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use stream::quarantine::{self, Encoding, Entry};

use super::run;
use crate::documents::{self, Loaded};
use crate::exit::{Exit, Usage};
use crate::figures::{count, counted, table, utc};
use crate::screen::Output;
use crate::session::Session;

/// Bytes of a message that are shown; all are written by `--raw`.
const SHOWN_BYTES_MAX: usize = 4096;

/// Lists, shows and replays the rows that a stream put aside
///
/// A row that can't be decoded, that a step fails on or that a sink refuses is put aside with its bytes, where it came
/// from and why; the stream goes on. After the document (or the step) is mended, a replay sends such rows through the
/// stream again, from the part that refused them on, each once.
#[derive(Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Quarantine {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(List),
    Show(Show),
    Replay(Replay),
}

/// Lists rows that were put aside, oldest first
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater quarantine list alerts.yaml\n  \
    headwater quarantine list alerts.yaml --part alerts --code malformed --limit 20")]
struct List {
    /// The document
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only rows that this source, step or sink refused
    #[arg(long, value_name = "NAME")]
    part: Option<String>,
    /// Only rows with this kind of fault: malformed, schemaIncompatible, tooLong, evaluation, unwritable
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// Rows that are listed at most
    #[arg(long, value_name = "ROWS", default_value_t = 100)]
    limit: usize,
    /// How rows are printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

/// Shows one row: why it was put aside, and its bytes as text or in hexadecimal
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater quarantine show alerts.yaml 3f-0.jsonl:1\n  \
    headwater quarantine show alerts.yaml 3f-0.jsonl:1 --raw > alert.avro")]
struct Show {
    /// The document
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The row, as `list` names it
    #[arg(value_name = "ID")]
    id: String,
    /// Writes nothing but the bytes, all of them, to standard output
    #[arg(long)]
    raw: bool,
}

/// Sends rows through the stream again, from the part that refused them on
///
/// What a replay has done is recorded: one that is killed goes on where it was, and a second one has nothing to do.
/// Rows that fail again are put aside again.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater quarantine replay alerts.yaml\n  \
    headwater quarantine replay alerts.yaml --part good")]
struct Replay {
    /// The document
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only rows that this source, step or sink refused
    #[arg(long, value_name = "NAME")]
    part: Option<String>,
    /// Shows no progress
    #[arg(long, short)]
    quiet: bool,
}

pub(crate) fn act(arguments: &Quarantine, session: &mut Session) -> anyhow::Result<Exit> {
    match &arguments.verb {
        Verb::List(list) => act_list(list, session),
        Verb::Show(show) => act_show(show, session),
        Verb::Replay(replay) => act_replay(replay, session),
    }
}

/// A row that was put aside, by the name that people use for it.
struct Aside {
    file: String,
    /// Its line, the first being 0.
    line: usize,
    entry: Entry,
}

impl Aside {
    fn id(&self) -> String {
        format!("{}:{}", self.file, self.line + 1)
    }
}

fn all(loaded: &Loaded, session: &Session) -> anyhow::Result<Vec<Aside>> {
    let folder = quarantine::folder(&loaded.stream, &session.folder);
    let mut all = Vec::new();
    for path in quarantine::files(&folder)? {
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let entries = quarantine::entries(&path)?.into_iter().enumerate();
        all.extend(entries.map(|(line, entry)| Aside { file: file.clone(), line, entry }));
    }
    Ok(all)
}

fn act_list(list: &List, session: &mut Session) -> anyhow::Result<Exit> {
    session.screen.output = list.output;
    let loaded = documents::load_one(&list.file, session)?;
    let home = stream::homes(&loaded.stream, &session.folder).into_iter().next().context("find the ledger's home")?;
    let records = home.open(&session.world(&loaded.stream))?.records()?;
    let mut found = all(&loaded, session)?;
    found.retain(|one| list.part.as_ref().is_none_or(|part| one.entry.part == *part));
    found.retain(|one| list.code.as_ref().is_none_or(|code| one.entry.code.as_str() == code));
    let total = found.len();
    found.truncate(list.limit);
    let is_replayed = |one: &Aside| quarantine::is_replayed(&records, &one.entry, &one.file, one.line);
    if list.output == Output::Json {
        let entry = |one: &Aside| json!({"id": one.id(), "isReplayed": is_replayed(one), "entry": one.entry});
        session.screen.json(&found.iter().map(entry).collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    if total == 0 {
        session.screen.note("nothing was put aside");
        return Ok(Exit::Done);
    }
    let mut rows = vec![["ID", "WHEN", "PART", "CODE", "REPLAYED", "FROM", "REASON"].map(str::to_owned).to_vec()];
    for one in &found {
        let (entry, replayed) = (&one.entry, if is_replayed(one) { "yes" } else { "no" });
        let from = origin(entry);
        rows.push(vec![
            one.id(),
            utc(entry.at),
            entry.part.clone(),
            entry.code.as_str().to_owned(),
            replayed.to_owned(),
            from,
            first_line(&entry.message),
        ]);
    }
    session.screen.out(table(&rows))?;
    if total > found.len() {
        let more = count((total - found.len()) as u64);
        session.screen.note(&format!("{more} more; `--limit {total}` lists them"));
    }
    Ok(Exit::Done)
}

fn origin(entry: &Entry) -> String {
    let row = entry.row.map_or_else(String::new, |row| format!(" row {row}"));
    format!("{} @ {}{row}", entry.origin.input, entry.origin.offset)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn act_show(show: &Show, session: &Session) -> anyhow::Result<Exit> {
    let loaded = documents::load_one(&show.file, session)?;
    let found = all(&loaded, session)?.into_iter().find(|one| one.id() == show.id);
    let one = found.ok_or_else(|| {
        Usage(format!(
            "nothing was put aside as `{}`; `headwater quarantine list {}` tells what was",
            show.id,
            show.file.display()
        ))
    })?;
    let payload = one.entry.payload()?;
    if show.raw {
        session.screen.out(payload)?;
        return Ok(Exit::Done);
    }
    let entry = &one.entry;
    let what = match entry.encoding {
        Encoding::Message => "the message as it was read",
        Encoding::Arrow => "the row as an Arrow IPC stream",
    };
    let mut rows = vec![
        ("id", one.id()),
        ("when", utc(entry.at)),
        ("source", entry.source.clone()),
        ("refused by", entry.part.clone()),
        ("from", origin(entry)),
        ("code", entry.code.as_str().to_owned()),
        ("reason", entry.message.clone()),
        ("bytes", format!("{} ({what})", count(payload.len() as u64))),
    ];
    if let Some(header) = entry.header()? {
        rows.push(("header", format!("{} at the head of the input", counted(header.len() as u64, "byte"))));
    }
    let mut text = String::new();
    for (name, value) in rows {
        // Writing into a string can't fail.
        let _ = writeln!(text, "{name:<11} {}", value.replace('\n', "\n            "));
    }
    let shown = payload.get(..SHOWN_BYTES_MAX).unwrap_or(&payload);
    let _ = write!(text, "\n{}", readable(shown));
    if shown.len() < payload.len() {
        let _ =
            writeln!(text, "and {} more; `--raw` writes all", counted((payload.len() - shown.len()) as u64, "byte"));
    }
    session.screen.out(text)?;
    Ok(Exit::Done)
}

/// Text where all of it can be read, otherwise a dump.
fn readable(bytes: &[u8]) -> String {
    let is_shown = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t' | '\r');
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_shown) => format!("{}\n", text.trim_end_matches('\n')),
        _ => dump(bytes),
    }
}

/// Sixteen bytes a line: where, in hexadecimal, as letters.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, bytes) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let letter = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
        let letters: String = bytes.iter().map(letter).collect();
        // Writing into a string can't fail.
        let _ = writeln!(text, "{:08x}  {:<47}  {letters}", line * 16, hex.join(" "));
    }
    text
}

fn act_replay(replay: &Replay, session: &Session) -> anyhow::Result<Exit> {
    let loaded = documents::load_one(&replay.file, session)?;
    let facts = loaded.facts(&[], session)?;
    let plan = loaded.plan(&facts)?;
    let plans = quarantine::replay_plan(&plan, replay.part.as_deref())?;
    if plans.is_empty() {
        session.screen.note("there is nothing to replay");
        return Ok(Exit::Done);
    }
    run::replay(&loaded, plan, plans, replay.quiet, session)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_where_they_can_be_read() {
        assert_eq!(readable(b"{\"a\": 1}\n"), "{\"a\": 1}\n");
        assert_eq!(readable(b"Obj\x01\xff"), "00000000  4f 62 6a 01 ff                                   Obj..\n");
        assert_eq!(dump(&[0; 17]).lines().count(), 2);
    }
}
