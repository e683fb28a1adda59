use std::time::Duration;

use stdx::Blame;

use crate::id::JobId;
use crate::job::State;

/// Why the queue refuses.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is none, or the asker may not know of it.
    #[error("there is no {what} `{name}`")]
    NotFound {
        /// `job`, `queue`, `schedule`.
        what: &'static str,
        /// What was asked for.
        name: String,
    },
    /// A field is not as it must be.
    #[error("`{field}` {expected}")]
    Invalid {
        /// Its path.
        field: String,
        /// What is wrong, as the end of a sentence.
        expected: String,
    },
    /// A field is larger than it may be.
    #[error("`{field}` has {found} bytes; at most {max} are taken")]
    TooLarge {
        /// Its path.
        field: String,
        /// How large it is.
        found: usize,
        /// How large it may be.
        max: usize,
    },
    /// The job can't go from its state to the one asked for.
    #[error("job {id} is {}; {needed}", state.as_str())]
    WrongState {
        /// The job.
        id: JobId,
        /// Where it is.
        state: State,
        /// What is possible.
        needed: &'static str,
    },
    /// The key was used for another job.
    #[error("key `{key}` was used for job {first}, which is another; take another key")]
    KeyReused {
        /// The key.
        key: String,
        /// Who has it.
        first: JobId,
    },
    /// The token does not hold the job, or no longer.
    #[error("the lease on job {id} is lost; stop working on it")]
    LeaseLost {
        /// The job.
        id: JobId,
    },
    /// The queue holds as many jobs as it may.
    #[error("queue `{queue}` is full: {depth} jobs wait in it; try again in {} s", retry_after.as_secs())]
    QueueFull {
        /// The queue.
        queue: String,
        /// Jobs in it that have not ended.
        depth: u64,
        /// When to try again.
        retry_after: Duration,
    },
    /// The queue takes no new jobs, since it is drained.
    #[error("queue `{queue}` is draining: it takes no new jobs until it is resumed")]
    Draining {
        /// The queue.
        queue: String,
    },
    /// A job is to come after one that there isn't.
    #[error("there is no job {id} to come after")]
    UnknownParent {
        /// The parent.
        id: JobId,
    },
    /// The document says how it is; HTTP can't.
    #[error("{what} `{name}` is owned by the document; change it there")]
    OwnedByDocument {
        /// `queue` or `schedule`.
        what: &'static str,
        /// Which.
        name: String,
    },
    /// A newer document has been applied.
    #[error("the document is of generation {ours}, and {theirs} has been applied")]
    StaleDocument {
        /// The generation offered.
        ours: u64,
        /// The generation stored.
        theirs: u64,
    },
    /// Another part of an atomic request was refused, so this one was not done either.
    #[error("item {index} was refused, so nothing was done: {why}")]
    Atomic {
        /// Which one was refused.
        index: usize,
        /// Why.
        why: Box<Error>,
    },
    /// The store can't be reached, or has stopped because it could not make something durable.
    #[error("the store is down: {why}")]
    StoreDown {
        /// What it said.
        why: String,
    },
    /// Somebody else has the store open.
    #[error("the store at {path} is in use by {holder}; stop it, or give this one another path")]
    Held {
        /// Where it is.
        path: String,
        /// Who has it, as far as it is known.
        holder: String,
    },
}

impl Error {
    pub(crate) fn invalid(field: &str, expected: impl Into<String>) -> Self {
        Self::Invalid { field: field.to_owned(), expected: expected.into() }
    }

    pub(crate) fn no_job(id: JobId) -> Self {
        Self::NotFound { what: "job", name: id.to_string() }
    }

    pub(crate) fn no_queue(name: &str) -> Self {
        Self::NotFound { what: "queue", name: name.to_owned() }
    }

    /// A word for programs. It never changes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Invalid { .. } => "invalid",
            Self::TooLarge { .. } => "too_large",
            Self::WrongState { .. } => "wrong_state",
            Self::KeyReused { .. } => "key_reused",
            Self::LeaseLost { .. } => "lease_lost",
            Self::QueueFull { .. } => "queue_full",
            Self::Draining { .. } => "draining",
            Self::UnknownParent { .. } => "unknown_parent",
            Self::OwnedByDocument { .. } => "owned_by_document",
            Self::StaleDocument { .. } => "stale_document",
            Self::Atomic { why, .. } => why.code(),
            Self::StoreDown { .. } => "store_down",
            Self::Held { .. } => "store_held",
        }
    }

    /// The HTTP status that says it.
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound { .. } => 404,
            Self::Invalid { .. } | Self::UnknownParent { .. } => 422,
            Self::TooLarge { .. } => 413,
            Self::WrongState { .. }
            | Self::KeyReused { .. }
            | Self::LeaseLost { .. }
            | Self::Draining { .. }
            | Self::OwnedByDocument { .. }
            | Self::StaleDocument { .. } => 409,
            Self::QueueFull { .. } => 429,
            Self::Atomic { why, .. } => why.status(),
            Self::StoreDown { .. } | Self::Held { .. } => 503,
        }
    }

    /// When to try again, where waiting helps.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::QueueFull { retry_after, .. } => Some(*retry_after),
            Self::StoreDown { .. } | Self::Held { .. } => Some(Duration::from_secs(1)),
            Self::Atomic { why, .. } => why.retry_after(),
            _ => None,
        }
    }

    /// Whose part it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::StoreDown { .. } | Self::Held { .. } | Self::QueueFull { .. } => Blame::World,
            _ => Blame::Document,
        }
    }
}
