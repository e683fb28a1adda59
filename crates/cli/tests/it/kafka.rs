//! Streams from and to a real Kafka, counted by a client of other people: what becomes of rows when processes are killed,
//! stopped or taken over, when brokers go away, partitions are added and documents change.

mod broker;
mod crash;
mod feed;
mod growth;
mod home;
mod poison;
mod positions;
mod posts;
mod stage;
mod zombie;
