//! `docs/reference/limits.md`: the constants of every `limit.rs`, with what their comments say.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// The page, or nothing where no crate has limits.
pub(super) fn page(root: &Path) -> Result<Option<String>> {
    let crates = fs::read_dir(root.join("crates")).context("list the crates")?;
    let mut files: Vec<_> = crates.flatten().map(|found| found.path().join("src/limit.rs")).collect();
    files.retain(|file| file.exists());
    files.sort();
    let mut page = "<!-- Generated from the code by `cargo xtask docs`; changes belong there. -->\n\n# Limits\n\n\
                    What is more, larger or longer than these is refused, never cut, unless its line says otherwise.\n"
        .to_owned();
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let title = text.lines().find_map(|line| line.strip_prefix("//! ")).unwrap_or_default();
        // Writing into a string can't fail, here and below.
        let _ = write!(
            page,
            "\n## {}\n\n| name | value | what |\n|---|---|---|\n",
            title.split(". ").next().unwrap_or_default().trim_end_matches('.')
        );
        let limits = limits(&text);
        ensure!(!limits.is_empty(), "{} has no limits", file.display());
        for (name, value, what) in limits {
            let _ = writeln!(page, "| `{name}` | {} | {what} |", shown(&value, name.contains("BYTES")));
        }
    }
    Ok((!files.is_empty()).then_some(page))
}

/// Name, value as it is written, and comment of each constant.
fn limits(text: &str) -> Vec<(String, String, String)> {
    let (mut found, mut comment) = (Vec::new(), String::new());
    for line in text.lines() {
        if let Some(words) = line.strip_prefix("/// ") {
            comment.push_str(if comment.is_empty() { "" } else { " " });
            comment.push_str(words);
        } else if let Some((name, value)) = line.strip_prefix("pub const ").and_then(|rest| rest.split_once(": "))
            && let Some((_, value)) = value.trim_end_matches(';').split_once(" = ")
        {
            found.push((name.to_owned(), value.to_owned(), std::mem::take(&mut comment)));
        } else {
            comment.clear();
        }
    }
    found
}

/// A value as a person reads it: `4 << 20` bytes are 4 MiB. What isn't understood stays as it is written.
fn shown(value: &str, is_bytes: bool) -> String {
    let number = |text: &str| text.replace('_', "").parse::<u64>().ok();
    let shifted = value.split_once(" << ").and_then(|(by, bits)| Some((number(by)?, number(bits)?)));
    if let Some((by, bits)) = shifted.filter(|_| is_bytes) {
        let unit = match bits {
            10 => "KiB",
            20 => "MiB",
            30 => "GiB",
            _ => return value.to_owned(),
        };
        return format!("{by} {unit}");
    }
    let call = value.rsplit_once("::").and_then(|(_, call)| call.strip_suffix(')')?.split_once('('));
    if let Some((from, count)) = call {
        let unit = from.trim_start_matches("from_").trim_end_matches('s');
        let unit = match unit {
            "sec" => "s",
            "min" => "min",
            "hour" => "h",
            _ => return value.to_owned(),
        };
        return format!("{} {unit}", count.replace('_', ","));
    }
    value.replace('_', ",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_listed_with_their_comments() {
        let text = "//! Much.\n\n/// Bytes of a body,\n/// at most.\npub const BODY_BYTES_MAX: usize = 4 << 20;\n\
                    /// Waits.\npub const WAIT_MAX: Duration = Duration::from_mins(1);\n\
                    /// Jobs.\npub const JOBS_MAX: usize = 10_000;\n/// Other.\npub struct Limits;\n";
        let found = limits(text);
        let rows: Vec<String> = found
            .iter()
            .map(|(name, value, what)| format!("{name} {} {what}", shown(value, name.contains("BYTES"))))
            .collect();
        assert_eq!(
            rows,
            ["BODY_BYTES_MAX 4 MiB Bytes of a body, at most.", "WAIT_MAX 1 min Waits.", "JOBS_MAX 10,000 Jobs."]
        );
    }
}
