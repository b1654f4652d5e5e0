use std::{fmt, time::Duration};

use crate::{Handle, InvalidHandle, Key};

/// The reason why a mutation was refused: its content, or the amount of pending work. Nothing has changed
/// (C4).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A live shape has this handle.
    DuplicateHandle {
        /// The handle.
        handle: Handle,
    },
    /// A live shape has this key.
    DuplicateKey {
        /// The key.
        key: Key,
        /// The handle of the live shape.
        held_by: Handle,
    },
    /// No live shape has this handle.
    UnknownHandle {
        /// The requested handle, truncated to 256 bytes.
        handle: String,
    },
    /// The shape was read since the time that [`Mutation::RemoveUnread`](crate::Mutation::RemoveUnread)
    /// names, so it stays.
    ReadSince {
        /// The handle.
        handle: Handle,
    },
    /// The text is not a valid handle.
    InvalidHandle(InvalidHandle),
    /// The handle is longer than [`Limits::max_handle_bytes`](crate::Limits::max_handle_bytes).
    HandleTooLong {
        /// The length of the handle.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The encoded definition is larger than
    /// [`Limits::max_definition_bytes`](crate::Limits::max_definition_bytes).
    DefinitionTooLarge {
        /// The handle of the new shape.
        handle: Handle,
        /// The size of the definition.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The shape reads more tables than [`Limits::max_relations`](crate::Limits::max_relations).
    TooManyRelations {
        /// The handle of the new shape.
        handle: Handle,
        /// The number of them.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// The shape depends on more definitions than
    /// [`Limits::max_dependencies`](crate::Limits::max_dependencies).
    TooManyDependencies {
        /// The handle of the new shape.
        handle: Handle,
        /// The number of them.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// The bound on pending changes is reached (C7). Nothing is lost, and reads continue.
    Overloaded {
        /// The time after which to try again: the time in which the disk frees capacity at the measured rate.
        retry_after: Duration,
    },
    /// The stored data of a removed shape with this handle is being deleted at this moment (C12). The handle
    /// can be added again when that is done.
    BeingCleaned {
        /// The handle.
        handle: Handle,
        /// The time after which to try again.
        retry_after: Duration,
    },
}

impl Refusal {
    /// An unknown handle, cut to a length that is fit for a log.
    pub(crate) fn unknown(handle: &str) -> Self {
        let mut end = handle.len().min(256);
        while !handle.is_char_boundary(end) {
            end -= 1;
        }
        Self::UnknownHandle { handle: handle[..end].to_owned() }
    }

    /// Returns whether the refusal ends by itself, so that a caller can wait for it (see
    /// [`Wait`](crate::Wait)) or try again: it has a [`retry_after`](Self::retry_after).
    pub fn is_retryable(&self) -> bool {
        self.retry_after().is_some()
    }

    /// Returns the time after which to try again; `None` if the same mutation is refused again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after } | Self::BeingCleaned { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// Returns a short name of the kind, suitable as a metric label.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DuplicateHandle { .. } => "duplicate_handle",
            Self::DuplicateKey { .. } => "duplicate_key",
            Self::UnknownHandle { .. } => "unknown_handle",
            Self::ReadSince { .. } => "read_since",
            Self::InvalidHandle(_) => "invalid_handle",
            Self::HandleTooLong { .. } => "handle_too_long",
            Self::DefinitionTooLarge { .. } => "definition_too_large",
            Self::TooManyRelations { .. } => "too_many_relations",
            Self::TooManyDependencies { .. } => "too_many_dependencies",
            Self::Overloaded { .. } => "overloaded",
            Self::BeingCleaned { .. } => "being_cleaned",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateHandle { handle } => {
                write!(f, "duplicate handle: the shape {:?} is live already", handle.as_str())
            }
            Self::DuplicateKey { key, held_by } => write!(
                f,
                "duplicate definition: the live shape {:?} has the same key {key}; \
                 use its handle, or remove it first",
                held_by.as_str()
            ),
            Self::UnknownHandle { handle } => {
                write!(
                    f,
                    "unknown handle: no live shape has the handle {handle:?}; it was removed, \
                     or it never existed"
                )
            }
            Self::ReadSince { handle } => write!(
                f,
                "read since: the shape {:?} was read since the given time, so it stays",
                handle.as_str()
            ),
            Self::InvalidHandle(why) => why.fmt(f),
            Self::HandleTooLong { bytes, max } => {
                write!(f, "handle too long: {bytes} bytes, the limit is {max} bytes")
            }
            Self::DefinitionTooLarge { handle, bytes, max } => write!(
                f,
                "definition too large: that of the shape {:?} has {bytes} bytes, the limit is {max} bytes",
                handle.as_str()
            ),
            Self::TooManyRelations { handle, count, max } => {
                write!(
                    f,
                    "too many relations: the shape {:?} reads {count} tables, the limit is {max} tables",
                    handle.as_str()
                )
            }
            Self::TooManyDependencies { handle, count, max } => write!(
                f,
                "too many dependencies: the shape {:?} depends on {count} definitions, \
                 the limit is {max} definitions",
                handle.as_str()
            ),
            Self::Overloaded { retry_after } => write!(
                f,
                "overloaded: the bound on pending changes is reached; nothing is lost and reads continue: \
                 try again in {} ms",
                retry_after.as_millis().max(1)
            ),
            Self::BeingCleaned { handle, retry_after } => write!(
                f,
                "being cleaned: the stored data of a removed shape with the handle {:?} is being deleted; \
                 nothing has changed: try again in {} ms, or use another handle",
                handle.as_str(),
                retry_after.as_millis().max(1)
            ),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<InvalidHandle> for Refusal {
    fn from(why: InvalidHandle) -> Self {
        Self::InvalidHandle(why)
    }
}
