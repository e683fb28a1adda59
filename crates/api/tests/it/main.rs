//! The API over real sockets.

mod access;
mod events;
mod jobs;
mod kit;
mod leases;
mod limits;
mod sqlite;
mod store;
