//! YAML texts that are no documents of ours, such as the settings of a system that somebody comes from.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::check;
use crate::node::{Node, Span};
use crate::path::Path;
use crate::problem::{Place, Problem};
use crate::read::Input;
use crate::source::Source;
use crate::yaml::{self, Budget};

/// One YAML text of another system's shape, with the places of its parts.
///
/// Such texts hold secrets as plain values, so no place that comes from here shows its line.
#[derive(Debug)]
pub struct Foreign {
    root: Node,
    source: Source,
}

impl Foreign {
    /// Reads a text that holds exactly one YAML document; its variables, if it has any, are left as they are.
    pub fn read(input: &Input) -> Result<Foreign, Vec<Problem>> {
        let mut problems = Vec::new();
        let source = Source::new(&input.name, &input.text);
        let mut roots = yaml::parse(&source, &mut Budget::default(), &mut problems);
        let found = match roots.len() {
            1 => None,
            0 => Some("nothing".to_owned()),
            more => Some(format!("{more} YAML documents")),
        };
        if let (Some(found), true) = (found, problems.is_empty()) {
            let place = source.place(roots.get(1).map(|second| second.span).unwrap_or_default());
            problems.push(Problem::at("").found(found).expected("one YAML document").place(place));
        }
        match roots.pop() {
            Some(root) if problems.is_empty() => Ok(Foreign { root, source }),
            _ => Err(problems.into_iter().map(without_line).collect()),
        }
    }

    /// What the user calls the text.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// The whole of it.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The whole of it as a type, or all that is wrong with it.
    ///
    /// Problems quote values, so this is for texts whose type has no place for a secret.
    pub fn take<T: DeserializeOwned + JsonSchema>(&self) -> Result<T, Vec<Problem>> {
        let checked = check::part(&self.root, None, &Path::default(), &self.source);
        checked.map_err(|problems| problems.into_iter().map(without_line).collect())
    }

    /// Where a part is written.
    pub fn place(&self, span: Span) -> Place {
        hidden(self.source.place(span))
    }

    /// The same problem with the place of its path.
    #[must_use]
    pub fn locate(&self, problem: Problem) -> Problem {
        let place = self.place(self.root.spot(&Path::parse(&problem.path)));
        problem.place(place)
    }
}

fn without_line(mut problem: Problem) -> Problem {
    problem.place = problem.place.map(|place| Box::new(hidden(*place)));
    problem
}

fn hidden(place: Place) -> Place {
    Place { end_column: place.column, text: String::new(), ..place }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    struct Settings {
        #[serde(rename = "port")]
        _port: u16,
    }

    fn read(text: &str) -> Result<Foreign, Vec<Problem>> {
        Foreign::read(&Input { name: "conf.yaml".to_owned(), text: text.to_owned() })
    }

    #[test]
    fn problems_have_places_and_show_no_line() {
        let foreign = read("host: a\nport: canary\n").unwrap();
        let problems = foreign.take::<Settings>().unwrap_err();
        let place = problems[0].place.as_ref().unwrap();
        assert_eq!((problems.len(), place.line, place.column, place.text.as_str()), (1, 2, 7, ""));
        let problem = foreign.locate(Problem::at("host"));
        assert_eq!(problem.place.as_ref().map(|place| (place.line, place.text.as_str())), Some((1, "")));
        for text in ["token: canary\n\t- x\n", "{token: canary", ""] {
            let problems = read(text).unwrap_err();
            assert!(!format!("{problems:?}").contains("canary"), "{problems:?}");
        }
        assert!(read("a: 1\n---\nb: 2\n").unwrap_err()[0].found.contains("2 YAML documents"));
    }

    #[test]
    fn other_fields_are_let_be() {
        read("port: 1\nother: {}\n").unwrap().take::<Settings>().unwrap();
    }
}
