//! HTTP in front of the queue.
//!
//! A request is read into the queue's types, given to its [`Store`](queue::Store) or [`View`](queue::View), and the
//! reply is written as JSON; what is refused is a problem as RFC 9457 has it. The routes are listed in `route.rs`, and
//! the same list makes the [`openapi`] document. Nothing here decides what becomes of a job.
//!
//! ```text
//!   connection ──▶ measured ──▶ who calls? ──▶ route ──▶ store or view
//!    limits          meter        access        body, query
//! ```

mod access;
mod body;
mod error;
pub mod limit;
mod meter;
mod openapi;
mod operation;
mod pieces;
mod problem;
mod query;
mod route;
mod serve;
mod state;
mod strict;
mod unsent;
mod wait;
mod wire;

pub use access::{Access, Grant, TOKEN_BYTES_MIN, grants};
pub use error::Error;
pub use limit::Limits;
pub use openapi::openapi;
pub use route::router;
pub use serve::serve;
pub use state::{Api, Shared};
