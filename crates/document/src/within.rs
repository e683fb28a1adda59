//! Where something stands within a text of a document, such as a word of a query: from the text's own lines and columns
//! to the bytes of the file, through whatever YAML did to them.

use std::fmt;

use serde::Serialize;

use crate::node::{Node, Span, Value};

/// A stretch within the text at a problem's path. Lines and columns count from 1, columns in characters; the end is just
/// past the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Within {
    /// The first line.
    pub line: usize,
    /// The first column.
    pub column: usize,
    /// The last line.
    pub end_line: usize,
    /// The column after the last one.
    pub end_column: usize,
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Where in `file` a stretch within a node's text is written; `None` where that can't be told, as behind a variable.
pub(crate) fn span(node: &Node, within: Within, file: &str) -> Option<Span> {
    let Value::Text(text) = &node.value else { return None };
    let start = byte(text, within.line, within.column)?;
    let end = byte(text, within.end_line, within.end_column)?.max(start + 1);
    let raw = file.get(node.span.start..node.span.end)?;
    // A block's text may itself begin with what is no text elsewhere: only one way of reading comes far.
    let (plain, styled) = (letters(text, raw, 0, PLAIN), styled(text, raw));
    let written = if plain.len() > styled.len() { plain } else { styled };
    let mut inside = written.iter().filter(|letter| (start..end).contains(&letter.text));
    let first = inside.next()?;
    let last = inside.next_back().unwrap_or(first);
    let is_whole = first.text == start && text.get(last.text..end.min(text.len()))?.chars().count() <= 1;
    is_whole.then(|| Span { start: node.span.start + first.start, end: node.span.start + last.end })
}

/// The byte of `text` at a line and column.
fn byte(text: &str, line: usize, column: usize) -> Option<usize> {
    let before: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let rest = text.get(before..)?;
    let ends = std::iter::once(rest.len());
    rest.char_indices().map(|(at, _)| at).chain(ends).nth(column.checked_sub(1)?).map(|at| before + at)
}

/// The style of a text without quotes or a header.
const PLAIN: char = ' ';

/// A letter of a text and how it is written.
struct Letter {
    text: usize,
    start: usize,
    end: usize,
}

/// The letters of a text behind its anchor and tag, in the style that its first character tells.
fn styled(text: &str, raw: &str) -> Vec<Letter> {
    let mut at = 0;
    while raw[at..].starts_with(['&', '!']) {
        let word = raw[at..].find(char::is_whitespace).unwrap_or(raw.len() - at);
        at += word + space(&raw[at + word..], PLAIN);
    }
    let style = raw[at..].chars().next().unwrap_or(PLAIN);
    let start = match style {
        // The header of a block is no part of its text.
        '|' | '>' => raw[at..].find('\n').map_or(raw.len(), |end| at + end),
        '"' | '\'' => at + 1,
        _ => at,
    };
    letters(text, raw, start, style)
}

/// The letters of `text` in `raw`, up to one that can't be found there. Space between words is whatever YAML makes of
/// indents, line ends and folds, so that all of it counts as the same. The text starts at `at`.
fn letters(text: &str, raw: &str, mut at: usize, style: char) -> Vec<Letter> {
    let mut letters = Vec::new();
    let mut was_space = false;
    for (byte, letter) in text.char_indices() {
        if letter.is_whitespace() {
            was_space = true;
            continue;
        }
        let rest = raw.get(at..).unwrap_or_default();
        let space = space(rest, style);
        if was_space && space == 0 && byte > 0 && !letters.is_empty() {
            break;
        }
        at += space;
        let Some(bytes) = written(letter, &rest[space..], style) else { break };
        letters.push(Letter { text: byte, start: at, end: at + bytes });
        at += bytes;
        was_space = false;
    }
    letters
}

/// The bytes at the start of `raw` that are space, or stand for it.
fn space(raw: &str, style: char) -> usize {
    let mut at = 0;
    while let Some(letter) = raw[at..].chars().next() {
        let is_escaped = style == '"' && letter == '\\' && raw[at + 1..].starts_with(['n', 't', ' ', '\n', '\r']);
        match letter {
            _ if is_escaped => at += 2,
            letter if letter.is_whitespace() => at += letter.len_utf8(),
            _ => break,
        }
    }
    at
}

/// The bytes in which `letter` is written at the start of `raw`.
fn written(letter: char, raw: &str, style: char) -> Option<usize> {
    let mut plain = [0; 4];
    let plain = &*letter.encode_utf8(&mut plain);
    let escaped = match (style, letter) {
        ('\'', '\'') => "''",
        ('"', '"') => "\\\"",
        ('"', '\\') => "\\\\",
        (_, '$') if raw.starts_with("$${") => "$$",
        // What stands for a variable isn't what the text has there.
        _ if raw.starts_with("${") => return None,
        _ => plain,
    };
    raw.starts_with(escaped).then_some(escaped.len())
}

#[cfg(test)]
mod tests {
    use crate::{Input, Problem, Settings, Within};

    /// What is underlined in the line that is shown for `word` of the text at `spec.sql`.
    fn underlined(yaml: &str, word: &str) -> (usize, String) {
        let text = format!("apiVersion: headwater.dev/v1alpha1\nkind: Stream\nmetadata: {{name: a}}\nspec:\n{yaml}");
        let read = crate::read(&[Input { name: "a".into(), text }], &Settings::default());
        let document = read.documents.first().unwrap_or_else(|| panic!("{:?}", read.problems));
        let sql = document.node("spec.sql").unwrap().text().unwrap();
        let start = sql.find(word).unwrap();
        let line = sql[..start].matches('\n').count() + 1;
        let column = sql[..start].rsplit('\n').next().unwrap().chars().count() + 1;
        let within = Within { line, column, end_line: line, end_column: column + word.chars().count() };
        let problem = document.locate(Problem::at("spec.sql").found("x").within(within));
        let place = problem.place.unwrap();
        let shown = place.text.chars().skip(place.column - 1).take(place.end_column - place.column).collect();
        assert_eq!(problem.found == "x", shown == word, "what isn't underlined is said: {}", problem.found);
        (place.line, shown)
    }

    #[test]
    fn a_word_is_found_in_every_style_of_text() {
        let cases = [
            ("  sql: SELECT a, größe, wrong FROM t\n", 5),
            ("  sql: SELECT a,\n    b,\n    wrong FROM t\n", 7),
            ("  sql: |\n    SELECT a,\n\n      wrong\n    FROM t\n", 8),
            ("  sql: |-  # a query\n    SELECT 'it''s', wrong\n    FROM t\n", 6),
            ("  sql: |\n    'a' || wrong\n", 6),
            ("  sql: >\n    || 'a' || wrong\n", 6),
            ("  sql: |2\n      SELECT\n    wrong\n", 7),
            ("  sql: >\n    SELECT a,\n    b, \"c d\",\n\n      wrong,\n    FROM t\n", 9),
            ("  sql: \"SELECT \\\"a b\\\",\\n\\t'\\\\\\\\', wrong FROM t\"\n", 5),
            ("  sql: \"SELECT a,\n    wrong FROM t\"\n", 6),
            ("  sql: 'SELECT ''a'', wrong FROM t'\n", 5),
            ("  sql: 'SELECT\n    ''a'',\n    wrong FROM t'\n", 7),
            ("  {\"sql\": \"SELECT \\\"a\\\", wrong FROM t\"}\n", 5),
            ("  variables: {n: 3}\n  sql: SELECT '$${n}', wrong, ${n} FROM t\n", 6),
            ("  other: &sql |\n    SELECT wrong FROM t\n  sql: *sql\n", 6),
        ];
        for (yaml, line) in cases {
            assert_eq!(underlined(yaml, "wrong"), (line, "wrong".to_owned()), "{yaml}");
        }
    }

    #[test]
    fn behind_a_variable_the_whole_is_shown() {
        let (_, shown) = underlined("  variables: {n: 3}\n  sql: SELECT ${n}, wrong FROM t\n", "wrong");
        assert!(shown.starts_with("SELECT"), "{shown}");
        let (_, shown) = underlined("  variables: {n: SELECT wrong}\n  sql: ${n}\n", "wrong");
        assert_eq!(shown, "${n}");
        let (_, shown) = underlined("  sql: \"SELECT \\u0061, wrong\"\n", "wrong");
        assert!(shown.starts_with("\"SELECT"), "{shown}");
    }
}
