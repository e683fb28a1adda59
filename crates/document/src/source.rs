//! The text of a file, and the way from a byte to a line and a column.

use crate::node::Span;
use crate::problem::Place;

/// A line longer than this is named, not shown: it would bury the message.
const SHOWN_BYTES_MAX: usize = 400;

/// A file as it was read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
    /// The first byte of each line.
    lines: Vec<usize>,
}

impl Source {
    pub(crate) fn new(name: &str, text: &str) -> Source {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Source { name: name.to_owned(), text, lines }
    }

    /// The place of a span. One that goes over several lines is shown up to the end of its first.
    pub(crate) fn place(&self, span: Span) -> Place {
        let start = span.start.min(self.text.len());
        let line = self.lines.partition_point(|&first| first <= start).saturating_sub(1);
        let first = self.lines.get(line).copied().unwrap_or(0);
        let text = self.line(span);
        let columns_to = |byte: usize| text.char_indices().take_while(|(at, _)| first + at < byte).count() + 1;
        let column = columns_to(start);
        let shown = if text.len() <= SHOWN_BYTES_MAX { text } else { "" };
        Place {
            file: self.name.clone(),
            line: line + 1,
            column,
            end_column: columns_to(span.end.max(start)).max(column),
            text: shown.to_owned(),
        }
    }

    /// The line where a span starts, without its end.
    pub(crate) fn line(&self, span: Span) -> &str {
        let line = self.lines.partition_point(|&first| first <= span.start).saturating_sub(1);
        let rest = self.lines.get(line).and_then(|&first| self.text.get(first..)).unwrap_or_default();
        rest.split('\n').next().unwrap_or_default().trim_end()
    }

    /// Hides what stands in `secrets` from the line that is shown with a place.
    pub(crate) fn mask(&self, place: &mut Place, secrets: &[Span]) {
        let Some(&first) = self.lines.get(place.line.saturating_sub(1)) else { return };
        let end = first + place.text.len();
        let here: Vec<&Span> = secrets.iter().filter(|secret| secret.start < end && secret.end > first).collect();
        let hidden = |byte: usize| here.iter().any(|secret| (secret.start..secret.end).contains(&byte));
        let letters = place.text.char_indices();
        place.text = letters.map(|(at, letter)| if hidden(first + at) { '*' } else { letter }).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let source = Source::new("f", "\u{feff}a: b\r\né: größe x\n");
        let start = source.text.find("größe").unwrap();
        let place = source.place(Span { start, end: start + "größe".len() });
        assert_eq!((place.line, place.column, place.end_column, place.text.as_str()), (2, 4, 9, "é: größe x"));
        let first = source.place(Span { start: 3, end: source.text.len() });
        assert_eq!((first.line, first.column, first.end_column, first.text.as_str()), (1, 4, 5, "a: b"));
        let past = source.place(Span { start: 1000, end: 1000 });
        assert_eq!((past.line, past.column, past.text.as_str()), (3, 1, ""));
    }
}
