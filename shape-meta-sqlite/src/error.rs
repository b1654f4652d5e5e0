use std::{fmt, fs::File, io, path::Path};

use rusqlite::{ErrorCode, ffi};
use shape_meta_core::{Error, ErrorKind};

/// Converts an error of SQLite into one that says what failed, with SQLite's as its source.
pub(crate) fn failed(doing: impl fmt::Display) -> impl FnOnce(rusqlite::Error) -> Error {
    move |source| {
        let kind = kind_of(&source);
        // SQLite does not pass on the code of the operating system. So another file is opened: it fails, too.
        let cannot_open = source.sqlite_error_code() == Some(ErrorCode::CannotOpen);
        let is_out_of_files = cannot_open && File::open("/").is_err_and(|error| is_out_of_files(&error));
        let advice = if is_out_of_files { OUT_OF_FILES } else { consequence(kind) };
        Error::new(kind, format!("could not {doing}: {advice}")).with_source(source)
    }
}

/// Converts an error of the operating system into one that says what failed on which path.
pub(crate) fn failed_on(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| {
        let kind = match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::StorageFull,
            io::ErrorKind::Interrupted => ErrorKind::Interrupted,
            io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::InvalidFilename => ErrorKind::Configuration,
            _ => ErrorKind::Io,
        };
        let advice = match kind {
            _ if is_out_of_files(&source) => OUT_OF_FILES,
            ErrorKind::Configuration if source.kind() == io::ErrorKind::InvalidFilename => {
                "the path is too long; choose a shorter one"
            }
            ErrorKind::Io if source.kind() == io::ErrorKind::NotFound => {
                "a file or a directory on this path is missing; nothing has changed. Put it back, or choose another path"
            }
            ErrorKind::ReadOnly => "permission denied; give this user the right to read and write there",
            ErrorKind::Configuration => {
                "a file or a directory is in the way; move it, or choose another path"
            }
            kind => consequence(kind),
        };
        Error::new(kind, format!("could not {doing} {}: {advice}", path.display())).with_source(source)
    }
}

const OUT_OF_FILES: &str = "this process has no file descriptor left; nothing has changed. Raise the limit on open \
                            files (`ulimit -n`), or lower the connection limit";

/// Whether an error is `EMFILE` or `ENFILE`: no file descriptor is left for the process, or for the system.
fn is_out_of_files(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

/// What still holds after a damaged row, and what to do.
const ROW_ADVICE: &str = "nothing has changed. `repair` moves the database aside and carries all sound rows \
                          into a new one; so does opening the store and recovering it, unless the options say \
                          `OnCorruption::Refuse`";

/// Returns the error of a row that does not verify. `place` names the row.
pub(crate) fn damaged_row(place: &str, defect: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{place} is damaged: {defect}; {ROW_ADVICE}"))
}

/// Returns the kind of an error of SQLite. Busy, locked, unreadable and full are never corruption.
pub(crate) fn kind_of(error: &rusqlite::Error) -> ErrorKind {
    use rusqlite::Error as E;
    match error {
        E::SqliteFailure(failure, _) => kind_of_code(*failure),
        E::SqlInputError { error, .. } => kind_of_code(*error),
        E::ToSqlConversionFailure(_) => ErrorKind::Rejected,
        // A column of another type than in the schema, or a text that is not UTF-8.
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
        // The statements are constants and match the schema that the open verified. If one cannot be prepared
        // any more, another program has changed the tables.
        ErrorCode::Unknown if failure.extended_code == ffi::SQLITE_ERROR => ErrorKind::Corrupt,
        _ => ErrorKind::Io,
    }
}

/// Returns the second half of a message: what still holds, and what to do.
fn consequence(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Busy => {
            "another program held the database locked for longer than the busy time-out; nothing has \
             changed, and it can be tried again"
        }
        ErrorKind::StorageFull => {
            "the disk is full; nothing has changed. Free disk space, and it can be tried again"
        }
        ErrorKind::Io => {
            "reading or writing the file failed; nothing has changed, and it can be tried again once the \
             disk works"
        }
        ErrorKind::Interrupted => "it was interrupted; nothing has changed, and it can be tried again",
        ErrorKind::ReadOnly => {
            "the database is read-only; nothing has changed. Check the permissions, whether the file system is \
             mounted read-only, and whether something else has the name of the -wal or the -shm"
        }
        ErrorKind::Rejected => {
            "the database rejects this change permanently; nothing has changed. Remove it from the batch"
        }
        ErrorKind::Corrupt => {
            "the database is damaged; nothing has changed. `repair` moves it aside and carries all sound \
             rows into a new one; so does an open, unless the options say `OnCorruption::Refuse`"
        }
        ErrorKind::NotADatabase => {
            "the file is not a SQLite database; it was not changed. Move it away, or choose another directory"
        }
        ErrorKind::Configuration => "the path or an option is invalid",
        _ => "the store cannot do this",
    }
}

/// Returns whether a connection must not be used again after a failure of this kind. After a failed write or
/// sync SQLite's view of the file is unreliable: the connection is reopened, and the batch is applied again
/// (I6).
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

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn c9_a_process_without_file_descriptors_is_named() {
        for code in [23, 24] {
            let error = failed_on("open", Path::new("/x"))(io::Error::from_raw_os_error(code));
            assert_eq!(error.kind(), ErrorKind::Io);
            assert!(error.to_string().contains("ulimit -n"), "{error}");
        }
        let error = failed_on("open", Path::new("/x"))(io::Error::from_raw_os_error(5));
        assert!(!error.to_string().contains("ulimit"), "{error}");
    }

    #[test]
    fn c9_what_is_missing_is_no_disk_that_fails() {
        let error = failed_on("create", Path::new("/x"))(io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("missing") && !error.to_string().contains("disk"), "{error}");
    }
}
