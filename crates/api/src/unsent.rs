//! A reply with leases that was never sent gives them back.
//!
//! The leases ride with the reply's body. When the body is taken to be written, they go to the connection, and are let
//! go of once everything was flushed. Dropped anywhere before that - the client left while it waited, the connection
//! broke, the server ended - they are released. A connection that closes later means nothing.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use queue::{Finish, Lease, Outcome};

use crate::body::JSON;
use crate::state::Api;

/// Leases that nobody was told of yet.
pub(crate) struct Unsent {
    api: Api,
    leases: Vec<Lease>,
    name: Option<Arc<Named>>,
}

impl Unsent {
    pub(crate) fn new(api: &Api, leases: Vec<Lease>, name: Option<Arc<Named>>) -> Self {
        Self { api: api.clone(), leases, name }
    }

    pub(crate) fn leases(&self) -> &[Lease] {
        &self.leases
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    fn sent(mut self) {
        for lease in &self.leases {
            self.api.meter.leased(&lease.queue);
        }
        self.leases.clear();
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        let is_superseded = self.name.as_ref().is_some_and(|name| name.superseded.load(Ordering::SeqCst));
        if self.leases.is_empty() || is_superseded {
            return;
        }
        let release = |lease: Lease| Outcome::release(lease.id, lease.token);
        let outcomes = std::mem::take(&mut self.leases).into_iter().map(release).collect();
        // Handed over at once; nobody is left to read the reply, and what fails lapses.
        drop(self.api.store.finish(Finish { outcomes, lease: None }));
    }
}

/// Requests that are under way and have a name: a repeated one gets the same leases, so the first must then not give
/// them back.
#[derive(Default)]
pub(crate) struct Names(Mutex<HashMap<(String, String), Arc<AtomicBool>>>);

/// A request's name, for as long as it is under way.
pub(crate) struct Named {
    api: Api,
    key: (String, String),
    superseded: Arc<AtomicBool>,
}

impl Named {
    pub(crate) fn new(api: &Api, worker: &str, request: Option<&str>) -> Option<Arc<Self>> {
        let key = (worker.to_owned(), request?.to_owned());
        let superseded = Arc::new(AtomicBool::new(false));
        let mut names = api.names.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = names.insert(key.clone(), Arc::clone(&superseded)) {
            first.store(true, Ordering::SeqCst);
        }
        drop(names);
        Some(Arc::new(Self { api: api.clone(), key, superseded }))
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let mut names = self.api.names.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.get(&self.key).is_some_and(|own| Arc::ptr_eq(own, &self.superseded)) {
            names.remove(&self.key);
        }
    }
}

/// What a connection was given to write and has not flushed yet.
#[derive(Clone, Default)]
pub(crate) struct Outbox(Arc<Mutex<Vec<Unsent>>>);

impl Outbox {
    /// All that was given to write has left.
    pub(crate) fn flushed(&self) {
        let sent = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        sent.into_iter().for_each(Unsent::sent);
    }

    fn take(&self, unsent: Unsent) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(unsent);
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outbox")
    }
}

/// A reply that is to be sent, or its leases go back.
pub(crate) fn reply(bytes: Vec<u8>, unsent: Unsent, outbox: Option<Outbox>) -> Response {
    let body = LeaseBody { bytes: Some(bytes.into()), unsent: Some(unsent), outbox };
    ([(header::CONTENT_TYPE, JSON)], Body::new(body)).into_response()
}

struct LeaseBody {
    bytes: Option<Bytes>,
    unsent: Option<Unsent>,
    outbox: Option<Outbox>,
}

impl http_body::Body for LeaseBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(unsent) = self.unsent.take() {
            match &self.outbox {
                Some(outbox) => outbox.take(unsent),
                None => unsent.sent(),
            }
        }
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
