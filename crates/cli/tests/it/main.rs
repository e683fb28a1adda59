//! The binary as people use it: arguments in; output, exit code and files out.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod check;
mod operate;
mod run;
mod support;
mod verbs;
mod ztf;
