//! The binary as people use it: arguments in; output, exit code and files out. And what becomes of it when processes are
//! killed, stopped or set against each other, when disks are full and messages broken.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod check;
mod containers;
mod crash;
mod disk_full;
mod drain;
mod edna;
mod import;
mod kafka;
mod memory;
mod operate;
mod outputs;
mod process;
mod quarantine;
mod queue;
mod replay;
mod run;
mod support;
mod verbs;
mod verify;
mod verify_kafka;
mod zombie;
mod ztf;
