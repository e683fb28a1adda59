//! What each verb asks the server for.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use queue::{Job, LogLine, Moment, NewJob, Page, State};
use serde::Deserialize;
use serde_json::{Value, json};
use stdx::Backoff;

use super::client::{Client, Refused};
use super::{Cancel, List, Logs, Put, Retry, Show, show};
use crate::documents;
use crate::exit::{Exit, Usage};
use crate::figures::counted;
use crate::screen::Output;
use crate::session::Session;

/// Tries of a request whose reply was lost.
const TRIES: u32 = 3;
/// Jobs that one request puts back.
const RETRY_MAX: usize = queue::BULK_JOBS_MAX;
/// Between two looks at a log that is followed.
const FOLLOW_EVERY: document::Duration = document::Duration::from_secs(1);

/// Where a job was put.
#[derive(Deserialize)]
struct Placed {
    id: String,
    state: State,
    #[serde(default)]
    duplicate: bool,
}

pub(super) fn put(put: &Put, client: &Client, session: &Session) -> anyhow::Result<Exit> {
    let text = match put.payload.as_str() {
        "-" => documents::read_text(Path::new("-")).map_err(|problem| Usage(problem.to_string()))?,
        text => text.to_owned(),
    };
    let payload = serde_json::from_str(&text)
        .map_err(|error| Usage(format!("the payload is not JSON: {error}; a text is written '\"in quotes\"'")))?;
    let job = NewJob {
        kind: put.kind.clone(),
        payload,
        key: Some(put.key.clone().unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)))),
        priority: put.priority,
        delay: put.delay,
        timeout: put.timeout,
        attempts: put.attempts,
        ..NewJob::default()
    };
    let placed = put_once(&put.queue, &job, client, session)?;
    if let Some(wait) = put.wait {
        let job = wait_for(&placed.id, wait, client, session)?;
        show::job(&job, session)?;
        return Ok(outcome(&job));
    }
    match session.screen.output {
        Output::Json => {
            session.screen.json(&json!({ "id": placed.id, "state": placed.state, "duplicate": placed.duplicate }))?;
        }
        Output::Text => session.screen.out(format!("{}\n", placed.id))?,
    }
    Ok(Exit::Done)
}

/// Puts a job, also when a reply is lost: its key makes it one.
fn put_once(queue: &str, job: &NewJob, client: &Client, session: &Session) -> anyhow::Result<Placed> {
    let mut backoff = Backoff::exponential(Duration::from_millis(200), Duration::from_secs(2));
    loop {
        match client.post(&format!("/v1/queues/{queue}/jobs"), job) {
            Err(error) if error.downcast_ref::<Refused>().is_none() && backoff.failures() + 1 < TRIES => {
                rest(backoff.fail(), session);
            }
            answer => return answer,
        }
    }
}

fn rest(time: Duration, session: &Session) {
    session.handle().block_on(tokio::time::sleep(time));
}

/// A job once it has ended, or as it is when the wait is over.
fn wait_for(id: &str, wait: document::Duration, client: &Client, session: &Session) -> anyhow::Result<Job> {
    let until = session.clock.elapsed() + wait.get();
    loop {
        // The server waits a minute at most.
        let left = until.saturating_sub(session.clock.elapsed()).min(Duration::from_secs(50));
        let left = document::Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(0));
        let job: Job = client.wait(&format!("/v1/jobs/{id}"), left)?;
        if job.state.has_ended() || session.clock.elapsed() >= until {
            return Ok(job);
        }
    }
}

/// Whoever waited for a job is told by the exit code whether it ended well.
fn outcome(job: &Job) -> Exit {
    if matches!(job.state, State::Failed | State::Cancelled) { Exit::World } else { Exit::Done }
}

pub(super) fn list(list: &List, client: &Client, session: &Session) -> anyhow::Result<Exit> {
    let (mut jobs, mut cursor): (Vec<Job>, Option<String>) = (Vec::new(), None);
    let most = list.limit as usize;
    while jobs.len() < most {
        let mut query = vec![("limit", (most - jobs.len()).min(queue::PAGE_JOBS_MAX).to_string())];
        query.extend(list.queue.iter().map(|queue| ("queue", queue.clone())));
        query.extend(list.kind.iter().map(|kind| ("type", kind.clone())));
        if !list.state.is_empty() {
            let states: Vec<&str> = list.state.iter().map(|state| state.as_str()).collect();
            query.push(("state", states.join(",")));
        }
        query.extend(cursor.iter().map(|cursor| ("cursor", cursor.clone())));
        let page: Page = client.get("/v1/jobs", &query)?;
        jobs.extend(page.items);
        cursor = page.next.map(|next| next.to_string());
        if cursor.is_none() {
            break;
        }
    }
    match session.screen.output {
        Output::Json => session.screen.json(&jobs)?,
        Output::Text => session.screen.out(show::rows(&jobs, Moment::from(session.clock.now())))?,
    }
    if cursor.is_some() {
        session.screen.note(&format!("there are more than {}; --limit shows more", counted(jobs.len() as u64, "job")));
    }
    Ok(Exit::Done)
}

pub(super) fn show(show: &Show, client: &Client, session: &Session) -> anyhow::Result<Exit> {
    let job: Job = match show.wait {
        Some(wait) => wait_for(&show.id, wait, client, session)?,
        None => client.get(&format!("/v1/jobs/{}", show.id), &[])?,
    };
    show::job(&job, session)?;
    Ok(if show.wait.is_some() { outcome(&job) } else { Exit::Done })
}

pub(super) fn cancel(cancel: &Cancel, client: &Client, session: &Session) -> anyhow::Result<Exit> {
    each(&cancel.ids, "cancel", client, session)
}

pub(super) fn retry(retry: &Retry, client: &Client, session: &Session) -> anyhow::Result<Exit> {
    let Some(state) = retry.state else { return each(&retry.ids, "retry", client, session) };
    if !matches!(state, State::Failed | State::Cancelled) {
        return Err(
            Usage(format!("jobs that are {} can't be retried: failed or cancelled ones can", state.as_str())).into()
        );
    }
    let now = Moment::from(session.clock.now());
    let since = retry.since.map(|since| Moment::from_millis(now.millis() - millis(since)));
    let mut body = json!({ "state": state, "limit": RETRY_MAX });
    if let Some(since) = since {
        body["since"] = json!(since);
    }
    if let Some(queue) = &retry.queue {
        body["queue"] = json!(queue);
    }
    let mut all = 0;
    loop {
        let reply: Value = client.post("/v1/jobs/retry", &body)?;
        let count = reply.get("count").and_then(Value::as_u64).context("find the count in the reply")?;
        all += count;
        if count < RETRY_MAX as u64 {
            break;
        }
    }
    match session.screen.output {
        Output::Json => session.screen.json(&json!({ "count": all }))?,
        Output::Text => session.screen.out(format!("{} put back\n", counted(all, "job")))?,
    }
    Ok(Exit::Done)
}

fn millis(duration: document::Duration) -> i64 {
    i64::try_from(duration.get().as_millis()).unwrap_or(i64::MAX)
}

/// Asks for the same of each job. One that refuses doesn't keep the others from it.
fn each(ids: &[String], what: &str, client: &Client, session: &Session) -> anyhow::Result<Exit> {
    let (mut jobs, mut exit): (Vec<Job>, Exit) = (Vec::new(), Exit::Done);
    for id in ids {
        match client.post::<Job>(&format!("/v1/jobs/{id}/{what}"), &json!({})) {
            Ok(job) => jobs.push(job),
            Err(error) if error.downcast_ref::<Refused>().is_some_and(Refused::is_ours) => {
                session.screen.error(&error.to_string());
                exit = Exit::Document;
            }
            Err(error) => return Err(error),
        }
    }
    match session.screen.output {
        Output::Json => session.screen.json(&jobs)?,
        Output::Text => session.screen.out(show::states(&jobs))?,
    }
    Ok(exit)
}

/// A page of a log.
#[derive(Deserialize)]
struct Lines {
    items: Vec<LogLine>,
}

pub(super) fn logs(logs: &Logs, client: &Client, session: &Session) -> anyhow::Result<Exit> {
    let (mut after, mut all) = (0, Vec::new());
    loop {
        // Asked before the lines, so that none that came before its end is missed.
        let job: Job = client.get(&format!("/v1/jobs/{}", logs.id), &[])?;
        let mut is_more = true;
        while is_more {
            let path = format!("/v1/jobs/{}/logs", logs.id);
            let page: Lines = client.get(&path, &[("after", after.to_string())])?;
            is_more = !page.items.is_empty();
            after = page.items.last().map_or(after, |line| line.number);
            match session.screen.output {
                Output::Json => all.extend(page.items),
                Output::Text => {
                    let lines = page.items.iter().flat_map(|line| [line.line.as_str(), "\n"]).collect::<String>();
                    session.screen.out(lines)?;
                }
            }
        }
        if !logs.follow || job.state.has_ended() {
            break;
        }
        let _: Job = client.wait(&format!("/v1/jobs/{}", logs.id), FOLLOW_EVERY)?;
    }
    if session.screen.output == Output::Json {
        session.screen.json(&all)?;
    }
    Ok(Exit::Done)
}
