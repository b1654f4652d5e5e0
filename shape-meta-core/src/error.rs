use std::{borrow::Cow, error, fmt, sync::Arc, time::Duration};

use crate::{Refusal, Seq};

/// The result of an operation that a store may fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the store, or of the disk or database below it.
///
/// It is opaque, so that a dependency can change without breaking users: match on [`kind`](Self::kind).
/// Cloning is one atomic increment, because one failure may be reported to many waiters.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    rejected_seq: Option<Seq>,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

/// The kind of a failure. Its [`remedy`](Self::remedy) says what a flusher does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Another process or connection locks the database for longer than the time-out. Retried.
    Busy,
    /// The disk is full. Retried; free some space.
    StorageFull,
    /// A read or a write failed. Retried.
    Io,
    /// The operation was interrupted. Retried.
    Interrupted,
    /// The database cannot be written because of permissions or a read-only file system. Retried.
    ReadOnly,
    /// The server refuses the login or a privilege. Retried.
    AccessDenied,
    /// The lease of the owner has run out, or is about to, and could not be renewed: another process may take
    /// the database over. Nothing is acknowledged until it is renewed. Retried.
    LeaseExpired,
    /// A panic in the store was caught. Retried.
    Panicked,
    /// The store rejects this change permanently. The change is removed from the batch; all others commit
    /// (C8).
    Rejected,
    /// The database is damaged. Writing stops; reads continue from memory (C9).
    Corrupt,
    /// The file is not a database, or it is the database of another application. It is not changed.
    NotADatabase,
    /// The database was written by a newer version. It is not changed.
    UnsupportedSchema,
    /// A newer owner has taken the database over. This store writes nothing more (C11).
    Fenced,
    /// Another process, or another store in this process, owns the database.
    AlreadyOpen,
    /// The store is closed.
    Closed,
    /// An option, or a combination of options, is invalid.
    Configuration,
    /// This store does not support the operation.
    Unsupported,
    /// The caller's cleaner failed.
    Cleaner,
    /// There is no database.
    NotFound,
    /// The store is a standby: it only reads.
    Standby,
    /// The shapes of the database were made with other definitions, or from another source; see
    /// [`StampCheck`](crate::StampCheck). They are not changed.
    OtherStamp,
}

/// The time after which to try again what can succeed later, where no better one is known.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The reaction of a flusher to a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Keep the batch and retry after a back-off.
    Retry,
    /// Remove the rejected change from the batch.
    Isolate,
    /// Stop writing.
    Stop,
}

impl ErrorKind {
    /// Returns the reaction of a flusher to a failure of this kind.
    pub fn remedy(self) -> Remedy {
        match self {
            Self::Busy
            | Self::StorageFull
            | Self::Io
            | Self::Interrupted
            | Self::ReadOnly
            | Self::AccessDenied
            | Self::LeaseExpired
            | Self::Panicked
            | Self::Cleaner => Remedy::Retry,
            Self::Rejected => Remedy::Isolate,
            // None of these concerns a single change, so there is no change to isolate.
            Self::Corrupt
            | Self::NotADatabase
            | Self::UnsupportedSchema
            | Self::Fenced
            | Self::AlreadyOpen
            | Self::Closed
            | Self::Unsupported
            | Self::Configuration
            | Self::NotFound
            | Self::Standby
            | Self::OtherStamp => Remedy::Stop,
        }
    }

    /// Returns whether the same call can succeed later, without a change by the caller: if what a flusher
    /// [retries](Remedy::Retry) has ended, the other owner has closed the database, or the standby is
    /// promoted.
    pub fn is_retryable(self) -> bool {
        self.remedy() == Remedy::Retry || matches!(self, Self::AlreadyOpen | Self::Standby)
    }

    /// Returns a short name, suitable as a metric label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::StorageFull => "storage_full",
            Self::Io => "io",
            Self::Interrupted => "interrupted",
            Self::ReadOnly => "read_only",
            Self::AccessDenied => "access_denied",
            Self::LeaseExpired => "lease_expired",
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
            Self::OtherStamp => "other_stamp",
        }
    }
}

impl Error {
    /// Returns a failure of this kind. The message says what failed, what still holds and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), rejected_seq: None, source: None }))
    }

    /// Returns the failure of a mutation after the store was closed.
    pub fn closed() -> Self {
        Self::new(
            ErrorKind::Closed,
            "the store is closed; reads continue, and mutations need the store to be opened again",
        )
    }

    /// Returns the same failure with its cause.
    pub fn with_source(self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.edit(|inner| inner.source = Some(source.into()))
    }

    /// Returns the same failure with the [`created`](crate::Entry::created) of the shape whose change was
    /// rejected, so that the flusher isolates that change without a search.
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

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns whether the same call can succeed later: that of the [kind](ErrorKind::is_retryable).
    pub fn is_retryable(&self) -> bool {
        self.kind().is_retryable()
    }

    /// Returns the time after which to try again: a second, because it is not known when a disk recovers.
    /// `None` if the same call fails again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.is_retryable().then_some(RETRY_AFTER)
    }

    /// Returns the [`created`](crate::Entry::created) of the shape whose change was rejected, if it is known.
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

/// The reason why a mutation was not accepted.
#[derive(Clone, Debug)]
pub enum MutateError {
    /// The mutation was refused: because of its content, or because too much is pending. Nothing has changed.
    Refused(Refusal),
    /// The store failed. A buffered store has not accepted the mutation. The direct composition may have
    /// committed it, if the failure came after the commit; reads then show it.
    Failed(Error),
}

impl MutateError {
    /// Returns the refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Failed(_) => None,
        }
    }

    /// Returns whether the same mutation can succeed later.
    pub fn is_retryable(&self) -> bool {
        self.retry_after().is_some()
    }

    /// Returns the time after which to try again: that of the [refusal](Refusal::retry_after) or of the
    /// [failure](Error::retry_after). `None` if the same mutation is not accepted later either.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after(),
            Self::Failed(error) => error.retry_after(),
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
