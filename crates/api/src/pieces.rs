//! A body whose pieces come as they are made.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

/// Pieces that are ready for a client that is slower than the store.
pub(crate) const PIECES_READY: usize = 4;

/// A piece, or why there are no more: the connection then breaks, so that nobody takes a part for the whole.
pub(crate) type Piece = Result<Bytes, queue::Error>;

/// The body.
pub(crate) struct Pieces {
    receiver: mpsc::Receiver<Piece>,
    bytes: Option<u64>,
}

impl Pieces {
    /// A body of what is sent, of so many bytes where that is known.
    pub(crate) fn body(receiver: mpsc::Receiver<Piece>, bytes: Option<u64>) -> Body {
        Body::new(Self { receiver, bytes })
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = queue::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, queue::Error>>> {
        self.receiver.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
