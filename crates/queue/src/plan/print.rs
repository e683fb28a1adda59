//! The plan as a person reads it.

use std::fmt::{self, Display, Formatter, Write as _};

use document::ByteSize;

use super::{Plan, Pool};
use crate::settings::{QueueSettings, ScheduleSpec};

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "queue {}/{}", self.namespace, self.name)?;
        writeln!(f, "\nlistens  http://{} (/v1, /jobs, /openapi.json, /metrics, /healthz)", self.listen)?;
        if self.holders.is_empty() {
            writeln!(f, "  who      whoever reaches the address; no tokens")?;
        }
        for holder in &self.holders {
            let scopes: Vec<&str> = holder.scopes.iter().map(|scope| scope.as_str()).collect();
            let (scopes, queues) = (scopes.join(", "), holder.queues.join(", "));
            writeln!(f, "  who      {}: {scopes} in {queues} (by {})", holder.name, holder.token)?;
        }
        self.store.print(&self.found, f)?;
        for (name, settings) in &self.queues {
            writeln!(f, "\nqueue {name}")?;
            write_queue(f, settings)?;
        }
        for schedule in &self.schedules {
            let next = schedule.next_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
            writeln!(f, "\nschedule {} into {}: {}", schedule.name, schedule.spec.queue, when(&schedule.spec))?;
            writeln!(f, "  next     {next}")?;
        }
        for pool in &self.pools {
            write_pool(f, pool)?;
        }
        writeln!(f, "\npromise  {}", self.promise)
    }
}

fn write_queue(f: &mut Formatter<'_>, settings: &QueueSettings) -> fmt::Result {
    let backoff = settings.backoff;
    writeln!(
        f,
        "  attempts {}, after {}, then {} times as long each, at most {}",
        settings.attempts, backoff.base, backoff.factor, backoff.max
    )?;
    let timeout = settings.timeout.map_or_else(|| "none".to_owned(), |timeout| timeout.to_string());
    writeln!(f, "  lease    {}, timeout {timeout}, cancel grace {}", settings.lease, settings.cancel_grace)?;
    let running = settings.concurrency.map_or_else(|| "any number".to_owned(), |most| format!("at most {most}"));
    writeln!(f, "  jobs     {running} running, at most {} that have not ended", settings.depth_max)?;
    writeln!(f, "  keeps    ended jobs {}, keys {}", settings.retention, settings.key_ttl)
}

fn write_pool(f: &mut Formatter<'_>, pool: &Pool) -> fmt::Result {
    let of = if pool.types.is_empty() { String::new() } else { format!(" of {}", pool.types.join(", ")) };
    writeln!(f, "\nworkers {}: {} at once from {}{of}", pool.name, pool.concurrency, pool.queues.join(", "))?;
    write!(f, "  command  {}", pool.program.display())?;
    let (scripts, words): (Vec<&String>, Vec<&String>) =
        pool.arguments.iter().partition(|argument| argument.contains('\n'));
    for word in words {
        let is_plain = !word.is_empty() && !word.contains(|letter: char| letter.is_whitespace() || letter == '\'');
        if is_plain { write!(f, " {word}")? } else { write!(f, " {word:?}")? }
    }
    for line in scripts.iter().flat_map(|script| script.lines()) {
        write!(f, "\n  | {line}")?;
    }
    writeln!(f, "\n  folder   {}", pool.folder.display())?;
    if !pool.environment.is_empty() {
        let names: Vec<&str> = pool.environment.iter().map(|(name, _)| name.as_str()).collect();
        writeln!(f, "  adds     {} to the environment", names.join(", "))?;
    }
    let timeout = pool.timeout.map_or_else(|| "as the job says".to_owned(), |timeout| timeout.to_string());
    write!(f, "  timeout  {timeout}, then {} to stop", pool.stop_grace)?;
    match pool.memory_bytes_max {
        Some(bytes) => writeln!(f, "; at most {} of memory", ByteSize::from_bytes(bytes)),
        None => writeln!(f),
    }
}

fn when(spec: &ScheduleSpec) -> String {
    match (&spec.cron, spec.every) {
        (Some(cron), _) => format!("{cron} ({})", spec.time_zone.as_deref().unwrap_or("UTC")),
        (None, Some(every)) => format!("every {every}"),
        (None, None) => "never".to_owned(),
    }
}

impl Plan {
    /// Who gives jobs to whom, as a Mermaid flow chart.
    pub fn mermaid(&self) -> String {
        let mut text = "flowchart LR\n".to_owned();
        // Writing into a string can't fail, here and below.
        for (at, name) in self.queues.keys().enumerate() {
            let _ = writeln!(text, "  clients([clients]) --> q{at}[\"queue {name}\"]");
        }
        let number = |name: &str| self.queues.get_index_of(name).unwrap_or_default();
        for (at, schedule) in self.schedules.iter().enumerate() {
            let queue = number(&schedule.spec.queue);
            let _ = writeln!(text, "  s{at}([\"schedule {}\"]) --> q{queue}", schedule.name);
        }
        for (at, pool) in self.pools.iter().enumerate() {
            for queue in &pool.queues {
                let _ = writeln!(text, "  q{} --> w{at}[\"workers {}\"]", number(queue), pool.name);
            }
        }
        text
    }
}
