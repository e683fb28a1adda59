//! A long-lived stream of lines over HTTP.
//!
//! ```text
//!  one task on the shared runtime                       the stream's own thread
//!  rules -> connect -> watch, decode, cut into lines -> Buffer -> ids seen before? -> Chunk
//!     ^---- wait, by the cause of the failure ----'     (bounded in bytes: when it is full, the socket isn't read)
//! ```
//!
//! The source is *ephemeral*: what the server sent and no commit holds is gone when the process ends, unless `backfill`
//! brings it again.

mod buffer;
mod client;
mod connection;
mod dedupe;
mod lines;
mod rules;
mod waits;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration as Time;

use bytes::Bytes;
use document::{ByteSize, Duration, Problem, SecretRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stdx::{Clock, Timestamp};
use tokio::task::JoinHandle;
use tracing::instrument::WithSubscriber as _;

use self::buffer::{Buffer, Piece, Status};
use self::client::{Client, Credentials};
use self::connection::Connection;
use self::dedupe::Seen;
use crate::{Chunk, Ends, Error, Limit, OpenSource, Origin, Position, Read, Reason, ReasonCode, Source};

/// With `--until-idle`, a stream that brought no row for this long has ended.
const IDLE_END: Time = Time::from_secs(5);

/// Rows from a long-lived HTTP stream of lines, such as newline-delimited JSON.
///
/// The connection is kept by itself: blank lines are keep-alives, silence is noticed, and after a loss it is made again.
/// The wait before the next try depends on the cause:
///
/// | cause | wait |
/// |---|---|
/// | the connection is lost, can't be made, or is silent | none, then 250 ms longer each time, up to 16 s |
/// | 5xx | 5 s, doubling up to 320 s; longer if `Retry-After` says so |
/// | 429 | what `Retry-After` or `x-rate-limit-reset` says; otherwise 60 s, doubling up to 1 h |
/// | 401, 403, 404, any other status | the stream stops and says why |
///
/// The waits start over when a connection has brought something for longer than `heartbeat`.
/// A line that a lost connection cut is never a row. Redirects are followed, but only the host that the document names
/// gets the token and the headers. The source is ephemeral: what is lost before a commit is gone, unless `backfill`
/// brings it again.
///
/// ```yaml
/// http:
///   url: https://stream.example.org/2/tweets/search/stream
///   token: {secret: {name: stream, key: token}}
///   query: {expansions: author_id}
///   backfill: {parameter: backfill_minutes}
///   dedupe: {path: data.id}
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SourceSpec {
    /// Where the stream is: an http:// or https:// URL without user name or password.
    pub url: String,
    /// The bearer token, as a reference to a secret. It is sent in the header `Authorization` and nowhere else.
    pub token: Option<SecretRef>,
    /// Query parameters, added to those in `url`. They can't be secrets: URLs end up in the logs of servers.
    pub query: BTreeMap<String, QueryValue>,
    /// Headers; a value is text or a reference to a secret. Headers go only to the host that `url` names.
    pub headers: BTreeMap<String, HeaderText>,
    /// Whether the server may compress the stream with gzip. Turn it off for a server that compresses but doesn't
    /// flush: its rows would come late.
    pub gzip: bool,
    /// How long the server may say nothing, not even a blank line, before the connection counts as lost. Set it to
    /// twice the time between the server's keep-alives.
    pub heartbeat: Duration,
    /// How long the server may take to answer a request.
    pub connect_timeout: Duration,
    /// Asks again, after an outage, for what was missed. Needs a server that can; use it with `dedupe`.
    pub backfill: Option<Backfill>,
    /// Drops rows that came before, by their id. The ids are kept with the positions, so that it also works over
    /// a restart.
    pub dedupe: Option<Dedupe>,
    /// The rules of a filtered stream, synchronised before the stream is opened.
    pub rules: Option<Rules>,
    /// The longest line; a longer one is put aside, with its beginning.
    pub max_message: ByteSize,
    /// How much may wait in memory for the steps and sinks. When it is full, no more is read from the server.
    pub buffer: ByteSize,
}

impl Default for SourceSpec {
    fn default() -> Self {
        Self {
            url: String::new(),
            token: None,
            query: BTreeMap::new(),
            headers: BTreeMap::new(),
            gzip: true,
            heartbeat: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
            backfill: None,
            dedupe: None,
            rules: None,
            max_message: ByteSize::from_mib(8),
            buffer: ByteSize::from_mib(8),
        }
    }
}

/// The value of a query parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum QueryValue {
    /// Text.
    Text(String),
    /// A number.
    Number(serde_json::Number),
    /// `true` or `false`.
    Truth(bool),
    /// Understood only to be refused with the reason.
    #[schemars(skip)]
    Secret(SecretRef),
}

impl QueryValue {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Truth(truth) => truth.to_string(),
            Self::Secret(_) => String::new(),
        }
    }
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum HeaderText {
    /// Text.
    Text(String),
    /// A reference to a secret.
    Secret(SecretRef),
}

/// How to ask for what an outage missed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Backfill {
    /// The query parameter that takes the number of minutes missed, rounded up. It is sent only after an outage.
    pub parameter: String,
    /// The most that is asked for: what the server can give. Whole minutes.
    pub max: Duration,
}

impl Default for Backfill {
    fn default() -> Self {
        Self { parameter: "backfill_minutes".to_owned(), max: Duration::from_secs(5 * 60) }
    }
}

/// How to know a row again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Dedupe {
    /// Where the id is in the JSON of a row, such as `data.id`: text or a number. A row without one always passes.
    pub path: String,
    /// How long an id is remembered. Longer than `backfill.max`, or what is sent again comes out twice.
    pub window: Duration,
    /// How many ids are remembered, the latest. Each takes 11 bytes of the task's record.
    pub max: u32,
}

impl Default for Dedupe {
    fn default() -> Self {
        Self { path: "data.id".to_owned(), window: Duration::from_secs(10 * 60), max: 50_000 }
    }
}

/// The rules of a filtered stream.
///
/// When the stream starts, the rules at `url` are read (GET), ours that are missing are added (POST `{"add": ..}`) and
/// ours that are no longer wanted are deleted (POST `{"delete": {"ids": ..}}`). A rule is ours when its tag begins with
/// `headwater/<owner>/`; the rules of others are never touched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Rules {
    /// Where the rules are.
    pub url: String,
    /// Tells this stream's rules from those of others at the same server: letters, digits, `-`, `_` and `.`. Required,
    /// since two streams with one owner would delete each other's rules.
    pub owner: String,
    /// The rules that shall be there.
    pub add: Vec<Rule>,
}

/// A rule of a filtered stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Rule {
    /// What it matches, in the server's language.
    pub value: String,
    /// What rows that it matched are marked with, after `headwater/<owner>/`.
    pub tag: String,
}

/// What is wrong with the spec at `path`.
pub(crate) fn problems(spec: &SourceSpec, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut url = |url: &str, at: String| {
        if let Err(found) = client::parse(url) {
            problems.push(Problem::at(at).found(found).expected("an http:// or https:// URL"));
        }
    };
    url(&spec.url, format!("{path}.url"));
    if let Some(rules) = &spec.rules {
        url(&rules.url, format!("{path}.rules.url"));
        problems.extend(rules_problems(rules, path));
    }
    for (name, value) in &spec.query {
        if matches!(value, QueryValue::Secret(_)) {
            let problem = Problem::at(format!("{path}.query.{name}")).found("a secret in the query").expected("text");
            problems.push(problem.hint("URLs end up in logs: put the secret into `token` or `headers`"));
        }
    }
    for name in spec.headers.keys() {
        problems.extend(header_problem(name, spec.token.is_some(), path));
    }
    let mut zero = |is_zero: bool, name: &str| {
        if is_zero {
            problems.push(Problem::at(format!("{path}.{name}")).found("nothing").expected("more than zero"));
        }
    };
    zero(spec.heartbeat.get().is_zero(), "heartbeat");
    zero(spec.connect_timeout.get().is_zero(), "connectTimeout");
    zero(spec.max_message.bytes() == 0, "maxMessage");
    zero(spec.buffer.bytes() == 0, "buffer");
    zero(spec.dedupe.as_ref().is_some_and(|dedupe| dedupe.max == 0), "dedupe.max");
    if spec.dedupe.as_ref().is_some_and(|dedupe| dedupe.path.split('.').any(str::is_empty)) {
        let problem = Problem::at(format!("{path}.dedupe.path")).found("an empty name in the path");
        problems.push(problem.expected("names joined by dots, such as `data.id`"));
    }
    if let Some(backfill) = &spec.backfill {
        problems.extend(backfill_problem(backfill, spec, path));
    }
    problems
}

fn rules_problems(rules: &Rules, path: &str) -> Option<Problem> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let named = !rules.owner.is_empty() && rules.owner.chars().all(plain);
    let problem = Problem::at(format!("{path}.rules.owner")).found(format!("`{}`", rules.owner));
    let problem = problem.expected("a name of letters, digits, `-`, `_` and `.`");
    (!named).then(|| problem.hint("a name that no other stream at this server uses, such as the stream's own"))
}

fn header_problem(name: &str, has_token: bool, path: &str) -> Option<Problem> {
    let problem = Problem::at(format!("{path}.headers.{name}"));
    if reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Some(problem.found(format!("`{name}`")).expected("a header's name: letters, digits and `-`"));
    }
    match name.to_ascii_lowercase().as_str() {
        "authorization" if has_token => Some(problem.found("a second authorization").expected("only `token`")),
        "accept-encoding" => Some(problem.found("a header that `gzip` sets").expected("`gzip: true` or `gzip: false`")),
        "host" | "connection" | "content-length" | "transfer-encoding" => {
            Some(problem.found("a header that belongs to the connection").expected("no such header"))
        }
        _ => None,
    }
}

fn backfill_problem(backfill: &Backfill, spec: &SourceSpec, path: &str) -> Option<Problem> {
    if backfill.parameter.is_empty() || spec.query.contains_key(&backfill.parameter) {
        let problem = Problem::at(format!("{path}.backfill.parameter")).found(format!("`{}`", backfill.parameter));
        return Some(problem.expected("the name of a parameter that `query` doesn't set"));
    }
    let short = backfill.max.get() < Time::from_mins(1);
    short.then(|| Problem::at(format!("{path}.backfill.max")).found("less than a minute").expected("1m or more"))
}

/// Opens the stream. The connection is made in the background.
pub(crate) fn source(spec: &SourceSpec, open: OpenSource) -> Result<Box<dyn Source>, Error> {
    let credentials = Credentials::resolve(spec, &open.world.secrets)?;
    Ok(Box::new(HttpSource::open(spec, credentials, open)?))
}

/// What the record keeps of the source.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Stored {
    /// Bytes of lines since the first start.
    offset: u64,
    /// Milliseconds since 1970 until which nothing is missing.
    last_received: Option<i64>,
    /// The ids handed out lately.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ids: dedupe::Stored,
}

#[derive(Debug)]
struct HttpSource {
    input: Arc<str>,
    buffer: Arc<Buffer>,
    clock: Clock,
    until_idle: bool,
    seen: Option<Seen>,
    offset: u64,
    complete_until: Option<Timestamp>,
    connection: JoinHandle<()>,
}

/// Lines that are handed out, with where they came from.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    origins: Vec<(u32, Origin)>,
    messages: u32,
    /// Where the next line must begin for the run of origins to go on.
    next_offset: Option<u64>,
}

impl Kept {
    fn add(&mut self, line: &[u8], offset: u64, input: &Arc<str>) {
        if self.next_offset != Some(offset) {
            self.origins.push((self.messages, Origin { input: Arc::clone(input), offset }));
        }
        self.bytes.extend_from_slice(line);
        self.messages += 1;
        self.next_offset = Some(offset + line.len() as u64);
    }
}

impl HttpSource {
    fn open(spec: &SourceSpec, credentials: Credentials, open: OpenSource) -> Result<Self, Error> {
        let strange = |found: String| Error::World(format!("the stored position of {} is strange: {found}", open.name));
        let stored: Stored = match open.position {
            Some(Position(position)) => serde_json::from_value(position).map_err(|error| strange(error.to_string()))?,
            None => Stored::default(),
        };
        let mut seen = spec.dedupe.as_ref().map(|dedupe| {
            Seen::new(&dedupe.path, dedupe.window.get(), usize::try_from(dedupe.max).unwrap_or(usize::MAX))
        });
        if let Some(seen) = &mut seen {
            seen.restore(&stored.ids).map_err(|error| strange(error.to_string()))?;
        }
        let clock = open.world.clock;
        let client = Client::new(spec, credentials, &clock)?;
        let complete_until = stored.last_received.map(Timestamp::from_millis);
        let bytes = |size: ByteSize| usize::try_from(size.bytes()).unwrap_or(usize::MAX);
        let buffer = Buffer::new(bytes(spec.buffer), &open.world.pool, &clock, &open.bell, complete_until);
        let buffer = Arc::new(buffer);
        let input = Arc::from(client::without_query(client.url().as_str()));
        let lines = lines::Lines::new(stored.offset, bytes(spec.max_message));
        let connection = Connection::new(spec, open.name, client, Arc::clone(&buffer), clock.clone(), lines);
        let connection = open.world.runtime.spawn(connection.run().with_current_subscriber());
        let (offset, until_idle) = (stored.offset, open.until_idle);
        Ok(Self { input, buffer, clock, until_idle, seen, offset, complete_until, connection })
    }

    /// The lines that were not seen before, in one chunk, if any is left.
    fn chunk(&mut self, pieces: &[Piece]) -> Option<Chunk> {
        let mut kept = Kept::default();
        for piece in pieces {
            self.keep_unseen(piece, &mut kept);
        }
        let chunk = Chunk {
            bytes: Bytes::from(kept.bytes),
            ends: Ends::Lines,
            header: None,
            origins: kept.origins,
            beside: None,
        };
        (kept.messages > 0).then_some(chunk)
    }

    fn keep_unseen(&mut self, piece: &Piece, kept: &mut Kept) {
        self.offset = piece.run.offset;
        for line in piece.run.bytes.split_inclusive(|byte| *byte == b'\n') {
            let unseen = |seen: &mut Seen| !seen.is_repeat(line, piece.received);
            if !lines::is_blank(line) && self.seen.as_mut().is_none_or(unseen) {
                kept.add(line, self.offset, &self.input);
            }
            self.offset += line.len() as u64;
        }
    }

    /// Nothing is there: is it the end?
    fn dry(&self, failure: Option<Error>) -> Result<Read, Error> {
        if let Some(error) = failure {
            return Err(error);
        }
        let Some(quiet_since) = self.buffer.quiet_since().filter(|_| self.until_idle) else {
            return Ok(Read::Idle { again: None });
        };
        let end = quiet_since + IDLE_END;
        if self.clock.elapsed() < end {
            return Ok(Read::Idle { again: Some(end) });
        }
        Ok(Read::End)
    }
}

impl Source for HttpSource {
    fn read(&mut self, limit: Limit) -> Result<Read, Error> {
        loop {
            // Asked first, so that lines which came before the failure are handed out before it is.
            let failure = self.buffer.failure();
            let (pieces, complete_until) = self.buffer.take(limit);
            self.complete_until = complete_until;
            if pieces.is_empty() {
                return self.dry(failure);
            }
            if let [Piece { run, .. }] = &pieces[..]
                && run.too_long
            {
                self.offset = run.offset;
                let origin = Origin { input: Arc::clone(&self.input), offset: run.offset };
                let words = format!("a line longer than {} bytes (maxMessage); its beginning is kept", run.bytes.len());
                let reason = Reason::new(ReasonCode::TooLong, words);
                return Ok(Read::Bad { chunk: Chunk::single(run.bytes.clone(), origin), reason });
            }
            if let Some(chunk) = self.chunk(&pieces) {
                return Ok(Read::Chunk(chunk));
            }
        }
    }

    fn position(&self) -> Position {
        let ids = self.seen.as_ref().map(Seen::store).unwrap_or_default();
        let last_received = self.complete_until.map(Timestamp::millis);
        let stored = Stored { offset: self.offset, last_received, ids };
        Position(serde_json::to_value(stored).unwrap_or_default())
    }

    /// The seconds of rows that are missing while there is no connection.
    fn lag(&self) -> Option<u64> {
        match self.buffer.standing() {
            (Status::Open, _) => Some(0),
            (_, None) => None,
            (_, Some(complete_until)) => {
                let millis = self.clock.now().millis().saturating_sub(complete_until.millis());
                Some(u64::try_from(millis).unwrap_or(0) / 1000)
            }
        }
    }
}

impl Drop for HttpSource {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

#[cfg(test)]
mod tests;
