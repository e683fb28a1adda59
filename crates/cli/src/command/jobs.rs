//! `headwater jobs`: the jobs of a server that runs.

mod ask;
mod client;
mod show;

pub(crate) use self::client::Refused;
use clap::{Args, Subcommand};
use document::Duration;
use queue::State;

use crate::exit::Exit;
use crate::screen::Output;
use crate::session::Session;

/// Puts, lists, shows, cancels and retries the jobs of a server that runs
///
/// Speaks the server's HTTP API, so it works from any machine that reaches it.
#[derive(Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Jobs {
    #[command(subcommand)]
    verb: Verb,
}

/// Which server.
#[derive(Args, Debug)]
struct Server {
    /// Where the server is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5000")]
    url: String,
    /// The secret that holds the token
    ///
    /// `queue.token` is read from `HEADWATER_SECRET_QUEUE_TOKEN`, or from the file of secrets. No token is shown to a
    /// server where there is none.
    #[arg(long, value_name = "NAME.KEY", default_value = "queue.token")]
    token: String,
    /// How the outcome is printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Put(Box<Put>),
    List(List),
    Show(Show),
    Cancel(Cancel),
    Retry(Retry),
    Logs(Logs),
}

/// Puts a job, and prints its id
///
/// A key is sent with every job: where the reply is lost, the same job is asked for again and put once.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater jobs put default '{\"start\": 2001, \"end\": 2004}'\n  \
    headwater jobs put default - --type report --key nightly-2026-08-01 < payload.json\n  \
    headwater jobs put default 3 --delay 10m --priority 5\n  \
    headwater jobs put default 3 --wait 30s           and shows what it came to")]
struct Put {
    /// The queue
    #[arg(value_name = "QUEUE")]
    queue: String,
    /// What the worker is given, as JSON; `-` is standard input
    #[arg(value_name = "JSON", default_value = "null", allow_hyphen_values = true)]
    payload: String,
    /// What sort of job it is
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// The idempotency key: the same key with the same job again returns the first one
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Higher goes first
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_hyphen_values = true)]
    priority: i32,
    /// How long to wait before it may run
    #[arg(long, value_name = "DURATION")]
    delay: Option<Duration>,
    /// How long one attempt may take
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Duration>,
    /// How often it is tried
    #[arg(long, value_name = "NUMBER")]
    attempts: Option<u32>,
    /// Waits until the job has ended, at most so long
    #[arg(long, value_name = "DURATION")]
    wait: Option<Duration>,
    #[command(flatten)]
    server: Server,
}

/// Lists jobs, newest first
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater jobs list\n  \
    headwater jobs list --queue default --state failed,cancelled --limit 20\n  \
    headwater jobs list --output json --url https://jobs.example.org")]
struct List {
    /// Only of this queue
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// Only in these states, separated by commas: scheduled, waiting, ready, running, succeeded, failed, cancelled
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    state: Vec<State>,
    /// Only of this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Jobs that are listed at most
    #[arg(long, value_name = "JOBS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    server: Server,
}

/// Shows one job
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater jobs show 01a1fede-45fe-7000-8024-9d73af00aa63\n  \
    headwater jobs show 01a1fede-45fe-7000-8024-9d73af00aa63 --wait 30s --output json")]
struct Show {
    /// The job
    #[arg(value_name = "ID")]
    id: String,
    /// Waits until the job has ended, at most so long
    #[arg(long, value_name = "DURATION")]
    wait: Option<Duration>,
    #[command(flatten)]
    server: Server,
}

/// Ends jobs that have not ended; asks the workers of those that run
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater jobs cancel 01a1fede-45fe-7000-8024-9d73af00aa63")]
struct Cancel {
    /// The jobs
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    server: Server,
}

/// Puts jobs that failed or were cancelled back, with all their attempts
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater jobs retry 01a1fede-45fe-7000-8024-9d73af00aa63\n  \
    headwater jobs retry --state failed --since 1h\n  headwater jobs retry --state cancelled --queue default")]
struct Retry {
    /// The jobs
    #[arg(value_name = "ID", required_unless_present = "state", conflicts_with = "state")]
    ids: Vec<String>,
    /// All that are in this state: failed or cancelled
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<State>,
    /// Only those that ended within this time
    #[arg(long, value_name = "DURATION", requires = "state")]
    since: Option<Duration>,
    /// Only of this queue
    #[arg(long, value_name = "QUEUE", requires = "state")]
    queue: Option<String>,
    #[command(flatten)]
    server: Server,
}

/// Prints what a job wrote, as far as the queue keeps it
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  headwater jobs logs 01a1fede-45fe-7000-8024-9d73af00aa63\n  \
    headwater jobs logs 01a1fede-45fe-7000-8024-9d73af00aa63 --follow")]
struct Logs {
    /// The job
    #[arg(value_name = "ID")]
    id: String,
    /// Goes on until the job has ended
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    server: Server,
}

fn state(text: &str) -> Result<State, String> {
    State::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
        let known = State::ALL.map(State::as_str).join(", ");
        format!("known states are {known}")
    })
}

pub(crate) fn act(arguments: &Jobs, session: &mut Session) -> anyhow::Result<Exit> {
    let server = match &arguments.verb {
        Verb::Put(put) => &put.server,
        Verb::List(list) => &list.server,
        Verb::Show(show) => &show.server,
        Verb::Cancel(cancel) => &cancel.server,
        Verb::Retry(retry) => &retry.server,
        Verb::Logs(logs) => &logs.server,
    };
    session.screen.output = server.output;
    let client = client::Client::new(server, session)?;
    match &arguments.verb {
        Verb::Put(put) => ask::put(put, &client, session),
        Verb::List(list) => ask::list(list, &client, session),
        Verb::Show(show) => ask::show(show, &client, session),
        Verb::Cancel(cancel) => ask::cancel(cancel, &client, session),
        Verb::Retry(retry) => ask::retry(retry, &client, session),
        Verb::Logs(logs) => ask::logs(logs, &client, session),
    }
}
