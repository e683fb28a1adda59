//! What is wrong with a query, in the words of a document.

use datafusion_common::{DataFusionError, SchemaError};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};
use document::{Problem, Within};

use super::super::nearest;
use super::context::Table;
use super::functions;

/// A problem that doesn't know its path yet.
#[derive(Debug)]
pub(super) struct Found {
    what: String,
    expected: &'static str,
    hint: Option<String>,
    within: Option<Within>,
}

impl Found {
    pub(super) fn new(found: impl Into<String>, expected: &'static str) -> Self {
        Self { what: found.into(), expected, hint: None, within: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Says where in the query it is, if that is known.
    pub(super) fn in_query(self, span: Span) -> Self {
        Self { within: within(span).or(self.within), ..self }
    }

    pub(super) fn at(self, path: &str) -> Problem {
        let problem = Problem::at(path).found(self.what).expected(self.expected);
        Problem { hint: self.hint, within: self.within.map(Box::new), ..problem }
    }
}

fn within(span: Span) -> Option<Within> {
    let number = |at: u64| usize::try_from(at).ok().filter(|at| *at > 0);
    let (line, column) = (number(span.start.line)?, number(span.start.column)?);
    // An end that isn't known is the letter after the start.
    let (end_line, end_column) = number(span.end.line).zip(number(span.end.column)).unwrap_or((line, column + 1));
    Some(Within { line, column, end_line, end_column })
}

/// The token of a query that starts at a line and column, or just that place.
pub(super) fn token_at(sql: &str, line: u64, column: u64) -> Span {
    let start = Location::new(line, column);
    let end = Location::new(line, column + 1);
    token(sql, |token| token.span.start == start).unwrap_or_else(|| Span::new(start, end))
}

/// The first place of a name in a query.
fn name_in(sql: &str, name: &str) -> Option<Span> {
    token(sql, |token| matches!(&token.token, Token::Word(word) if word.value == name))
}

fn token(sql: &str, is_it: impl Fn(&TokenWithSpan) -> bool) -> Option<Span> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()?;
    tokens.into_iter().find(|token| is_it(token)).map(|token| token.span)
}

/// Two columns of one name.
pub(super) fn doubled(name: &str) -> Found {
    Found::new(format!("two columns named `{name}`"), "columns with different names")
        .hint(format!("name one of them: AS {name}2"))
}

/// What the planner refused.
pub(super) fn planning(error: &DataFusionError, tables: &[Table], sql: &str, path: &str) -> Problem {
    let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let location = |at: datafusion_common::Location| Location { line: at.line, column: at.column };
    let span = span.map_or_else(Span::empty, |span| Span::new(location(span.start), location(span.end)));
    let found = match error.find_root() {
        DataFusionError::SchemaError(fault, _) => match fault.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let known = valid_fields.iter().map(|column| column.name.as_str());
                let found = Found::new(
                    format!("column `{}`", field.quoted_flat_name().replace('"', "")),
                    "a column of the input",
                );
                return or_columns(found, nearest(&field.name, known), known_columns(tables)).in_query(span).at(path);
            }
            SchemaError::DuplicateUnqualifiedField { name } | SchemaError::DuplicateQualifiedField { name, .. } => {
                doubled(name)
            }
            SchemaError::AmbiguousReference { field } => doubled(&field.name),
        },
        root => from_message(&clean(&root.strip_backtrace()), tables, sql),
    };
    found.in_query(span).at(path)
}

fn or_columns(found: Found, near: Option<&str>, known: String) -> Found {
    match near {
        Some(near) => found.hint(format!("did you mean `{near}`?")),
        None => found.hint(known),
    }
}

fn known_columns(tables: &[Table]) -> String {
    let names: Vec<&str> =
        tables.first().iter().flat_map(|table| table.schema.fields()).map(|field| field.name().as_str()).collect();
    format!("the columns are {}", names.join(", "))
}

/// A field of a struct that isn't there is told only in words.
fn from_message(message: &str, tables: &[Table], sql: &str) -> Found {
    if let Some(name) = message.strip_prefix("Invalid function '").and_then(|rest| rest.split('\'').next()) {
        let near = nearest(name, functions::ALL.keys().map(String::as_str));
        let found = Found::new(format!("function `{name}`"), "a function that there is");
        return or_hint(found, near);
    }
    let quoted = message.split(['\'', '`', '"']).nth(1).or_else(|| message.split("Field ").nth(1)?.split(' ').next());
    let found = Found::new(message, "a query that can be planned");
    let mut leaves = Vec::new();
    for table in tables {
        collect_names(table.schema.fields(), &mut leaves);
    }
    let missing = quoted.filter(|_| message.contains("not found"));
    let found = found.in_query(missing.and_then(|name| name_in(sql, name)).unwrap_or_else(Span::empty));
    or_hint(found, missing.and_then(|name| nearest(name, leaves.into_iter())))
}

fn or_hint(found: Found, near: Option<&str>) -> Found {
    match near {
        Some(near) => found.hint(format!("did you mean `{near}`?")),
        None => found,
    }
}

fn collect_names<'a>(fields: &'a arrow::datatypes::Fields, names: &mut Vec<&'a str>) {
    for field in fields {
        names.push(field.name());
        if let arrow::datatypes::DataType::Struct(children) = field.data_type() {
            collect_names(children, names);
        }
    }
}

/// A message without the names of the parts that passed it on.
pub(super) fn clean(message: &str) -> String {
    let mut message = message.trim();
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| message.strip_prefix(prefix)) {
        message = rest.trim_start();
    }
    message.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}

const PREFIXES: &[&str] = &[
    "DataFusion error:",
    "Error during planning:",
    "Execution error:",
    "Arrow error:",
    "Schema error:",
    "External error:",
    "External:",
    "Compute error:",
    "Cast error:",
    "Parser error:",
    "Invalid argument error:",
    "Arithmetic overflow:",
    "SQL error:",
    "This feature is not implemented:",
];
