//! The binary as people use it: arguments in; output, exit code and files out.

mod check;
mod operate;
mod run;
mod support;
mod verbs;
mod ztf;
