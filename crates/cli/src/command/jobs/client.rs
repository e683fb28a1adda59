//! How the verbs speak to the server.

use std::time::Duration;

use anyhow::Context as _;
use document::{SecretKey, SecretRef};
use reqwest::{Method, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Server;
use crate::exit::Usage;
use crate::session::Session;

/// How long a reply may take beyond what is waited for.
const ANSWER: Duration = Duration::from_secs(30);

/// A server, and what is shown to it.
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    runtime: tokio::runtime::Handle,
}

/// What a server says of a request that it refuses.
#[derive(Debug)]
pub(crate) struct Refused {
    /// A word for programs.
    code: String,
    status: u16,
    detail: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.detail)?;
        if self.code.is_empty() { Ok(()) } else { write!(f, " ({})", self.code) }
    }
}

impl std::error::Error for Refused {}

impl Refused {
    /// Whether the one who asks is wrong, and not the world.
    pub(crate) fn is_ours(&self) -> bool {
        (400..500).contains(&self.status) && ![401, 403, 408, 429].contains(&self.status)
    }
}

impl Client {
    pub(super) fn new(server: &Server, session: &Session) -> anyhow::Result<Self> {
        let base = server.url.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(Usage(format!("`{base}` is no address of a server, such as http://127.0.0.1:5000")).into());
        }
        let Some((name, key)) = server.token.split_once('.') else {
            return Err(Usage(format!("`--token {}` names no secret: write NAME.KEY", server.token)).into());
        };
        let reference = SecretRef { secret: SecretKey { name: name.to_owned(), key: key.to_owned() } };
        let token = session.secrets.resolve(&reference, "").ok().map(|secret| secret.expose().to_owned());
        let http = reqwest::Client::builder().user_agent(super::super::NAME).redirect(redirect::Policy::none());
        // Whoever goes through a proxy doesn't mean it for the machine itself.
        let http = if base.contains("//127.0.0.1") || base.contains("//localhost") { http.no_proxy() } else { http };
        let http = if base.starts_with("https:") { http } else { http.tls_certs_only([]) };
        let http = http.build().context("make an HTTP client")?;
        Ok(Self { http, base, token, runtime: session.handle() })
    }

    pub(super) fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<T> {
        self.ask(Method::GET, path, query, None, Duration::ZERO)
    }

    /// A request that is answered once something has happened, at the latest after `wait`.
    pub(super) fn wait<T: DeserializeOwned>(&self, path: &str, wait: document::Duration) -> anyhow::Result<T> {
        self.ask(Method::GET, path, &[("wait", wait.to_string())], None, wait.get())
    }

    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        self.ask(Method::POST, path, &[], Some(serde_json::to_vec(body)?), Duration::ZERO)
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<Vec<u8>>,
        wait: Duration,
    ) -> anyhow::Result<T> {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).query(query).timeout(wait + ANSWER);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        self.runtime.block_on(async {
            let asking = || format!("ask the server at {}", self.base);
            let reply = request.send().await.map_err(reqwest::Error::without_url).with_context(asking)?;
            let status = reply.status();
            let bytes = reply.bytes().await.map_err(reqwest::Error::without_url).with_context(asking)?;
            if status.is_success() {
                return serde_json::from_slice(&bytes).with_context(|| format!("understand the reply to {path}"));
            }
            let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let text = |field: &str| problem.get(field).and_then(Value::as_str).map(str::to_owned);
            let detail = text("detail").unwrap_or_else(|| format!("{path} was answered with {status}"));
            Err(Refused { code: text("code").unwrap_or_default(), status: status.as_u16(), detail }.into())
        })
    }
}
