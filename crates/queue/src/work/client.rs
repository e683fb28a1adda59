//! How the worker speaks to the server.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{redirect, retry};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stdx::{Backoff, Blame, Chain};

use super::{Pace, Worker};
use crate::lease::{Lease, LeaseRequest};

/// How long an answer may take that waits for nothing but the disk.
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// How long a connection that is not used is kept: less than servers do, so that none is closed as it is used again.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// The first wait when the server is away.
const RETRY_FIRST: Duration = Duration::from_millis(100);

pub(super) struct Client {
    http: reqwest::Client,
    base: String,
}

/// Why a worker can't work at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// Its token can't be sent.
    #[error("the worker's token holds letters that no header can hold; is there a line's end in it?")]
    Token,
    /// There is no way to speak to such a server.
    #[error("set up requests to {server}")]
    Client {
        /// Where the server should be.
        server: String,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
}

impl WorkError {
    /// Whose part it is.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Token => Blame::Document,
            Self::Client { .. } => Blame::World,
        }
    }
}

/// Why there is no good answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server is away or overloaded: the same request may be answered later.
    Away { why: String, wait: Option<Duration> },
    /// It will never take this.
    Refused { code: String, why: String },
}

impl Client {
    pub(super) fn new(worker: &Worker) -> Result<Self, WorkError> {
        // Another part of the program may have installed it before: that is as good.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = &worker.token {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|_| WorkError::Token)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let base = worker.server.trim_end_matches('/').to_owned();
        let builder = reqwest::Client::builder()
            .user_agent("headwater")
            .default_headers(headers)
            .http1_only()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .pool_idle_timeout(IDLE_MAX)
            .tcp_keepalive(Duration::from_secs(30));
        let builder = if base.starts_with("https:") { builder } else { builder.tls_certs_only([]) };
        let http = builder.build().map_err(|source| WorkError::Client { server: base.clone(), source })?;
        Ok(Self { http, base })
    }

    /// Sends, and reads the reply.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, Trouble> {
        let bytes = serde_json::to_vec(body)
            .map_err(|error| Trouble::Refused { code: "unwritable".to_owned(), why: Chain(&error).to_string() })?;
        let away = |error: reqwest::Error| Trouble::Away { why: Chain(&error).to_string(), wait: None };
        let request = self.http.post(format!("{}{path}", self.base)).body(bytes).timeout(timeout);
        let reply = request.send().await.map_err(away)?;
        let status = reply.status();
        let seconds = reply.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes = reply.bytes().await.map_err(away)?;
        if status.is_success() {
            let bytes = if bytes.is_empty() { b"null" } else { &bytes[..] };
            return serde_json::from_slice(bytes).map_err(|error| Trouble::Away {
                why: format!("the reply of {path} can't be understood: {error}"),
                wait: None,
            });
        }
        let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let text = |field: &str| problem.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let why = format!("{path} was answered with {status}: {}", text("detail"));
        // A proxy that forgot the server, or a token that is being replaced, is no word on the job.
        let code = text("code");
        let passing = status.is_server_error() || matches!(status.as_u16(), 401 | 403 | 408 | 425 | 429);
        if passing || code.is_empty() {
            return Err(Trouble::Away { why, wait: seconds.map(Duration::from_secs) });
        }
        Err(Trouble::Refused { code, why })
    }

    /// Leases, however long it takes until the server answers.
    pub(super) async fn lease(&self, request: &LeaseRequest, pace: Pace) -> Vec<Lease> {
        let mut patience = Patience::new(pace);
        let timeout = request.wait.map_or(Duration::ZERO, document::Duration::get) + ANSWER;
        loop {
            match self.post("/v1/leases", request, timeout).await {
                Ok(leases) => return leases,
                Err(trouble) => patience.wait("lease jobs", &trouble).await,
            }
        }
    }
}

/// Why one item of a request was refused.
pub(super) struct Refusal {
    pub(super) code: String,
    pub(super) why: String,
    /// Whether it may be taken later.
    pub(super) is_passing: bool,
}

impl Refusal {
    /// From an item of a reply, if it is refused.
    pub(super) fn of(item: &Value) -> Option<Self> {
        let problem = item.get("error")?;
        let text = |field: &str| problem.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let status = problem.get("status").and_then(Value::as_u64).unwrap_or_default();
        Some(Self { code: text("code"), why: text("detail"), is_passing: status >= 500 || status == 429 })
    }

    /// Whether the job is not the worker's any more.
    pub(super) fn is_lost(&self) -> bool {
        is_lost(&self.code)
    }
}

/// Whether a code says that the job is not the worker's any more.
pub(super) fn is_lost(code: &str) -> bool {
    matches!(code, "lease_lost" | "not_found")
}

/// Waits between tries, and says once that it has to.
pub(super) struct Patience {
    backoff: Backoff,
    longest: Duration,
}

impl Patience {
    pub(super) fn new(pace: Pace) -> Self {
        Self { backoff: Backoff::exponential(RETRY_FIRST, pace.retry_max), longest: pace.retry_max }
    }

    pub(super) async fn wait(&mut self, what: &str, trouble: &Trouble) {
        let (why, asked) = match trouble {
            Trouble::Away { why, wait } => (why, *wait),
            Trouble::Refused { why, .. } => (why, None),
        };
        if self.backoff.failures() == 0 {
            tracing::warn!(why, "{what}: will try again");
        }
        let wait = self.backoff.fail().max(asked.unwrap_or_default()).min(self.longest);
        // Half of it by chance, so that many workers don't come back at one moment.
        tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }
}
