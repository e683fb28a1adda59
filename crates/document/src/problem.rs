//! What is wrong with a document.

use std::fmt;

use serde::Serialize;

use crate::within::Within;

/// More problems than this are not looked for in one document: 200.
pub const PROBLEMS_MAX: usize = 200;

/// One thing that is wrong with a document: where, what was found, what is expected, and what may help.
///
/// A problem is told to the author of the document, not logged. The value of a secret is never part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The path of the part that is wrong, such as `spec.sources.alerts.kafka.topics`.
    pub path: String,
    /// What was found: a phrase that can head the message, such as ``unknown field `topicss` ``.
    pub found: String,
    /// What is expected there, such as ``one of `topics`, `start` ``; empty where `found` says it all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub expected: String,
    /// What to do, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where within the text at `path` it is, until it is located.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Box<Within>>,
    /// Where it is written, once [`crate::Document::locate`] or the reader has found it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Box<Place>>,
    /// Whether a secret stands there, so that its place shows `*` instead.
    #[serde(skip)]
    pub is_masked: bool,
}

/// A place in a file. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The file as it was named by the user.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The first column.
    pub column: usize,
    /// The column after the last one.
    pub end_column: usize,
    /// The text of the line, with secrets written there by mistake as `*`; empty where it is longer than 400 bytes.
    pub text: String,
}

impl Problem {
    /// A problem with the part at `path`; to be completed by [`found`](Problem::found) and the others.
    pub fn at(path: impl fmt::Display) -> Problem {
        let (path, found, expected) = (path.to_string(), String::new(), String::new());
        Problem { path, found, expected, hint: None, within: None, place: None, is_masked: false }
    }

    /// The same problem, saying what was found.
    #[must_use]
    pub fn found(mut self, found: impl Into<String>) -> Problem {
        self.found = found.into();
        self
    }

    /// The same problem, saying what is expected.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Problem {
        self.expected = expected.into();
        self
    }

    /// The same problem, saying what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// The same problem, with the known name that is nearest to `name` as its hint, if one is near.
    #[must_use]
    pub fn nearest<'a>(mut self, name: &str, known: impl IntoIterator<Item = &'a str>) -> Problem {
        if let Some(near) = crate::nearest(name, known) {
            self.hint = Some(format!("did you mean `{near}`?"));
        }
        self
    }

    /// The same problem, with a stretch within the text at its path.
    #[must_use]
    pub fn within(mut self, within: Within) -> Problem {
        self.within = Some(Box::new(within));
        self
    }

    /// The same problem, with a secret where it is: its place shows `*` instead.
    #[must_use]
    pub fn masked(mut self) -> Problem {
        self.is_masked = true;
        self
    }

    /// The same problem at a known place.
    #[must_use]
    pub fn place(mut self, place: Place) -> Problem {
        self.place = Some(Box::new(place));
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{}:{}:{}: ", place.file, place.line, place.column)?;
        }
        write!(f, "{}", self.found)?;
        if let Some(within) = &self.within {
            write!(f, " ({within})")?;
        }
        if !self.expected.is_empty() {
            write!(f, "; expected {}", self.expected)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        if self.path.is_empty() { Ok(()) } else { write!(f, " ({})", self.path) }
    }
}
