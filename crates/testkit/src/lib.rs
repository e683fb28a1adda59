//! What tests share: servers that misbehave on purpose, and real ones.

pub mod kafka;
mod part;
pub mod postgres;
pub mod streaming_server;

pub use part::{alerts, is_update, note, python, skip};
