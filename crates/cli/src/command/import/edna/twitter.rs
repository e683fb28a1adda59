//! The part of the document that reads posts over HTTP.

use document::Problem;

use super::Work;
use super::job::{Ingest, Job};
use super::python::Argument;
use crate::command::import::yaml::{Lines, scalar};

/// The secret that holds the bearer token: its name and its key.
pub(super) const SECRET: (&str, &str) = ("twitter", "bearer_token");
/// Where EDNA found the API.
const SERVER: &str = "https://api.twitter.com";
/// Variables that may hold another endpoint.
const ENDPOINTS: [&str; 4] = ["base_url", "url", "endpoint", "stream_url"];

/// A keyword of the ingest, the query parameter that it became, and the fields that EDNA let through.
const FIELDS: [(&str, &str, &str); 5] = [
    (
        "tweet_fields",
        "tweet.fields",
        "id text attachments author_id context_annotations conversation_id created_at entities geo \
         in_reply_to_user_id lang possibly_sensitive public_metrics referenced_tweets source withheld",
    ),
    (
        "user_fields",
        "user.fields",
        "id name username created_at description entities location pinned_tweet_id profile_image_url protected \
         public_metrics url verified withheld",
    ),
    ("place_fields", "place.fields", "full_name id contained_within country country_code geo name place_type"),
    ("media_fields", "media.fields", "media_key type duration_ms height preview_image_url public_metrics width"),
    ("poll_fields", "poll.fields", "id options duration_minutes end_datetime voting_status"),
];

/// Writes the source.
pub(super) fn source(lines: &mut Lines, work: &mut Work<'_>) {
    let is_filtered = work.job.ingest == Ingest::Filtered;
    let url = url(work, is_filtered);
    let query = query(work);
    let rules = if is_filtered { rules(work) } else { Vec::new() };
    token(work);
    lines.below("http", |lines| {
        if !is_filtered {
            lines.comment("The address that EDNA used. It is not served any more: put another in its place.");
        }
        lines.line(&format!("url: {}", quoted(&url)));
        lines.comment("bearer_token of ednaconf.yaml: its value is kept outside of documents.");
        lines.line(&format!("token: {{secret: {{name: {}, key: {}}}}}", SECRET.0, SECRET.1));
        if !query.is_empty() {
            lines.comment("The lists *_fields. EDNA sent no `expansions`, without which the server leaves out users,");
            lines.comment("places, media and polls.");
            lines.below("query", |lines| lines.pairs(&query));
        }
        lines.comment("Twice the time between the keep-alives of this API.");
        lines.line("heartbeat: 40s");
        if is_filtered {
            write_filtered(lines, &url, &work.name, &rules);
        }
    });
}

fn write_filtered(lines: &mut Lines, url: &str, owner: &str, rules: &[String]) {
    lines.comment("EDNA ended with its connection. Here it is made again, asking for what was missed; remove the next");
    lines.comment("line where your access to the API doesn't include backfill.");
    lines.line("backfill: {parameter: backfill_minutes, max: 5m}");
    lines.line("dedupe: {path: data.id, window: 10m}");
    lines.below("rules", |lines| {
        lines.line(&format!("url: {}", quoted(&format!("{url}/rules"))));
        lines.line(&format!("owner: {}", scalar(owner)));
        if rules.is_empty() {
            lines.line("add: []");
            return;
        }
        lines.below("add", |lines| {
            for (at, rule) in rules.iter().enumerate() {
                lines.line(&format!("- {{value: {}, tag: filter-{}}}", quoted(&escaped(rule)), at + 1));
            }
        });
    });
}

/// The address of the stream, in which `${server}` stands for a variable of the document.
fn url(work: &mut Work<'_>, is_filtered: bool) -> String {
    let given = ENDPOINTS.into_iter().find(|name| work.conf.has(name));
    if let Some((name, url)) = given.and_then(|name| Some((name, work.conf.text(name)?))) {
        let authority = url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
        if authority.is_none_or(|authority| authority.contains('@')) {
            let problem = Problem::at(format!("variables.{name}")).found(format!("`{name}` can't be carried over"));
            let problem = problem.expected("an http:// or https:// URL without user name or password");
            work.conf.problems.push(work.conf.foreign.locate(problem));
        }
        let (url, query) = url.split_once(['?', '#']).unwrap_or((&url, ""));
        if !query.is_empty() {
            let place = work.conf.place(name);
            work.leave(
                format!("what follows the `?` in `{name}`"),
                "it may be a secret, which URLs can't hold: they end up in the logs of servers",
                "write what is none under `query`, and a secret under `token` or `headers`",
                place,
            );
        }
        return escaped(url);
    }
    work.variables.push(("server".to_owned(), Some(SERVER.to_owned())));
    let path = if is_filtered { "/2/tweets/search/stream" } else { "/2/tweets/sample/stream" };
    if !is_filtered {
        let place = work.called(work.job.ingest_call);
        work.leave(
            format!("the endpoint {SERVER}{path}"),
            "it is not served any more, so the job would not run today with EDNA either",
            "give another server of this shape with `--set server=URL`, or write the `url` of a stream of lines",
            place,
        );
    }
    format!("${{server}}{path}")
}

/// The query as EDNA sent it.
fn query(work: &mut Work<'_>) -> Vec<(&'static str, String)> {
    let mut query = Vec::new();
    for (keyword, parameter, known) in FIELDS {
        let Some(fields) = work.values(work.job.ingest_call, keyword) else { continue };
        let is_known = |field: &String| known.split_whitespace().any(|known| known == field.as_str());
        let (sent, unknown): (Vec<_>, Vec<_>) = fields.into_iter().partition(is_known);
        if !unknown.is_empty() {
            let place = work.conf.place(keyword);
            let many = crate::figures::counted(unknown.len() as u64, "item");
            work.leave(
                format!("{many} of `{keyword}`"),
                "EDNA did not know such a field, and left it out without a word",
                format!("add it to `query` under `{parameter}` if the server knows it"),
                place,
            );
        }
        if !sent.is_empty() {
            query.push((parameter, sent.join(",")));
        }
    }
    query
}

fn rules(work: &mut Work<'_>) -> Vec<String> {
    let place = work.called(work.job.ingest_call).or_else(|| work.conf.place("filters"));
    work.leave(
        "the deletion of all rules at the start",
        "the stream adds and deletes only rules of its own, which it marks; those of others at the server stay",
        "delete the rules that EDNA left there once, since they have no mark and go on matching",
        place.clone(),
    );
    let rules = work.values(work.job.ingest_call, "filters").unwrap_or_default();
    if rules.is_empty() {
        work.leave(
            "the filters",
            "no file says them: they are made in Python, or have no variable",
            "write them under `rules.add`, each as `{value: FILTER, tag: NAME}`",
            place,
        );
    }
    rules
}

/// Takes note of where the token was.
fn token(work: &mut Work<'_>) {
    let given = work.job.ingest_call.and_then(|call| call.argument("bearer_token"));
    let name = token_variable(&work.job).to_owned();
    if given == Some(&Argument::Python) {
        let place = work.called(work.job.ingest_call);
        work.leave(
            "`bearer_token`, as it is written in Python",
            "a secret is never written into a document",
            "ask for a new token if the script was ever shared, and set it as told below",
            place,
        );
    }
    if work.conf.has(&name) {
        let place = work.conf.place(&name);
        work.leave(
            format!("the value of `{name}`"),
            "a secret is never written into a document; EDNA also put it into each image",
            "set it as told below; ask for a new token if such an image was ever pushed",
            place,
        );
    }
    work.conf.asked(&name);
    work.has_token = true;
}

/// The variable of `ednaconf.yaml` that holds the token.
pub(super) fn token_variable<'a>(job: &Job<'a>) -> &'a str {
    match job.ingest_call.and_then(|call| call.argument("bearer_token")) {
        Some(Argument::Variable(name)) => name,
        _ => "bearer_token",
    }
}

/// A text that isn't a variable, also where it looks like one.
fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

/// A text in quotes, in which variables are variables.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
