//! Bodies are JSON whatever their content type says, so that curl is a client.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use queue::JobId;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::limit;
use crate::problem::Problem;
use crate::state::Api;
use crate::strict::Strict;

/// The bytes that one permit for a body stands for.
pub(crate) const BODY_UNIT_BYTES: usize = 1024;

/// A body that holds one thing, and the memory that is counted for it until this is dropped.
pub(crate) struct One<T>(pub(crate) T, pub(crate) Held);

/// A body that may hold many things.
pub(crate) struct Many<T>(pub(crate) T, pub(crate) Held);

/// Memory that is counted.
pub(crate) type Held = Option<OwnedSemaphorePermit>;

impl<T: DeserializeOwned> FromRequest<Api> for One<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let (bytes, held) = read(request, api, api.limits.body_bytes).await?;
        Ok(Self(parse(&bytes)?, held))
    }
}

impl<T: DeserializeOwned> FromRequest<Api> for Many<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let (bytes, held) = read(request, api, api.limits.bulk_body_bytes).await?;
        Ok(Self(parse(&bytes)?, held))
    }
}

async fn read(request: Request, api: &Api, bytes_max: usize) -> Result<(Bytes, Held), Problem> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok()).unwrap_or(0);
    let mut body = request.into_body();
    if length > bytes_max {
        return Err(too_large(body, length, bytes_max, api.limits.stall_time).await);
    }
    let whole = timeout(api.limits.body_time, gather(&mut body, api, bytes_max)).await;
    match whole.unwrap_or_else(|_| Err(Refused::Slow)) {
        Ok(read) => Ok(read),
        Err(Refused::TooLarge(found)) => Err(too_large(body, found, bytes_max, api.limits.stall_time).await),
        Err(Refused::Busy) => Err(Problem::busy("as many bodies are read as may be")),
        Err(Refused::Slow) => {
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body came too slowly and was given up"))
        }
        Err(Refused::Broken) => Err(Problem::new(StatusCode::BAD_REQUEST, "bad_body", "the body broke off")),
    }
}

enum Refused {
    TooLarge(usize),
    Busy,
    Slow,
    Broken,
}

async fn gather(body: &mut Body, api: &Api, bytes_max: usize) -> Result<(Bytes, Held), Refused> {
    let (mut bytes, mut held): (BytesMut, Held) = (BytesMut::new(), None);
    loop {
        let frame = timeout(api.limits.stall_time, body.frame()).await.map_err(|_| Refused::Slow)?;
        let Some(frame) = frame else { return Ok((bytes.freeze(), held)) };
        let Ok(data) = frame.map_err(|_| Refused::Broken)?.into_data() else { continue };
        let found = bytes.len() + data.len();
        if found > bytes_max {
            return Err(Refused::TooLarge(found));
        }
        let units = found.div_ceil(BODY_UNIT_BYTES) - held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let units = u32::try_from(units).map_err(|_| Refused::Busy)?;
        let more = Arc::clone(&api.bodies).try_acquire_many_owned(units).map_err(|_| Refused::Busy)?;
        match &mut held {
            Some(held) => held.merge(more),
            None => held = Some(more),
        }
        bytes.extend_from_slice(&data);
    }
}

/// The refusal, once the rest was read and thrown away: a client that still writes may never read a reply.
async fn too_large(mut body: Body, found: usize, max: usize, stall_time: Duration) -> Problem {
    let rest = async {
        let mut discarded = 0;
        while discarded < limit::DISCARD_BYTES_MAX {
            let Some(Ok(frame)) = body.frame().await else { break };
            discarded += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Whether all of it came makes no difference to the reply.
    let _ = timeout(stall_time, rest).await;
    let detail = format!("the body has {found} bytes or more; at most {max} are taken");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
}

/// Reads JSON; a problem names the field.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(bad_json("the body is empty; JSON is expected"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = T::deserialize(Strict(&mut deserializer)).and_then(|value| deserializer.end().map(|()| value));
    let error = match read {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    // Only who erred pays for finding out where. What is no JSON at all is told first.
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(bytes) {
        return Err(bad_json(&format!("the body is no JSON: {error}")));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    match serde_path_to_error::deserialize::<_, T>(Strict(&mut deserializer)) {
        Ok(_) => Err(Problem::invalid("", error.to_string())),
        Err(error) => Err(Problem::invalid(&error.path().to_string(), error.inner().to_string())),
    }
}

fn bad_json(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_json", detail)
}

/// A reply of JSON.
pub(crate) fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => (status, [(header::CONTENT_TYPE, JSON)], bytes).into_response(),
        Err(error) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", format!("write the reply: {error}"))
            .into_response(),
    }
}

/// A reply of JSON: 200.
pub(crate) fn ok<T: Serialize + ?Sized>(value: &T) -> Response {
    json(StatusCode::OK, value)
}

/// The media type of replies.
pub(crate) const JSON: &str = "application/json";

/// An item of a reply to many things: what came of it, or why it was refused.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum Item<T> {
    /// What came of it.
    Done(T),
    /// Why it was refused.
    Refused {
        /// The job, where the request named it.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<JobId>,
        /// Why.
        error: Box<Problem>,
    },
}

impl<T> Item<T> {
    /// Of a job that the request named.
    pub(crate) fn of(id: JobId, result: Result<T, Problem>) -> Self {
        match result {
            Ok(done) => Self::Done(done),
            Err(error) => Self::Refused { id: Some(id), error: Box::new(error) },
        }
    }
}

impl<T> From<Result<T, Problem>> for Item<T> {
    fn from(result: Result<T, Problem>) -> Self {
        match result {
            Ok(done) => Self::Done(done),
            Err(error) => Self::Refused { id: None, error: Box::new(error) },
        }
    }
}
