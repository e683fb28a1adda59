//! What a client is told that can't have what it asks for: RFC 9457.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

/// Why a request, or one item of it, was refused.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(into = "Form")]
#[schemars(with = "Form")]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Box<str>,
    field: Option<Box<str>>,
    index: Option<u32>,
    retry_after: Option<u32>,
}

/// Why a request, or one item of it, was refused: a problem as RFC 9457 has it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Problem")]
struct Form {
    /// A URI that ends with the code.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: &'static str,
    /// The status of the reply, or the one that this item would have had by itself.
    status: u16,
    /// A word for programs. It never changes.
    code: &'static str,
    /// What is wrong here, for people.
    detail: Box<str>,
    /// The path of the field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<Box<str>>,
    /// Which item of the request is wrong, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    /// Seconds to wait before another try, where waiting helps. The header `Retry-After` says the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
}

impl From<Problem> for Form {
    fn from(problem: Problem) -> Self {
        let Problem { status, code, detail, field, index, retry_after } = problem;
        let kind = format!("https://headwater.dev/problem/{code}");
        let title = status.canonical_reason().unwrap_or("Refused");
        Self { kind, title, status: status.as_u16(), code, detail, field, index, retry_after }
    }
}

/// What a handler replies.
pub(crate) type Reply = Result<Response, Problem>;

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into().into_boxed_str();
        Self { status, code, detail, field: None, index: None, retry_after: None }
    }

    /// A field is not as it must be.
    pub(crate) fn invalid(field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail).field(field)
    }

    /// There is none, or none that the caller may know of.
    pub(crate) fn not_found(what: &'static str, name: &str) -> Self {
        queue::Error::NotFound { what, name: name.to_owned() }.into()
    }

    /// The server has as much to do as it takes.
    pub(crate) fn busy(what: &str) -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", format!("{what}; try again"))
        }
    }

    #[must_use]
    pub(crate) fn field(mut self, field: &str) -> Self {
        self.field = Some(field).filter(|field| !field.is_empty() && *field != ".").map(Box::from);
        self
    }

    #[must_use]
    pub(crate) fn index(mut self, index: usize) -> Self {
        self.index = u32::try_from(index).ok();
        self
    }
}

impl From<queue::Error> for Problem {
    fn from(error: queue::Error) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A wait of less than a second is still a wait.
        let retry_after =
            error.retry_after().map(|wait| wait.as_millis().div_ceil(1000).try_into().unwrap_or(u32::MAX));
        let problem = Self { retry_after, ..Self::new(status, error.code(), error.to_string()) };
        match &error {
            queue::Error::Invalid { field, .. } | queue::Error::TooLarge { field, .. } => problem.field(field),
            queue::Error::UnknownParent { .. } => problem.field("after"),
            queue::Error::Atomic { index, .. } => problem.index(*index),
            _ => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, retry_after) = (self.status, self.retry_after);
        // Who is busy or away says so once, not for each request that comes meanwhile.
        if status == StatusCode::SERVICE_UNAVAILABLE {
            tracing::debug!(code = self.code, detail = &*self.detail, "a request failed");
        } else if status.is_server_error() {
            tracing::warn!(code = self.code, detail = &*self.detail, "a request failed");
        }
        let mut response = (status, serde_json::to_vec(&self).unwrap_or_default()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The media type of problems.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// A bug of ours ends its own request, and tells so.
async fn caught(reply: impl Future<Output = Response>) -> Response {
    let mut reply = pin!(reply);
    let polled = poll_fn(|context| {
        let poll = catch_unwind(AssertUnwindSafe(|| reply.as_mut().poll(context)));
        poll.unwrap_or_else(|_| {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            let detail = "this is a bug of the server, whose log tells more; the request may be done or not";
            Poll::Ready(Problem::new(status, "internal", detail).into_response())
        })
    });
    polled.await
}

/// Turns what others refuse (the router, hyper) into problems.
pub(crate) async fn everywhere(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = caught(next.run(request)).await;
    let status = response.status();
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM_JSON);
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let problem = match status {
        StatusCode::NOT_FOUND => Problem::new(status, "not_found", format!("there is no `{path}`; see /openapi.json")),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(status, "method_not_allowed", format!("`{path}` has no {method}; `Allow` says what it has"))
        }
        _ => Problem::new(status, "refused", format!("{method} `{path}` was refused")),
    };
    let (mut parts, _) = response.into_parts();
    let (made, body) = problem.into_response().into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(made.headers);
    Response::from_parts(parts, Body::new(body))
}
