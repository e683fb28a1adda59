//! Just enough of Rust's grammar to tell code from comments, strings and tests.

/// The code with comments and the insides of strings turned to blanks; lines stay where they are.
pub(super) fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = blank_length(rest, out.chars().next_back());
        if length == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (blank, after) = rest.split_at(length);
        out.extend(blank.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
        rest = after;
    }
    out
}

/// The lines of code before the tests at the foot: up to `#[cfg(test)]` that stands before `mod name {`.
pub(super) fn before_tests(text: &str) -> &str {
    let mut from = 0;
    while let Some(found) = text[from..].find("#[cfg(test)]") {
        let start = from + found;
        from = start + "#[cfg(test)]".len();
        let next = text[from..].lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("#["));
        if next.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{')) {
            return &text[..start];
        }
    }
    text
}

/// Whether the whole file is tests.
pub(super) fn is_tests(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.starts_with("crates/testkit/")
}

/// The places in code where a whole word stands: line number (from 1) and what follows it.
pub(super) fn places<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    code.match_indices(word).filter_map(move |(at, _)| {
        let (before, after) = (&code[..at], &code[at + word.len()..]);
        let whole = !before.ends_with(is_part_of_name) && !after.starts_with(is_part_of_name);
        whole.then(|| (before.matches('\n').count() + 1, after))
    })
}

/// Whether `mod name;` stands in the code.
pub(super) fn names_module(code: &str, name: &str) -> bool {
    places(code, "mod")
        .any(|(_, after)| after.trim_start().strip_prefix(name).is_some_and(|end| end.trim_start().starts_with(';')))
}

/// The name at the front.
pub(super) fn name_at(code: &str) -> &str {
    &code[..code.find(|letter| !is_part_of_name(letter)).unwrap_or(code.len())]
}

/// What stands between the first opening brace and its partner.
pub(super) fn braced(code: &str) -> &str {
    let Some(start) = code.find('{') else { return "" };
    let mut depth = 0_usize;
    for (at, letter) in code[start..].char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 1 => return &code[start + 1..start + at],
            '}' => depth -= 1,
            _ => {}
        }
    }
    &code[start + 1..]
}

fn is_part_of_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// How many bytes of `rest` are a comment, a string or a character; 0 when it begins with code.
fn blank_length(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return comment_length(rest);
    }
    if rest.starts_with('"') {
        return quoted_length(rest, '"');
    }
    if rest.starts_with('r') && !before.is_some_and(|letter| is_part_of_name(letter) && letter != 'b') {
        return raw_length(rest);
    }
    // A quote that is closed after one character, or escaped, is a character; otherwise it names a lifetime.
    let mut letters = rest.chars();
    match (letters.next(), letters.next(), letters.next()) {
        (Some('\''), Some('\\'), _) => quoted_length(rest, '\''),
        (Some('\''), Some(letter), Some('\'')) => 2 + letter.len_utf8(),
        _ => 0,
    }
}

fn comment_length(rest: &str) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if letter == quote {
            return at + 1;
        }
    }
    rest.len()
}

fn raw_length(rest: &str) -> usize {
    let marks = rest[1..].len() - rest[1..].trim_start_matches('#').len();
    let start = 1 + marks;
    if !rest[start..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(marks));
    rest[start + 1..].find(&end).map_or(rest.len(), |found| start + 1 + found + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_blank() {
        let text = "a /* b /* c */ d */ e // f\n\"g \\\" h\" i r#\"j \" k\"# l '\"' m '\\'' n b'o' 'p: for q";
        let names: Vec<String> = code(text).split_whitespace().map(str::to_owned).collect();
        assert_eq!(names, ["a", "e", "i", "l", "m", "n", "b", "'p:", "for", "q"]);
        assert_eq!(code("a\n/*\n\n*/b").lines().count(), 4);
    }

    #[test]
    fn tests_at_the_foot_are_cut_off() {
        assert_eq!(
            before_tests("a\n#[cfg(test)]\nuse x;\nb\n#[cfg(test)]\nmod tests {\n}\n"),
            "a\n#[cfg(test)]\nuse x;\nb\n"
        );
        assert_eq!(before_tests("a\n#[cfg(test)]\nmod tests;\nb\n"), "a\n#[cfg(test)]\nmod tests;\nb\n");
    }

    #[test]
    fn words_modules_and_braces_are_found() {
        assert_eq!(places("x\nab a b\n  a::B", "a").collect::<Vec<_>>(), [(2, " b\n  a::B"), (3, "::B")]);
        assert!(names_module("pub(crate) mod a ;", "a") && !names_module("mod ab; mod c {}", "a"));
        assert_eq!(braced("x { a { b } c } d }"), " a { b } c ");
        assert_eq!(name_at("Kafka(x)"), "Kafka");
    }
}
