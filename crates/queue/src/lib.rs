//! Jobs wait, are leased to workers, and end once.
//!
//! A client puts a [`NewJob`] into a queue; a worker leases it, beats while it works, and finishes it with its token;
//! a sweep each second does what time asks for. All of it goes through one seam, [`Store`], whose replies come after
//! what they promise is durable; [`View`] reads beside it. How HTTP names these things is not said here.
//!
//! ```text
//!   put ──▶ scheduled ──▶ waiting ──▶ ready ──lease──▶ running ──finish──▶ succeeded, failed, cancelled
//!               ▲                       ▲                 │
//!               └─ a retry's back-off ──┴── lease lost ───┘
//! ```

mod artifact;
mod check;
mod error;
pub mod exercise;
mod facts;
mod hub;
mod id;
mod job;
mod json;
mod lease;
mod limit;
mod moment;
mod payload;
mod plan;
mod run;
mod settings;
mod spec;
mod store;
mod timetable;
mod view;
mod work;
mod world;

pub use artifact::{Artifact, Artifacts, Download, Part, Upload};
pub use check::{Service, check, check_tree};
pub use error::Error;
pub use facts::{Facts, ProgramFacts, facts};
pub use hub::{Hub, Waiter, lease_wait};
pub use id::{JobId, Token};
pub use job::{Backoff, Concurrency, Failure, NewJob, OnFail, Reason, State};
pub use json::Json;
pub use lease::{Ack, Beat, Ending, Finish, FinishReply, Finished, Lease, LeaseRequest, Nack, Outcome, Pulse, Release};
pub use limit::*;
pub use moment::Moment;
pub use payload::PayloadSchema;
pub use plan::{Holder, Plan, Pool, Schedule, plan};
pub use run::{Meter, Tally, open, own_token, sweep, worker};
pub use settings::{CatchUp, JobTemplate, Overlap, QueueSettings, ScheduleSpec};
pub use spec::{AuthSpec, PythonSpec, Scope, Spec, TokenSpec, WorkerSpec};
pub use store::kind::{Opened, PostgresSpec, SqliteSpec, StoreFacts, StorePlan, StoreSpec};
pub use store::postgres::{Postgres, PostgresOptions};
pub use store::sqlite::{Sqlite, SqliteOptions, copy};
pub use store::{Change, Changed, Declaration, Pending, Placed, Promise, Put, RetryMany, Store, Swept, View, promise};
pub use timetable::Timetable;
pub use view::{Event, Job, JobQuery, LogLine, Page, QueueInfo, ScheduleInfo, Stats};
pub use work::{Pace, WorkError, Worked, Worker};
pub use world::World;
