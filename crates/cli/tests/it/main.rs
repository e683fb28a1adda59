//! The binary as its users run it: processes, files, signals, full disks.

mod crash;
mod disk_full;
mod drain;
mod edna;
mod memory;
mod outputs;
mod process;
mod quarantine;
mod replay;
mod zombie;
