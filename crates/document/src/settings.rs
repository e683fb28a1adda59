//! Values for variables, given from outside of the document.

use crate::node::{Node, Span, Value};
use crate::problem::Problem;
use crate::scalar;
use crate::source::Source;
use crate::yaml::{self, Budget, FILE_BYTES_MAX};

/// The values that `--set` and `--set-file` give to variables. The last one for a name holds.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    settings: Vec<Setting>,
}

#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) name: String,
    /// `--set` or `--set-file`, to be named in problems.
    pub(crate) option: &'static str,
    pub(crate) value: Given,
}

/// A value from outside: taken literally, so that a `${` in it is just text.
#[derive(Debug, Clone)]
pub(crate) enum Given {
    Written(String),
    Text(String),
}

impl Settings {
    /// Takes `name=value` of a `--set`. The value is read as a scalar of a document: `5` is a number, `"5"` is text.
    pub fn set(&mut self, argument: &str) -> Result<(), Problem> {
        let (name, value) = split("--set", argument)?;
        self.settings.push(Setting { name, option: "--set", value: Given::Written(value.to_owned()) });
        Ok(())
    }

    /// Takes `name=path` of a `--set-file` and reads the file, which is text whatever it holds. At most 1 MiB.
    pub fn set_file(&mut self, argument: &str) -> Result<(), Problem> {
        let (name, path) = split("--set-file", argument)?;
        let at = || Problem::at(format!("--set-file {name}"));
        let text = std::fs::read_to_string(path)
            .map_err(|error| at().found(format!("can't read `{path}`: {error}")).expected("a text file"))?;
        if text.len() > FILE_BYTES_MAX {
            let expected = format!("at most {FILE_BYTES_MAX} bytes");
            return Err(at().found(format!("`{path}` has {} bytes", text.len())).expected(expected));
        }
        self.settings.push(Setting { name, option: "--set-file", value: Given::Text(text) });
        Ok(())
    }

    pub(crate) fn all(&self) -> &[Setting] {
        &self.settings
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Given> {
        self.settings.iter().rev().find(|setting| setting.name == name).map(|setting| &setting.value)
    }
}

impl Given {
    /// The value for a variable whose default is `default`: one that is text stays text, so that `--set version=1.10`
    /// does not become the number 1.1.
    pub(crate) fn value(&self, default: &Value) -> Value {
        match self {
            Given::Text(text) => Value::Text(text.clone()),
            Given::Written(written) => match (quoted(written), default) {
                (Some(value), _) => value,
                (None, Value::Text(_)) => Value::Text(written.clone()),
                (None, _) => scalar::plain(written),
            },
        }
    }
}

/// The text of a scalar in quotes.
fn quoted(written: &str) -> Option<Value> {
    if !written.starts_with(['"', '\'']) {
        return None;
    }
    let mut problems = Vec::new();
    let nodes = yaml::parse(&Source::new("--set", written), &mut Budget::default(), &mut problems);
    match <[Node; 1]>::try_from(nodes) {
        Ok([Node { value: value @ Value::Text(_), span: Span { .. } }]) if problems.is_empty() => Some(value),
        _ => None,
    }
}

fn split<'a>(option: &str, argument: &'a str) -> Result<(String, &'a str), Problem> {
    match argument.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value)),
        _ => Err(Problem::at(option).found("no `=` after a name").expected("name=value")),
    }
}
