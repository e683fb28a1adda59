//! Links of Markdown files to other files of the repository lead somewhere.

use super::tree::{File, Tree};

/// Held by every Markdown file.
pub(super) fn problems(tree: &Tree) -> Vec<String> {
    tree.ending(".md")
        .flat_map(|file| links(&file.text).into_iter().filter_map(|link| problem(tree, file, link)))
        .collect()
}

fn problem(tree: &Tree, file: &File, (line, link): (usize, String)) -> Option<String> {
    let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
    let target = if path.is_empty() { Some(file.path.clone()) } else { resolve(&file.path, path) };
    let Some(target) = target.filter(|target| tree.has(target)) else {
        return Some(format!("{}:{line}: the link {link} leads nowhere", file.path));
    };
    let text = tree.text(&target)?;
    let found = heading.is_empty() || headings(text).any(|found| found == heading);
    (!found).then(|| format!("{}:{line}: {target} has no heading #{heading}", file.path))
}

/// The path beneath the checkout, or `None` when it leads out of it.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = if link.starts_with('/') { Vec::new() } else { from.split('/').collect() };
    parts.pop();
    for part in link.trim_matches('/').split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Line number and target of each link within the repository: `[text](target)`, `[text](target "title")`, `[name]: target`.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let line = without_code(line);
        let inline = line.match_indices("](").map(|(at, _)| &line[at + 2..]);
        let named =
            line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
        for target in inline.chain(named) {
            let target = target.trim_start().trim_start_matches('<');
            let target = &target[..target.find([')', ' ', '>']).unwrap_or(target.len())];
            if !target.contains("://") && !target.starts_with("mailto:") && !target.is_empty() {
                found.push((number, target.to_owned()));
            }
        }
    }
    found
}

/// Numbered lines outside fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

fn without_code(line: &str) -> String {
    line.split('`').enumerate().map(|(number, part)| if number % 2 == 0 { part } else { "" }).collect()
}

/// Headings as they are linked to: lower case, blanks as hyphens, no punctuation.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let titles =
        prose(text).filter_map(|(_, line)| line.strip_prefix('#')).map(|line| line.trim_start_matches('#').trim());
    titles.map(|title| {
        let kept = title.chars().filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter));
        kept.flat_map(char::to_lowercase).map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let guide = "[a](../concept/a.md) [h](../concept/a.md#the-four-words) [f](../../crates) [w](https://x.y/z) [r](/README.md)\n\
            [gone](gone.md) and [no heading](../concept/a.md#nothing \"title\") and [out](../../../x)\n\
            ```\n[code](no.md)\n```\n`[code](no.md)`\n[named]: lost.md\n[own](#own)\n# Own\n";
        let tree = Tree::of(&[
            ("docs/guide/g.md", guide),
            ("docs/concept/a.md", "# A\n## The *four* words\n"),
            ("crates/x/src/lib.rs", ""),
            ("README.md", ""),
        ]);
        let found = problems(&tree);
        assert_eq!(found.len(), 4, "{found:#?}");
        for (line, word) in
            found.iter().zip(["g.md:2: the link gone.md", "#nothing", "../../../x", "g.md:7: the link lost.md"])
        {
            assert!(line.contains(word), "{line}");
        }
    }
}
