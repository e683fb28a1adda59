//! Streams as their users run them, on real files.

mod support;
mod ztf;
