use std::{borrow::Cow, error, fmt, sync::Arc};

use crate::{Refusal, Seq};

/// The result of what can fail below us.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the store or of what lies below it: the disk, the file, the owner.
///
/// It is opaque, so that a dependency can change without breaking users: match on
/// [`kind`](Self::kind). Cloning is cheap; one failure may have to be told to many waiters.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    rejected_seq: Option<Seq>,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

/// What kind of failure it is, and with that who can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Someone else holds the database for longer than the time-out. Retried.
    Busy,
    /// The disk is full. Retried; make room.
    StorageFull,
    /// Reading or writing failed. Retried.
    Io,
    /// The operation was interrupted. Retried.
    Interrupted,
    /// The database cannot be written to: permissions, or a file system that is mounted read-only.
    /// Retried.
    ReadOnly,
    /// A panic in the store was caught. Retried.
    Panicked,
    /// The store refuses this change for good. The change is taken out, all others go on (C8).
    Rejected,
    /// The database is damaged. Writing stops, reads go on from memory (C9).
    Corrupt,
    /// The file is not a database, or that of another application. It is left as it is.
    NotADatabase,
    /// The database was written by a newer version. It is left as it is.
    UnsupportedSchema,
    /// Another owner has taken the database over. Nothing more is written from here (C11).
    Fenced,
    /// Another process, or another store in this one, owns the database.
    AlreadyOpen,
    /// The store is closed.
    Closed,
    /// An option, or a combination of options, cannot work.
    Configuration,
    /// This store cannot do that.
    Unsupported,
    /// The caller's cleaner failed.
    Cleaner,
    /// There is no database to read.
    NotFound,
    /// The store is a standby: it reads what another one writes.
    Standby,
}

/// What a flusher does about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Keep the batch and try again later.
    Retry,
    /// Take the change that is refused out of the batch.
    Isolate,
    /// Stop writing.
    Stop,
}

impl ErrorKind {
    /// What a flusher does about a failure of this kind.
    pub fn remedy(self) -> Remedy {
        match self {
            Self::Busy
            | Self::StorageFull
            | Self::Io
            | Self::Interrupted
            | Self::ReadOnly
            | Self::Panicked
            | Self::Cleaner => Remedy::Retry,
            Self::Rejected => Remedy::Isolate,
            // The last ones are never about one change, so nothing could be taken out.
            Self::Corrupt
            | Self::NotADatabase
            | Self::UnsupportedSchema
            | Self::Fenced
            | Self::AlreadyOpen
            | Self::Closed
            | Self::Unsupported
            | Self::Configuration
            | Self::NotFound
            | Self::Standby => Remedy::Stop,
        }
    }

    /// A short name, fit for a label of a metric.
    pub fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::StorageFull => "storage_full",
            Self::Io => "io",
            Self::Interrupted => "interrupted",
            Self::ReadOnly => "read_only",
            Self::Panicked => "panicked",
            Self::Rejected => "rejected",
            Self::Corrupt => "corrupt",
            Self::NotADatabase => "not_a_database",
            Self::UnsupportedSchema => "unsupported_schema",
            Self::Fenced => "fenced",
            Self::AlreadyOpen => "already_open",
            Self::Closed => "closed",
            Self::Configuration => "configuration",
            Self::Unsupported => "unsupported",
            Self::Cleaner => "cleaner",
            Self::NotFound => "not_found",
            Self::Standby => "standby",
        }
    }
}

impl Error {
    /// A failure of this kind. The message says what happened, what still works and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), rejected_seq: None, source: None }))
    }

    /// What a mutation meets after the store was closed.
    pub fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the store is closed; open it again to change it")
    }

    /// The same failure with its cause.
    pub fn with_source(self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.edit(|inner| inner.source = Some(source.into()))
    }

    /// The same failure with the shape (by its place in the order) whose change was refused, so that it
    /// can be isolated without a search.
    pub fn with_rejected_seq(self, rejected_seq: Seq) -> Self {
        self.edit(|inner| inner.rejected_seq = Some(rejected_seq))
    }

    fn edit(self, edit: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Arc::try_unwrap(self.0).unwrap_or_else(|shared| Inner {
            kind: shared.kind,
            message: shared.message.clone(),
            rejected_seq: shared.rejected_seq,
            source: Some(Box::new(Self(shared))),
        });
        edit(&mut inner);
        Self(Arc::new(inner))
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The [`created`](crate::Entry::created) of the shape whose change was refused, where it is known.
    pub fn rejected_seq(&self) -> Option<Seq> {
        self.0.rejected_seq
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("rejected_seq", &self.0.rejected_seq)
            .field("source", &self.0.source)
            .finish()
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Why a mutation did not happen.
#[derive(Clone, Debug)]
pub enum MutateError {
    /// It was refused for what it asks, or because too much is pending. Nothing has changed.
    Refused(Refusal),
    /// The store failed. A buffered store has not accepted the mutation; the direct composition may
    /// have committed it if the failure came after the commit, and says so by the next read.
    Failed(Error),
}

impl MutateError {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Failed(_) => None,
        }
    }
}

impl fmt::Display for MutateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl error::Error for MutateError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Refused(_) => None,
            Self::Failed(error) => error.source(),
        }
    }
}

impl From<Refusal> for MutateError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for MutateError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
