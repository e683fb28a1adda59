//! Every example is checked, and planned where it says how.
//!
//! A line `# plan: --set input=${HEADWATER_ALERTS}/*.avro` in an example gives the arguments of a plan (words split at
//! blanks). `${HEADWATER_ALERTS}` is the folder of real alerts, `${OUT}` a folder that may be written to.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::context::Context;
use crate::docs::headwater;
use crate::process::{program, shown};
use crate::report::{Report, say};

/// Runs `headwater check`, and `headwater plan` for each `# plan:` line, on all of `examples/*.yaml`.
pub(crate) fn stage(context: &Context, report: &mut Report) -> Result<()> {
    let headwater = headwater(context)?;
    let examples = examples(context)?;
    ensure!(!examples.is_empty(), "there is no examples/*.yaml");
    let mut failed = Vec::new();
    for path in examples {
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let example = path.strip_prefix(&context.root)?.display().to_string();
        let mut calls = vec![vec!["check".to_owned(), example.clone()]];
        for line in plans(&text) {
            match arguments(context, line) {
                Some(words) => calls.push([vec!["plan".to_owned(), example.clone()], words].concat()),
                None => report.note(format!("{example} was not planned on real alerts: HEADWATER_ALERTS is not set")),
            }
        }
        for call in calls {
            let mut command = program(context, &headwater);
            let answer = command.args(&call).output().with_context(|| format!("start `{}`", shown(&command)))?;
            if !answer.status.success() {
                let told = [answer.stdout, answer.stderr].concat();
                failed.push(format!(
                    "`{}` failed: {}\n{}",
                    shown(&command),
                    answer.status,
                    String::from_utf8_lossy(&told)
                ));
            }
            say(format_args!("{} {}", if answer.status.success() { "ok    " } else { "FAILED" }, call.join(" ")));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

fn examples(context: &Context) -> Result<Vec<PathBuf>> {
    let folder = context.root.join("examples");
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn plans(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim().strip_prefix("# plan:"))
}

/// The words of a `# plan:` line, or `None` when it needs alerts and there are none.
fn arguments(context: &Context, line: &str) -> Option<Vec<String>> {
    let mut line = line.replace("${OUT}", &context.built.join("xtask-examples").to_string_lossy());
    if line.contains("${HEADWATER_ALERTS}") {
        line = line.replace("${HEADWATER_ALERTS}", &context.alerts.as_ref()?.to_string_lossy());
    }
    Some(line.split_whitespace().map(str::to_owned).collect())
}
