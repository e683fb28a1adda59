//! A light look at a job's Python: which classes it calls, and with what. Nothing is executed.

/// Arguments whose values are taken where they are written out. No other text of a script is kept, since it may be a
/// secret.
const PLAIN: [&str; 4] = ["kafka_topic", "bootstrap_server", "bootstrap_port", "topic_retention_ms"];

/// What a script names.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// The calls of names that begin with a capital letter, in the order they are written.
    pub(super) calls: Vec<Call>,
    /// The classes that it defines, each with the first of its bases.
    pub(super) classes: Vec<Class>,
}

/// A call such as `KafkaEmit(kafka_topic=context.getVariable("topic"))`.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) line: usize,
    /// Its keywords, each with what is given to it.
    pub(super) arguments: Vec<(String, Argument)>,
}

/// What is given to a keyword.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Argument {
    /// The variable of the context with this name.
    Variable(String),
    /// This text or number.
    Text(String),
    /// Something that only Python knows.
    Python,
}

/// A class that the script defines.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) name: String,
    pub(super) base: String,
    pub(super) line: usize,
}

impl Call {
    /// What is given to a keyword.
    pub(super) fn argument(&self, name: &str) -> Option<&Argument> {
        self.arguments.iter().find(|(given, _)| given == name).map(|(_, argument)| argument)
    }
}

/// Looks at a script.
pub(super) fn scan(text: &str) -> Script {
    let tokens = tokens(text);
    let mut script = Script::default();
    let (mut depth, mut is_import, mut is_start) = (0_usize, false, true);
    for (at, (token, line)) in tokens.iter().enumerate() {
        match token {
            Token::End => is_import &= depth > 0,
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => depth = depth.saturating_sub(1),
            Token::Word("from" | "import") if is_start => is_import = true,
            Token::Word(name) if !is_import => look(name, &tokens, at, *line, &mut script),
            _ => {}
        }
        is_start = *token == Token::End && depth == 0;
    }
    script
}

fn look(name: &str, tokens: &[(Token<'_>, usize)], at: usize, line: usize, script: &mut Script) {
    let next = |step: usize| tokens.get(at + step).map(|(token, _)| token);
    let before = at.checked_sub(1).and_then(|before| tokens.get(before)).map(|(token, _)| token);
    if let ("class", Some(Token::Word(class)), Some(Token::Mark('('))) = (name, next(1), next(2)) {
        let bases = tokens.iter().skip(at + 3).map(|(token, _)| token);
        let base = bases.take_while(|token| !matches!(token, Token::Mark(')' | ','))).filter_map(Token::word).last();
        let base = base.unwrap_or_default().to_owned();
        script.classes.push(Class { name: (*class).to_owned(), base, line });
        return;
    }
    let is_defined = matches!(before, Some(Token::Word("class" | "def")));
    if name.starts_with(char::is_uppercase) && next(1) == Some(&Token::Mark('(')) && !is_defined {
        let arguments = arguments(tokens.get(at + 2..).unwrap_or_default());
        script.calls.push(Call { name: name.to_owned(), line, arguments });
    }
}

/// The keyword arguments of a call, from what stands after its opening bracket.
fn arguments(tokens: &[(Token<'_>, usize)]) -> Vec<(String, Argument)> {
    let (mut arguments, mut depth) = (Vec::new(), 0_usize);
    let mut one: Vec<&Token<'_>> = Vec::new();
    for (token, _) in tokens {
        match token {
            Token::End => continue,
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') if depth == 0 => break,
            Token::Mark(')' | ']' | '}') => depth -= 1,
            Token::Mark(',') if depth == 0 => {
                arguments.extend(argument(&one));
                one.clear();
                continue;
            }
            _ => {}
        }
        one.push(token);
    }
    arguments.extend(argument(&one));
    arguments
}

fn argument(tokens: &[&Token<'_>]) -> Option<(String, Argument)> {
    let [Token::Word(name), Token::Mark('='), value @ ..] = tokens else { return None };
    let argument = match value {
        [Token::Text(text) | Token::Number(text)] if PLAIN.contains(name) => Argument::Text((*text).to_owned()),
        [.., Token::Word("getVariable"), Token::Mark('('), Token::Text(variable), Token::Mark(')')] => {
            Argument::Variable((*variable).to_owned())
        }
        _ => Argument::Python,
    };
    Some(((*name).to_owned(), argument))
}

#[derive(Debug, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Number(&'a str),
    /// A text without its quotes; escapes are left as they are.
    Text(&'a str),
    Mark(char),
    /// The end of a line.
    End,
}

impl<'a> Token<'a> {
    fn word(&self) -> Option<&'a str> {
        if let Token::Word(word) = self { Some(word) } else { None }
    }
}

/// The words and marks of a script, without its comments, each with its line.
fn tokens(text: &str) -> Vec<(Token<'_>, usize)> {
    let (mut tokens, mut rest, mut line) = (Vec::new(), text, 1);
    while let Some(letter) = rest.chars().next() {
        let (token, length) = match letter {
            '\n' => (Some(Token::End), 1),
            '#' => (None, rest.find('\n').unwrap_or(rest.len())),
            '\'' | '"' => text_token(rest, letter),
            '_' | 'a'..='z' | 'A'..='Z' => word_token(rest),
            '0'..='9' => {
                let length = length_while(rest, |letter| letter.is_ascii_alphanumeric() || letter == '.');
                (rest.get(..length).map(Token::Number), length)
            }
            ' ' | '\t' | '\r' | '\\' => (None, 1),
            mark => (Some(Token::Mark(mark)), mark.len_utf8()),
        };
        tokens.extend(token.map(|token| (token, line)));
        let (done, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        line += done.matches('\n').count();
        rest = after;
    }
    tokens
}

fn word_token(rest: &str) -> (Option<Token<'_>>, usize) {
    let length = length_while(rest, |letter| letter.is_alphanumeric() || letter == '_');
    // The letters before a text (`r"..."`) are part of it.
    let is_prefix = length <= 2 && rest.get(length..).is_some_and(|after| after.starts_with(['\'', '"']));
    (rest.get(..length).filter(|_| !is_prefix).map(Token::Word), length)
}

fn text_token(rest: &str, quote: char) -> (Option<Token<'_>>, usize) {
    let triple: String = [quote; 3].iter().collect();
    let (quotes, is_long) = if rest.starts_with(&triple) { (3, true) } else { (1, false) };
    let body = rest.get(quotes..).unwrap_or_default();
    let mut is_escaped = false;
    for (at, letter) in body.char_indices() {
        let ends = if is_long { body.get(at..).is_some_and(|end| end.starts_with(&triple)) } else { letter == quote };
        if !is_escaped && ends {
            return (body.get(..at).map(Token::Text), at + 2 * quotes);
        }
        if !is_long && letter == '\n' && !is_escaped {
            // A text that nobody closed ends with its line.
            return (None, at + quotes);
        }
        is_escaped = letter == '\\' && !is_escaped;
    }
    (None, rest.len())
}

fn length_while(text: &str, is_part: impl Fn(char) -> bool) -> usize {
    text.find(|letter| !is_part(letter)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_with_what_is_given_to_them() {
        let script = scan(
            "from edna.emit import (StdoutEmit,\n    KafkaIngest)\n# SQLEmit()\nx = '''\nSQLEmit()\n'''\n\
             class Mine(process.Map):\n    pass\n\
             e = KafkaEmit(serializer=S(a=1),\n  kafka_topic=context.getVariable(\"topic\"), bootstrap_port=9092,\n  \
             bearer_token=r\"canary\", bootstrap_server=host)\n",
        );
        let names: Vec<(&str, usize)> = script.calls.iter().map(|call| (call.name.as_str(), call.line)).collect();
        assert_eq!(names, [("KafkaEmit", 9), ("S", 9)]);
        let emit = &script.calls[0];
        assert_eq!(emit.argument("kafka_topic"), Some(&Argument::Variable("topic".to_owned())));
        assert_eq!(emit.argument("bootstrap_port"), Some(&Argument::Text("9092".to_owned())));
        assert_eq!(emit.argument("bootstrap_server"), Some(&Argument::Python));
        assert_eq!(emit.argument("bearer_token"), Some(&Argument::Python));
        assert_eq!(emit.argument("a"), None);
        let class = &script.classes[0];
        assert_eq!((class.name.as_str(), class.base.as_str(), class.line), ("Mine", "Map", 7));
        assert!(!format!("{script:?}").contains("canary"));
    }

    #[test]
    fn any_text_can_be_looked_at() {
        for text in ["", "'", "\"\"\"", "A(", "A(b=", "class A(", "é'\\", "))]}", "A(x='é\n"] {
            scan(text);
        }
    }
}
