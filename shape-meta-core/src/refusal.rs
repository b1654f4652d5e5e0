use std::{fmt, time::Duration};

use crate::{Handle, InvalidHandle, Key};

/// A mutation that was not accepted, because of what it asks for or when. Nothing has changed (C4).
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
        /// The handle of that shape.
        held_by: Handle,
    },
    /// No live shape has this handle.
    UnknownHandle {
        /// The handle that was asked for, cut after 256 bytes.
        handle: String,
    },
    /// The text is no handle at all.
    InvalidHandle(InvalidHandle),
    /// The handle is longer than [`Limits::max_handle_bytes`](crate::Limits::max_handle_bytes).
    HandleTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The encoded definition is larger than
    /// [`Limits::max_definition_bytes`](crate::Limits::max_definition_bytes).
    DefinitionTooLarge {
        /// The handle that the shape was to have.
        handle: Handle,
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The shape reads more tables than [`Limits::max_relations`](crate::Limits::max_relations).
    TooManyRelations {
        /// The handle that the shape was to have.
        handle: Handle,
        /// How many they are.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// The shape builds on more definitions than
    /// [`Limits::max_dependencies`](crate::Limits::max_dependencies).
    TooManyDependencies {
        /// The handle that the shape was to have.
        handle: Handle,
        /// How many they are.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// As many changes are pending as the bound allows (C7). Nothing is lost, reads go on.
    Overloaded {
        /// When to try again: how long the disk needs, at the measured rate, to make room.
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

    /// A short name of the kind, fit for a label of a metric.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DuplicateHandle { .. } => "duplicate_handle",
            Self::DuplicateKey { .. } => "duplicate_key",
            Self::UnknownHandle { .. } => "unknown_handle",
            Self::InvalidHandle(_) => "invalid_handle",
            Self::HandleTooLong { .. } => "handle_too_long",
            Self::DefinitionTooLarge { .. } => "definition_too_large",
            Self::TooManyRelations { .. } => "too_many_relations",
            Self::TooManyDependencies { .. } => "too_many_dependencies",
            Self::Overloaded { .. } => "overloaded",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateHandle { handle } => {
                write!(f, "a live shape has the handle {:?} already", handle.as_str())
            }
            Self::DuplicateKey { key, held_by } => write!(
                f,
                "the shape {:?} has this definition already (key {key}); use its handle, or remove it first",
                held_by.as_str()
            ),
            Self::UnknownHandle { handle } => {
                write!(f, "no live shape has the handle {handle:?}; it was removed, or it never existed here")
            }
            Self::InvalidHandle(why) => why.fmt(f),
            Self::HandleTooLong { bytes, max } => {
                write!(f, "the shape handle is {bytes} bytes long, and the limit is {max}")
            }
            Self::DefinitionTooLarge { handle, bytes, max } => write!(
                f,
                "the definition of the shape {:?} is {bytes} bytes large, and the limit is {max}",
                handle.as_str()
            ),
            Self::TooManyRelations { handle, count, max } => {
                write!(f, "the shape {:?} reads {count} tables, and the limit is {max}", handle.as_str())
            }
            Self::TooManyDependencies { handle, count, max } => write!(
                f,
                "the shape {:?} builds on {count} definitions, and the limit is {max}",
                handle.as_str()
            ),
            Self::Overloaded { retry_after } => write!(
                f,
                "as many changes wait for the disk as the bound allows; nothing is lost and reads go on: \
                 try again in {} ms",
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
