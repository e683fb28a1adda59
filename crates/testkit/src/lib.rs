//! What tests share: servers that misbehave on purpose.

pub mod streaming_server;
