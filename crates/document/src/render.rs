//! Problems as a person reads them.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::problem::{Place, Problem};

/// The problems as text, sorted by file and line, each with its line underlined; with ANSI colours if `color`.
pub fn render(problems: &[Problem], color: bool) -> String {
    let mut sorted: Vec<&Problem> = problems.iter().collect();
    sorted.sort_by_key(|problem| problem.place.as_ref().map(|place| (&place.file, place.line, place.column)));
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let groups: Vec<String> = sorted.into_iter().map(|problem| renderer.render(&[group(problem)])).collect();
    let mut text = groups.join("\n\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn group(problem: &Problem) -> Group<'_> {
    let title = Level::ERROR.primary_title(problem.found.as_str());
    let label = Some(&problem.expected).filter(|text| !text.is_empty()).map(|text| format!("expected {text}"));
    let mut group = match problem.place.as_deref() {
        Some(place) if !place.text.is_empty() => {
            let mark = AnnotationKind::Primary.span(bytes(place)).label(label);
            title.element(
                Snippet::source(place.text.as_str())
                    .line_start(place.line)
                    .path(place.file.as_str())
                    .fold(false)
                    .annotation(mark),
            )
        }
        Some(place) => {
            let origin = Origin::path(place.file.as_str()).line(place.line).char_column(place.column);
            title.element(origin).elements(label.map(|label| Level::NOTE.message(label)))
        }
        None => Group::with_title(title).elements(label.map(|label| Level::NOTE.message(label))),
    };
    if let Some(hint) = &problem.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    if !problem.path.is_empty() {
        group = group.element(Level::NOTE.message(format!("at `{}`", problem.path)));
    }
    group
}

/// The underlined stretch in bytes of the shown line, at least one character wide where the line has one.
fn bytes(place: &Place) -> std::ops::Range<usize> {
    let byte =
        |column: usize| place.text.char_indices().nth(column.saturating_sub(1)).map_or(place.text.len(), |(at, _)| at);
    let start = byte(place.column);
    start..byte(place.end_column.max(place.column + 1)).max(start)
}
