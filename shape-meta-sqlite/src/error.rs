use std::{fmt, io, path::Path};

use rusqlite::{ErrorCode, ffi};
use shape_meta_core::{Error, ErrorKind};

/// A failure of SQLite while doing this: told in the words of the store, with SQLite's as the source.
pub(crate) fn failed(doing: impl fmt::Display) -> impl FnOnce(rusqlite::Error) -> Error {
    move |source| {
        let kind = kind_of(&source);
        Error::new(kind, format!("could not {doing}: {}", consequence(kind))).with_source(source)
    }
}

/// A failure of the operating system while doing this to that path.
pub(crate) fn failed_on(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| {
        let kind = match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::StorageFull,
            io::ErrorKind::Interrupted => ErrorKind::Interrupted,
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::AlreadyExists => {
                ErrorKind::Configuration
            }
            _ => ErrorKind::Io,
        };
        let advice = match kind {
            ErrorKind::ReadOnly => {
                "the permissions do not allow it; give this user the right to read and write there"
            }
            ErrorKind::Configuration => "something else is in the way; move it, or choose another path",
            kind => consequence(kind),
        };
        Error::new(kind, format!("could not {doing} {}: {advice}", path.display())).with_source(source)
    }
}

/// A row that this crate did not write.
pub(crate) fn damaged_row(what: &str, id: i64) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the row {id} of the database is damaged: {what}; {}", consequence(ErrorKind::Corrupt)),
    )
}

/// Which kind a failure of SQLite is. Busy, locked, unreadable and full are never corruption.
pub(crate) fn kind_of(error: &rusqlite::Error) -> ErrorKind {
    use rusqlite::Error as E;
    match error {
        E::SqliteFailure(failure, _) => kind_of_code(*failure),
        E::SqlInputError { error, .. } => kind_of_code(*error),
        E::ToSqlConversionFailure(_) => ErrorKind::Rejected,
        // A column of another type than the schema says, or text that is no UTF-8.
        E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::Utf8Error(..)
        | E::InvalidColumnType(..)
        | E::QueryReturnedNoRows => ErrorKind::Corrupt,
        E::InvalidPath(_) | E::NulError(_) => ErrorKind::Configuration,
        _ => ErrorKind::Io,
    }
}

fn kind_of_code(failure: ffi::Error) -> ErrorKind {
    match failure.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            ErrorKind::Busy
        }
        ErrorCode::DiskFull => ErrorKind::StorageFull,
        ErrorCode::OperationInterrupted | ErrorCode::OperationAborted | ErrorCode::SchemaChanged => {
            ErrorKind::Interrupted
        }
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => ErrorKind::ReadOnly,
        ErrorCode::ConstraintViolation
        | ErrorCode::TypeMismatch
        | ErrorCode::TooBig
        | ErrorCode::ParameterOutOfRange => ErrorKind::Rejected,
        ErrorCode::DatabaseCorrupt => ErrorKind::Corrupt,
        ErrorCode::NotADatabase => ErrorKind::NotADatabase,
        // The statements are fixed and fit the schema that was checked at open. If one does not prepare
        // any more, somebody has changed the tables.
        ErrorCode::Unknown if failure.extended_code == ffi::SQLITE_ERROR => ErrorKind::Corrupt,
        _ => ErrorKind::Io,
    }
}

/// What still holds, and what to do: the second half of a message.
fn consequence(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Busy => {
            "another connection held the database for longer than the busy time-out; nothing has changed, \
             and it can be tried again"
        }
        ErrorKind::StorageFull => {
            "the disk is full; nothing has changed, make room and it can be tried again"
        }
        ErrorKind::Io => {
            "reading or writing the file failed; nothing has changed, and it can be tried again once the \
             disk works"
        }
        ErrorKind::Interrupted => "it was interrupted; nothing has changed, and it can be tried again",
        ErrorKind::ReadOnly => {
            "the database cannot be written to; nothing has changed, check the permissions and whether the \
             file system is mounted read-only"
        }
        ErrorKind::Rejected => {
            "the database refuses this change for good; nothing has changed, take it out of the batch"
        }
        ErrorKind::Corrupt => {
            "the database is damaged; it is left as it is. `repair` moves it aside and carries all that is sound \
             into a new one, and so does opening the store again, unless the options refuse it"
        }
        ErrorKind::NotADatabase => {
            "the file is no SQLite database; it is left as it is. Move it away, or choose another directory"
        }
        ErrorKind::Configuration => "the path or an option cannot be used",
        _ => "the store cannot do this",
    }
}

/// Whether a connection that met this failure may be used again. After a failed write or sync SQLite's
/// view of the file cannot be relied on: reopen, look, and apply again (I6).
pub(crate) fn invalidates_connection(kind: ErrorKind) -> bool {
    !matches!(
        kind,
        ErrorKind::Busy
            | ErrorKind::Interrupted
            | ErrorKind::Rejected
            | ErrorKind::Fenced
            | ErrorKind::Unsupported
            | ErrorKind::Closed
    )
}
