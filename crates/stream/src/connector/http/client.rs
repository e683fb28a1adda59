//! Requests: what goes into them, where it may go, and what their failures mean.

use std::sync::OnceLock;
use std::time::Duration;

use document::{Secret, SecretRef, Secrets};
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Method, Response, StatusCode, Url, redirect, retry};
use stdx::{Chain, Clock};

use super::waits::Said;
use super::{HeaderText, SourceSpec};
use crate::Error;

/// Redirects that are followed in a row.
const REDIRECTS_MAX: usize = 5;
/// What is kept of a refusal's body, in bytes.
const REASON_BYTES_MAX: usize = 300;
/// The longest answer of the rules' server, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Why a request or a stream came to an end.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection was lost, went silent, or could not be made: how.
    Lost(String),
    /// The server answered, but not with success.
    Answered { url: String, status: u16, said: Said, body: String },
    /// Trying again can't help.
    Stop(Error),
}

/// Sends requests with the document's headers and secrets.
#[derive(Debug)]
pub(super) struct Client {
    url: Url,
    plain: OnceLock<reqwest::Client>,
    tls: OnceLock<reqwest::Client>,
    headers: HeaderMap,
    secrets: Vec<Secret>,
    gzip: bool,
    patience: Duration,
    clock: Clock,
}

/// The secrets that a document refers to, in clear.
#[derive(Clone, Debug, Default)]
pub(super) struct Credentials {
    pub(super) token: Option<Secret>,
    pub(super) headers: Vec<(String, Secret)>,
}

impl Credentials {
    /// Looks the secrets up.
    pub(super) fn resolve(spec: &SourceSpec, secrets: &Secrets) -> Result<Self, Error> {
        let look_up = |reference: &SecretRef, path: &str| {
            let missing = |problem: document::Problem| {
                Error::Secret(format!("{path}: {}; expected {}", problem.found, problem.expected))
            };
            secrets.resolve(reference, path).map_err(missing)
        };
        let token = spec.token.as_ref().map(|token| look_up(token, "http.token")).transpose()?;
        let mut headers = Vec::new();
        for (name, value) in &spec.headers {
            if let HeaderText::Secret(reference) = value {
                headers.push((name.clone(), look_up(reference, &format!("http.headers.{name}"))?));
            }
        }
        Ok(Self { token, headers })
    }
}

/// The address in a text, or what is wrong with it.
pub(super) fn parse(url: &str) -> Result<Url, String> {
    let parsed = Url::parse(url).map_err(|error| format!("`{}` is no URL: {error}", without_query(url)))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(format!("`{}` begins with neither http:// nor https://", parsed.scheme()));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("the URL holds a user name or password".to_owned());
    }
    Ok(parsed)
}

/// A URL as it may be shown: without its query and fragment, which may hold what nobody else should read.
pub(super) fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

impl Client {
    /// A client for the spec's URL.
    pub(super) fn new(spec: &SourceSpec, credentials: Credentials, clock: &Clock) -> Result<Self, Error> {
        let mut url = parse(&spec.url).map_err(Error::World)?;
        if !spec.query.is_empty() {
            let pairs = spec.query.iter().map(|(name, value)| (name, value.text()));
            url.query_pairs_mut().extend_pairs(pairs);
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &spec.headers {
            if let HeaderText::Text(text) = value {
                insert(&mut headers, name, text, false)?;
            }
        }
        for (name, secret) in &credentials.headers {
            insert(&mut headers, name, secret.expose(), true)?;
        }
        if let Some(token) = &credentials.token {
            insert(&mut headers, AUTHORIZATION.as_str(), &format!("Bearer {}", token.expose()), true)?;
        }
        let secrets = credentials.token.into_iter().chain(credentials.headers.into_iter().map(|header| header.1));
        let client = Self {
            url,
            plain: OnceLock::new(),
            tls: OnceLock::new(),
            headers,
            secrets: secrets.filter(|secret| !secret.expose().is_empty()).collect(),
            gzip: spec.gzip,
            patience: spec.connect_timeout.get(),
            clock: clock.clone(),
        };
        client.refuse_secrets_in(&client.url)?;
        if let Some(rules) = &spec.rules {
            client.refuse_secrets_in(&parse(&rules.url).map_err(Error::World)?)?;
        }
        client.connector(&client.url)?;
        Ok(client)
    }

    /// The stream's address.
    pub(super) const fn url(&self) -> &Url {
        &self.url
    }

    /// A text from outside, in which no secret of ours is left.
    pub(super) fn scrub(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.expose(), "<secret>"))
    }

    /// The end of the stream, for a reason that no retry mends.
    pub(super) fn refused(&self, url: &Url, status: u16, reason: &str) -> Failure {
        let what = without_query(url.as_str()).to_owned();
        Failure::Stop(Error::Refused { what, status, reason: self.scrub(reason) })
    }

    /// Opens a stream: the response's head is there, its body follows.
    pub(super) async fn open(&self, url: &Url) -> Result<Response, Failure> {
        self.patiently(self.send(&Method::GET, url, None)).await
    }

    /// The whole body of an answer.
    pub(super) async fn text(&self, method: Method, url: &Url, body: Option<String>) -> Result<String, Failure> {
        let whole = async {
            let mut response = self.send(&method, url, body).await?;
            let bytes =
                read_up_to(&mut response, ANSWER_BYTES_MAX).await.map_err(|error| lost(&error.without_url()))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        self.patiently(whole).await
    }

    async fn patiently<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let until = self.clock.elapsed() + self.patience;
        tokio::select! {
            biased;
            done = work => done,
            () = wait_until(&self.clock, until) => {
                Err(Failure::Lost(format!("no answer within connectTimeout ({:?})", self.patience)))
            }
        }
    }

    async fn send(&self, method: &Method, url: &Url, body: Option<String>) -> Result<Response, Failure> {
        let (mut at, mut status) = (url.clone(), StatusCode::OK);
        for _ in 0..=REDIRECTS_MAX {
            let mut response = self
                .request(method, &at, url, body.clone())?
                .send()
                .await
                .map_err(|error| lost(&error.without_url()))?;
            status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            match redirected(&response, method, &at) {
                Some(next) => at = next,
                None => return Err(self.answered(&mut response, &at, url).await),
            }
        }
        Err(self.refused(url, status.as_u16(), &format!("it redirects more than {REDIRECTS_MAX} times: correct `url`")))
    }

    /// Only the origin that the document names gets the document's headers and secrets.
    fn request(
        &self,
        method: &Method,
        at: &Url,
        asked: &Url,
        body: Option<String>,
    ) -> Result<reqwest::RequestBuilder, Failure> {
        let connector = self.connector(at).map_err(Failure::Stop)?;
        let encoding = if self.gzip && body.is_none() { "gzip" } else { "identity" };
        let mut request = connector.request(method.clone(), at.clone()).header(ACCEPT_ENCODING, encoding);
        if at.origin() == asked.origin() {
            request = request.headers(self.headers.clone());
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        Ok(request)
    }

    async fn answered(&self, response: &mut Response, at: &Url, asked: &Url) -> Failure {
        let header = |name: HeaderName| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let said = Said {
            retry_after: header(RETRY_AFTER),
            rate_limit_reset: header(HeaderName::from_static("x-rate-limit-reset")),
        };
        let status = response.status().as_u16();
        // The reason is a courtesy: without it the status still says enough.
        let body = read_up_to(response, REASON_BYTES_MAX).await.unwrap_or_default();
        let mut body = self.scrub(String::from_utf8_lossy(&body).trim());
        if at.origin() != asked.origin() {
            body.push_str(" (after a redirect to another host, where neither token nor headers are sent)");
        }
        Failure::Answered { url: without_query(at.as_str()).to_owned(), status, said, body }
    }

    fn refuse_secrets_in(&self, url: &Url) -> Result<(), Error> {
        let decoded: Vec<_> = url.query_pairs().collect();
        let holds = |secret: &Secret| {
            let secret = secret.expose();
            url.as_str().contains(secret) || decoded.iter().any(|(_, value)| value.contains(secret))
        };
        if self.secrets.iter().any(holds) {
            let shown = self.scrub(without_query(url.as_str()));
            return Err(Error::World(format!("the URL {shown} holds a secret, which belongs in `token` or `headers`")));
        }
        Ok(())
    }

    /// A client without roots of trust does for http://, so that it works where no CA bundle is installed.
    fn connector(&self, url: &Url) -> Result<&reqwest::Client, Error> {
        let tls = url.scheme() == "https";
        let cell = if tls { &self.tls } else { &self.plain };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        // A second part of the program may have installed it before: that is as good.
        rustls::crypto::ring::default_provider().install_default().ok();
        let builder = reqwest::Client::builder()
            .user_agent("headwater")
            .http1_only()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .gzip(false)
            .pool_max_idle_per_host(0)
            .tcp_keepalive(Duration::from_secs(30));
        let builder = if tls { builder } else { builder.tls_certs_only([]) };
        let client = builder.build().map_err(|error| {
            Error::World(format!(
                "can't set up TLS for {}: {}; install the package ca-certificates, or name a bundle in SSL_CERT_FILE",
                without_query(url.as_str()),
                Chain(&error.without_url()),
            ))
        })?;
        Ok(cell.get_or_init(|| client))
    }
}

fn insert(headers: &mut HeaderMap, name: &str, text: &str, secret: bool) -> Result<(), Error> {
    let wrong = |what: &str| Error::World(format!("the header {name} {what}"));
    let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("has no valid name"))?;
    let mut value = HeaderValue::from_str(text).map_err(|_| wrong("has a value that no header can hold"))?;
    value.set_sensitive(secret);
    headers.insert(key, value);
    Ok(())
}

fn redirected(response: &Response, method: &Method, at: &Url) -> Option<Url> {
    let followed = match response.status() {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => method == Method::GET,
        _ => false,
    };
    let next = at.join(response.headers().get(LOCATION)?.to_str().ok()?).ok()?;
    // A redirect from https to http would send rows in clear that were asked for in secret.
    let downgrade = at.scheme() == "https" && next.scheme() == "http";
    (followed && !downgrade && parse(next.as_str()).is_ok()).then_some(next)
}

async fn read_up_to(response: &mut Response, bytes_max: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut bytes = Vec::new();
    while bytes.len() < bytes_max
        && let Some(more) = response.chunk().await?
    {
        bytes.extend_from_slice(&more[..more.len().min(bytes_max - bytes.len())]);
    }
    Ok(bytes)
}

/// A failed exchange, without the URL: its query is nobody's business.
pub(super) fn lost(error: &reqwest::Error) -> Failure {
    Failure::Lost(Chain(error).to_string())
}

/// Waits until `clock.elapsed()` reaches `until`. A clock that a test moves is looked at each millisecond.
pub(super) async fn wait_until(clock: &Clock, until: Duration) {
    loop {
        let left = until.saturating_sub(clock.elapsed());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(if clock.is_manual() { Duration::from_millis(1) } else { left }).await;
    }
}
