//! EDNA's jobs: `ednaconf.yaml`, `config.yaml` and the job's Python file become a Stream.
//!
//! ```text
//!  ednaconf.yaml ─▶ conf.rs ──┐
//!  config.yaml ──▶ conf.rs ───┼─▶ job.rs (what is it?) ─▶ write.rs ─▶ document
//!  JOB.py ───────▶ python.rs ─┘                           twitter.rs, kafka.rs
//!                                └──────── left.rs ─▶ what was not carried over
//! ```

mod conf;
mod job;
mod kafka;
mod left;
mod python;
mod twitter;
mod write;

use std::path::{Path, PathBuf};

use document::{FILE_BYTES_MAX, Foreign, Input, Place, Problem, SecretKey, SecretRef};

use self::conf::{Conf, Template};
use self::job::Job;
use self::python::{Argument, Call, Script};
use super::{Imported, Left};
use crate::documents::read_text;
use crate::exit::Problems;

/// A secret shorter than this is not looked for in what is printed: it may be part of any word.
const SECRET_LENGTH_MIN: usize = 8;

/// What is being made out of the files.
#[derive(Debug)]
struct Work<'a> {
    conf: Conf,
    template: &'a Template,
    config: Option<&'a Foreign>,
    script: Option<&'a (String, Script)>,
    job: Job<'a>,
    /// The name of the stream.
    name: String,
    /// Variables of the document, with their defaults.
    variables: Vec<(String, Option<String>)>,
    /// The topics that the document names.
    topics: Vec<String>,
    /// Whether the document names the bearer token.
    has_token: bool,
    left: Vec<Left>,
}

/// Makes a document out of files, which are told apart by what they hold.
pub(super) fn import(files: &[PathBuf]) -> Result<Imported, Problems> {
    let Gathered { conf, config, script } = gather(files)?;
    let template = config.as_ref().map(conf::template).transpose()?.unwrap_or_default();
    let script = script.or_else(|| beside(config.as_ref(), &template));
    let found = job::recognise(script.as_ref().map(|(_, script)| script), template.filename.as_deref(), &conf);
    let Some(job) = found else {
        let problem = Problem::at("variables").found("nothing tells what the job reads");
        let problem = problem.expected("`bearer_token` or `import_key` among the variables, or the job's script");
        let problem = problem.hint("give the job's Python file as well: it is looked at, never run");
        return Err(Problems(vec![conf.foreign.locate(problem)]));
    };
    let secrets = conf.secrets(twitter::token_variable(&job));
    let mut work = Work {
        name: write::name(template.jobname.as_deref().or(stem(&template, script.as_ref())).unwrap_or_default()),
        template: &template,
        config: config.as_ref(),
        script: script.as_ref(),
        conf,
        job,
        variables: Vec::new(),
        topics: Vec::new(),
        has_token: false,
        left: Vec::new(),
    };
    let text = write::document(&mut work);
    left::process(&mut work);
    left::template(&mut work);
    left::variables(&mut work);
    refuse_secrets(&mut work, &text, &secrets);
    if !work.conf.problems.is_empty() {
        return Err(Problems(work.conf.problems));
    }
    let secrets = if work.has_token { vec![variable()] } else { Vec::new() };
    Ok(Imported { text, left: work.left, secrets })
}

/// The environment variable of the bearer token.
fn variable() -> String {
    let (name, key) = twitter::SECRET;
    SecretRef { secret: SecretKey { name: name.to_owned(), key: key.to_owned() } }.variable()
}

/// A secret that also stands where it is none, in a topic or a filter, would be printed: nothing is.
fn refuse_secrets(work: &mut Work<'_>, text: &str, secrets: &[String]) {
    let is_printed = |secret: &&String| {
        secret.len() >= SECRET_LENGTH_MIN
            && (text.contains(secret.as_str())
                || work.left.iter().any(|left| format!("{left:?}").contains(secret.as_str())))
    };
    if secrets.iter().any(|secret| is_printed(&secret)) {
        let problem = Problem::at("variables").found("the value of a secret stands in another place too");
        let problem = problem.expected("each secret only in a variable of its own");
        work.conf.problems.push(work.conf.foreign.locate(problem));
    }
}

/// What the files hold.
struct Gathered {
    conf: Conf,
    config: Option<Foreign>,
    script: Option<(String, Script)>,
}

fn gather(files: &[PathBuf]) -> Result<Gathered, Problems> {
    let (mut conf, mut config, mut script) = (None, None, None);
    let mut problems = Vec::new();
    for path in files {
        let name = path.display().to_string();
        let text = match read_text(path) {
            Ok(text) => text,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let is_second = if path.extension().is_some_and(|extension| extension == "py") {
            script.replace((name.clone(), python::scan(&text))).is_some()
        } else {
            match Foreign::read(&Input { name: name.clone(), text }) {
                Ok(foreign) if foreign.root().get("template").is_some() => config.replace(foreign).is_some(),
                Ok(foreign) => conf.replace(foreign).is_some(),
                Err(found) => {
                    problems.extend(found);
                    false
                }
            }
        };
        if is_second {
            let problem = Problem::at("").found(format!("`{name}` is a second file of its sort"));
            problems.push(problem.expected("one `ednaconf.yaml`, one `config.yaml` and one Python file at most"));
        }
    }
    match conf.map(Conf::new) {
        Some(Ok(conf)) if problems.is_empty() => return Ok(Gathered { conf, config, script }),
        Some(Err(found)) => problems.extend(found),
        None if problems.is_empty() => {
            problems.push(Problem::at("").found("no `ednaconf.yaml`").expected("the file with the job's `variables`"));
        }
        _ => {}
    }
    Err(Problems(problems))
}

/// The script that `config.yaml` names, where it stands beside it.
fn beside(config: Option<&Foreign>, template: &Template) -> Option<(String, Script)> {
    let filename = template.filename.as_deref()?;
    let is_name = Path::new(filename).components().count() == 1 && !filename.contains(['/', '\\']);
    let path = Path::new(config?.name()).with_file_name(format!("{}.py", filename.trim_end_matches(".py")));
    let text = read_text(is_name.then_some(&path)?).ok().filter(|text| text.len() <= FILE_BYTES_MAX)?;
    Some((path.display().to_string(), python::scan(&text)))
}

/// The name of the script, without its ending.
fn stem<'a>(template: &'a Template, script: Option<&'a (String, Script)>) -> Option<&'a str> {
    let given = || Path::new(&script?.0).file_stem()?.to_str();
    template.filename.as_deref().map(|name| name.trim_end_matches(".py")).or_else(given)
}

impl Work<'_> {
    /// Takes note of what is not carried over.
    fn leave(
        &mut self,
        what: impl Into<String>,
        why: impl Into<String>,
        instead: impl Into<String>,
        place: Option<Place>,
    ) {
        self.left.push(Left { what: what.into(), why: why.into(), instead: instead.into(), place });
    }

    /// Where a call stands.
    fn called(&self, call: Option<&Call>) -> Option<Place> {
        self.line(call?.line)
    }

    /// A line of the script.
    fn line(&self, line: usize) -> Option<Place> {
        let (file, _) = self.script?;
        Some(Place { file: file.clone(), line, column: 1, end_column: 1, text: String::new() })
    }

    /// The text that a call is given for a keyword; without it, the first of the variables `defaults` that there is.
    fn value(&mut self, call: Option<&Call>, keyword: &str, defaults: &[&str]) -> Option<String> {
        match call.and_then(|call| call.argument(keyword)) {
            Some(Argument::Variable(name)) => self.conf.text(name),
            Some(Argument::Text(text)) => Some(text.clone()),
            Some(Argument::Python) => {
                self.only_python(call, keyword);
                None
            }
            None => defaults.iter().find(|name| self.conf.has(name)).and_then(|name| self.conf.text(name)),
        }
    }

    /// The list that a call is given for a keyword; where there is no call, the variable of that name.
    fn values(&mut self, call: Option<&Call>, keyword: &str) -> Option<Vec<String>> {
        match call.map(|call| call.argument(keyword)) {
            Some(Some(Argument::Variable(name))) => self.conf.texts(name),
            Some(Some(_)) => {
                self.only_python(call, keyword);
                None
            }
            // What a call isn't given was not sent.
            Some(None) => None,
            None => self.conf.texts(keyword),
        }
    }

    /// Takes note of a value that a script makes by itself. Topics and filters, without which nothing goes, are told of
    /// where they are missing.
    fn only_python(&mut self, call: Option<&Call>, keyword: &str) {
        let Some(call) = call.filter(|_| !matches!(keyword, "kafka_topic" | "filters")) else { return };
        let place = self.called(Some(call));
        let what = format!("`{keyword}` of {}", call.name);
        self.leave(what, "its value is made in Python", "write it into the document by hand", place);
    }
}
