//! The API over real sockets.

// Under `cfg(test)`, so that helpers may unwrap as tests do.
#[cfg(test)]
mod access;
#[cfg(test)]
mod events;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod kit;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod sqlite;
#[cfg(test)]
mod store;
