//! Streams as their users run them, on real files.

// Under `cfg(test)`, so that helpers may unwrap as tests do.
#[cfg(test)]
mod commits;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod edge;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod hosting;
#[cfg(test)]
mod http;
#[cfg(test)]
mod kafka_secure;
#[cfg(test)]
mod kafka_source;
#[cfg(test)]
mod plan;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod support;
#[cfg(test)]
mod widening;
#[cfg(test)]
mod ztf;
