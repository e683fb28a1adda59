//! The path of a part of a document: `spec.steps[2].sql`.

use std::fmt;

/// A path from the root of a document to one of its parts.
///
/// It reads `spec.sinks.raw`, `steps[2]` for an item of a list, and `labels["a.b"]` where a key has other characters
/// than letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(Vec<Segment>);

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// The value of a key.
    Field(String),
    /// An item of a list, the first being 0.
    Item(usize),
}

impl Path {
    /// Reads a path. Whatever can't be read as one is taken as a key, since a path is only ever used to point.
    pub fn parse(text: &str) -> Path {
        let mut segments = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (segment, tail) = bracket(rest).unwrap_or_else(|| plain(rest));
            segments.push(segment);
            rest = tail.strip_prefix('.').unwrap_or(tail);
        }
        Path(segments)
    }

    /// The steps, from the root on.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// This path and one key more.
    #[must_use]
    pub fn field(&self, name: &str) -> Path {
        self.with(Segment::Field(name.to_owned()))
    }

    /// This path and one item more.
    #[must_use]
    pub fn item(&self, index: usize) -> Path {
        self.with(Segment::Item(index))
    }

    fn with(&self, segment: Segment) -> Path {
        let mut segments = self.0.clone();
        segments.push(segment);
        Path(segments)
    }
}

/// `[2]` or `["a.b"]` at the start of `text`, and what follows.
fn bracket(text: &str) -> Option<(Segment, &str)> {
    let inner = text.strip_prefix('[')?;
    if inner.starts_with('"') {
        let mut keys = serde_json::Deserializer::from_str(inner).into_iter::<String>();
        let key = keys.next()?.ok()?;
        let tail = inner.get(keys.byte_offset()..)?.strip_prefix(']')?;
        return Some((Segment::Field(key), tail));
    }
    let (index, tail) = inner.split_once(']')?;
    Some((Segment::Item(index.parse().ok()?), tail))
}

/// A key up to the next `.` or `[`, and what follows.
fn plain(text: &str) -> (Segment, &str) {
    let first = text.chars().next().map_or(0, char::len_utf8);
    let end = text.get(first..).and_then(|rest| rest.find(['.', '['])).map_or(text.len(), |at| at + first);
    let (key, tail) = text.split_at(end);
    (Segment::Field(key.to_owned()), tail)
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |name: &str| {
            !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_'))
        };
        let mut dot = "";
        for segment in &self.0 {
            match segment {
                Segment::Item(index) => write!(f, "[{index}]")?,
                Segment::Field(name) if is_plain(name) => write!(f, "{dot}{name}")?,
                Segment::Field(name) => write!(f, "[{}]", serde_json::Value::from(name.as_str()))?,
            }
            dot = ".";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_back_as_it_was_written() {
        let path = Path::default().field("spec").field("a.\"]b").item(3).field("").field("sql").item(0);
        assert_eq!(path.to_string(), r#"spec["a.\"]b"][3][""].sql[0]"#);
        assert_eq!(Path::parse(&path.to_string()), path);
    }

    #[test]
    fn what_is_no_path_is_a_key() {
        for text in ["[", "..", "[x]", "a[", "[\"", "é.[9999999999999999999999]"] {
            assert!(!Path::parse(text).segments().is_empty(), "{text}");
        }
    }
}
