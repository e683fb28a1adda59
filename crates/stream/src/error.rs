use std::path::PathBuf;

use stdx::Blame;

/// What can go wrong while a stream runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused.
    #[error("{verb} {}", path.display())]
    File {
        /// What was tried: `read`, `write`, `rename`, ...
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A stream of bytes (standard input, a socket) failed.
    #[error("{verb} {what}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        what: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// Somebody else holds the task.
    #[error("task {task} is held by {holder}; wait for it, or stop it")]
    Held {
        /// The task's stored name.
        task: String,
        /// Who holds it, in its own words.
        holder: String,
    },
    /// Somebody else took the task over: this one must let go.
    #[error("task {task} was taken over: our claim is {ours}, the ledger's is {theirs}")]
    Fenced {
        /// The task's stored name.
        task: String,
        /// Our claim.
        ours: u64,
        /// The newest claim.
        theirs: u64,
    },
    /// The stream's record has changed since this container read it: the task may be another's now.
    #[error("task {task} may have moved: the stream's record has changed")]
    Moved {
        /// The task's stored name.
        task: String,
    },
    /// A stored file of ours can't be understood.
    #[error("{what} at {} can't be understood: {found}", path.display())]
    Stored {
        /// What it should be.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// What a record says was prepared is gone.
    #[error("{} was prepared, but neither it nor {} is there; put one of them back", staged.display(), path.display())]
    Lost {
        /// Where it was staged.
        staged: PathBuf,
        /// Where it should have been published.
        path: PathBuf,
    },
    /// A server answered in a way that ends the stream.
    #[error("{what} answered {status}: {reason}")]
    Refused {
        /// The URL without its query.
        what: String,
        /// The HTTP status.
        status: u16,
        /// What it said, and what to do.
        reason: String,
    },
    /// A Kafka cluster, or the client that talks to it, refused.
    #[error("{verb} Kafka at {brokers}: {reason}")]
    Kafka {
        /// What was tried: `read from`, `write to`, `commit to`, ...
        verb: String,
        /// The brokers that the document names.
        brokers: String,
        /// What the cluster or client said. Holds no secret.
        reason: String,
    },
    /// Messages that were not read yet are gone.
    #[error(
        "the next message to read of {input} is {ours}, but those that are left are {first} to before {end}: the \
         others were removed before we read them; go on with what is left by `onGap: skip`, or put the position \
         elsewhere with `headwater positions set`"
    )]
    Gap {
        /// `topic-partition`.
        input: String,
        /// The offset that would have been read next.
        ours: i64,
        /// The first offset there is.
        first: i64,
        /// The offset behind the last there is.
        end: i64,
    },
    /// A topic that the document names isn't there.
    #[error("there is no topic `{topic}` at {brokers}{}", near.as_ref().map(|near| format!(", did you mean `{near}`?")).unwrap_or_default())]
    NoTopic {
        /// The topic.
        topic: String,
        /// The brokers that the document names.
        brokers: String,
        /// A topic that is there and whose name is like it.
        near: Option<String>,
    },
    /// The world is not as the plan needs it.
    #[error("{0}")]
    World(String),
    /// The document refers to a secret that this process wasn't given.
    #[error("{0}")]
    Secret(String),
    /// Whoever read what we write has gone: nothing is left to do, and nothing went wrong. The stream drains.
    #[error("{0} was closed by its reader")]
    Closed(String),
    /// More rows were put aside than `errors.failAfter` allows.
    #[error("{bad} of {rows} rows were put aside, which is past errors.failAfter; see `headwater quarantine list`")]
    TooManyBad {
        /// Rows put aside.
        bad: u64,
        /// Rows read.
        rows: u64,
    },
    /// Arrow refused what should have been right.
    #[error("{what}")]
    Arrow {
        /// What was tried.
        what: &'static str,
        /// Arrow's answer.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// A program's parts don't fit together.
    #[error("the parts of the program don't fit together: {0}")]
    Parts(String),
    /// A promise between our own parts was broken.
    #[error("a bug of ours: {0}")]
    House(String),
}

impl Error {
    /// A file error, for `map_err`.
    pub fn file(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { verb, path, source }
    }

    /// An Arrow error, for `map_err`.
    pub fn arrow(what: &'static str) -> impl FnOnce(arrow::error::ArrowError) -> Self {
        move |source| Self::Arrow { what, source }
    }

    /// Whose part it is.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Arrow { .. } | Self::House(_) => Blame::House,
            Self::Parts(_) => Blame::Document,
            _ => Blame::World,
        }
    }

    /// Whether trying again can't help until somebody acts: the task ends instead of reopening.
    pub fn is_lasting(&self) -> bool {
        use std::io::ErrorKind::{NotADirectory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        match self {
            Self::File { source, .. } | Self::Io { source, .. } => matches!(
                source.kind(),
                StorageFull | QuotaExceeded | ReadOnlyFilesystem | PermissionDenied | NotADirectory
            ),
            Self::World(_) | Self::Kafka { .. } | Self::NoTopic { .. } => false,
            _ => true,
        }
    }
}
