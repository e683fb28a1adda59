//! Documents as text, with comments.

/// The lines of a document.
#[derive(Debug, Default)]
pub(super) struct Lines {
    text: String,
    depth: usize,
}

impl Lines {
    /// No lines yet, of a part that stands `depth` levels deep.
    pub(super) fn at(depth: usize) -> Lines {
        Lines { text: String::new(), depth }
    }

    /// The lines of a part that was written by itself.
    pub(super) fn append(&mut self, part: &Lines) {
        self.text.push_str(&part.text);
    }

    /// A line as it is.
    pub(super) fn line(&mut self, text: &str) {
        for _ in 0..self.depth {
            self.text.push_str("  ");
        }
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// A comment of one line.
    pub(super) fn comment(&mut self, text: &str) {
        let text: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        self.line(format!("# {text}").trim_end());
    }

    /// A key with a text.
    pub(super) fn pair(&mut self, key: &str, value: &str) {
        self.line(&format!("{key}: {}", scalar(value)));
    }

    /// Keys with texts.
    pub(super) fn pairs(&mut self, pairs: &[(&str, String)]) {
        for (key, value) in pairs {
            self.pair(key, value);
        }
    }

    /// A key, and the lines below it.
    pub(super) fn below(&mut self, key: &str, write: impl FnOnce(&mut Lines)) {
        self.line(&format!("{key}:"));
        self.depth += 1;
        write(self);
        self.depth -= 1;
    }

    /// All of them.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// A text as a YAML scalar that means just it: without quotes where that is plain, and never a variable.
pub(super) fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_plain = text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./:".contains(&byte))
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { serde_json::Value::from(text.replace("${", "$${")).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_what_was_given() {
        for plain in ["a", "https://example.org/2/x", "kafka:9092", "a.b-c_d"] {
            assert_eq!(scalar(plain), plain);
        }
        for (text, quoted) in [("1.0", "\"1.0\""), ("No", "\"No\""), ("a: b", "\"a: b\""), ("${x}", "\"$${x}\"")] {
            assert_eq!(scalar(text), quoted);
        }
        assert_eq!(scalar("a\"\n"), r#""a\"\n""#);
    }

    #[test]
    fn comments_stay_on_their_line() {
        let mut lines = Lines::default();
        lines.below("spec", |lines| lines.comment("a\nb: c"));
        assert_eq!(lines.into_text(), "spec:\n  # a b: c\n");
    }
}
