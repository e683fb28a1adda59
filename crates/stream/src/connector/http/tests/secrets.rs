use std::sync::Mutex;

use tracing::field::{Field, Visit};

use super::*;

#[test]
fn a_redirect_to_another_host_gets_no_secret() {
    for status in [301, 302, 307, 308] {
        let bench = Bench::new();
        let there = bench.server(Scenario::steady("a\n"));
        let here = bench.server(Scenario::redirect(status, &there.url("/elsewhere?x=1")));
        let mut spec = spec(here.url("/stream"));
        spec.headers.insert("x-plain".to_owned(), HeaderText::Text("plain".to_owned()));
        let mut source = bench.open(&spec);
        assert_eq!(lines(&mut source, 1), ["a"]);
        let (first, second) = (here.requests().remove(0), there.requests().remove(0));
        assert_eq!(first.header("authorization"), Some(&*format!("Bearer {CANARY}")));
        assert_eq!((first.header("x-plain"), second.header("x-plain")), (Some("plain"), None));
        assert_eq!(second.target(), "/elsewhere?x=1");
        assert!(!format!("{second:?}").contains(CANARY));
    }
}

#[test]
fn a_redirect_on_the_same_host_keeps_the_token_and_a_loop_of_them_stops() {
    let bench = Bench::new();
    let mut scenario = Scenario::redirect(302, "/moved");
    scenario.replies.extend(Scenario::steady("a\n").replies);
    let server = bench.server(scenario);
    let mut source = bench.open(&spec(server.url("/stream")));
    assert_eq!(lines(&mut source, 1), ["a"]);
    assert_eq!(server.requests()[1].header("authorization"), Some(&*format!("Bearer {CANARY}")));
    let mut scenario = Scenario::redirect(302, "/again");
    scenario.replies = vec![scenario.replies[0].clone(); 20];
    let server = bench.server(scenario);
    let error = error(&mut bench.open(&spec(server.url("/stream"))));
    assert!(error.to_string().contains("redirects more than 5 times"), "{error}");
    assert_eq!(server.requests().len(), 6);
}

/// Keeps all that is logged, in one text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{field}={value:?} ");
        self.0.lock().unwrap().push_str(&text);
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut self.clone());
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// A refusal, a row and a second refusal, each of which repeats the secrets it got; what the source gave of them.
fn echoed(bench: &Bench, log: &Log) -> (Vec<Request>, String) {
    let echo = format!("you said {CANARY} and {CANARY}-key");
    let replies = vec![
        Reply::status(503).send(echo.clone()).end(),
        Reply::ok().send("{\"n\":1}\n"),
        Reply::status(401).send(echo).end(),
    ];
    let server = bench.server(Scenario { replies, ..Scenario::default() });
    let mut source =
        tracing::subscriber::with_default(log.clone(), || bench.open(&spec(server.url("/stream?private=1"))));
    bench.expect_wait(&source, &server, Time::from_secs(5));
    let chunk = lines(&mut source, 1);
    let error = error(&mut source);
    assert!(!error.to_string().contains("private"), "{error}");
    (server.requests(), format!("{error} {error:?} {source:?} {chunk:?} {}", source.position().0))
}

#[test]
fn a_secret_is_seen_by_nobody_but_the_server() {
    // The first time is for `tracing`: the thread that meets an event first is asked whether anybody listens, which may
    // be another test's, where nobody does. Of events it knows already it asks the new subscriber itself.
    echoed(&Bench::new(), &Log::default());
    let log = Log::default();
    let (requests, shown) = echoed(&Bench::new(), &log);
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert_eq!(request.header("authorization"), Some(&*format!("Bearer {CANARY}")));
        assert_eq!(request.header("x-api-key"), Some(&*format!("{CANARY}-key")));
        assert!(!request.line.contains(CANARY));
    }
    let log = log.0.lock().unwrap().clone();
    assert!(log.contains("status 503: you said <secret>") && log.contains("connected"), "{log}");
    let shown = format!("{log} {shown}");
    assert!(!shown.contains(CANARY), "{shown}");
    assert!(shown.split("reqwest").next().unwrap_or_default().contains("/stream"), "{shown}");
}

#[test]
fn a_secret_in_an_address_is_refused() {
    let credentials = Credentials { token: Some(Secret::new(CANARY)), headers: Vec::new() };
    for url in [format!("http://h/?k={CANARY}"), format!("http://h/{CANARY}/x"), "http://h/?k=canary%2D5d1f".into()] {
        let error = Client::new(&spec(url), credentials.clone(), &Clock::system()).unwrap_err().to_string();
        assert!(error.contains("holds a secret") && !error.contains(CANARY), "{error}");
    }
}

#[test]
fn https_is_set_up_with_the_provider_of_ours() {
    // Fails with a clear error where no CA bundle is installed, and never panics for want of a provider.
    match Client::new(&spec("https://localhost/".into()), Credentials::default(), &Clock::system()) {
        Ok(client) => assert_eq!(client.url().scheme(), "https"),
        Err(error) => assert!(error.to_string().contains("ca-certificates"), "{error}"),
    }
}
