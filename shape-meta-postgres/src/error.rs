//! Failures of the server and of the network, as typed errors.

use std::{error::Error as _, fmt, io};

use shape_meta_core::{Error, ErrorKind};
use tokio_postgres::{Config, error::SqlState};

/// Converts a failure of a statement into an error that says what failed.
pub(crate) fn failed(doing: impl fmt::Display) -> impl FnOnce(tokio_postgres::Error) -> Error {
    move |source| {
        let kind = kind_of(&source);
        let says = source.as_db_error().map(|error| format!(" (the server says: {})", error.message()));
        let advice = advice(kind, source.code());
        Error::new(kind, format!("could not {doing}: {advice}{}", says.unwrap_or_default()))
            .with_source(source)
    }
}

/// Converts a failure to connect.
pub(crate) fn cannot_connect(config: &Config) -> impl FnOnce(tokio_postgres::Error) -> Error {
    let place = place(config);
    move |source| {
        let (kind, why) = match source.code() {
            Some(code) => {
                let kind = kind_of_code(code);
                (kind, advice(kind, Some(code)))
            }
            None => match io_error(&source) {
                // What the library returns for `target_session_attrs`.
                Some(error) if error.kind() == io::ErrorKind::PermissionDenied => (
                    ErrorKind::ReadOnly,
                    "no host accepts writes, as `target_session_attrs` asks; nothing has changed, and it can be \
                     tried again when one was promoted",
                ),
                // What rustls returns.
                Some(error) if error.kind() == io::ErrorKind::InvalidData => (
                    ErrorKind::Configuration,
                    "TLS failed; check the certificates, and the name of the host in the connection string",
                ),
                // The library reports what it cannot do with this connection string as a text.
                None if source.source().is_some() => (
                    ErrorKind::Configuration,
                    "the connection string does not fit the server; check user, password and `sslmode`",
                ),
                _ => (
                    ErrorKind::Io,
                    "the server does not answer; nothing has changed, and it can be tried again when the server and \
                     the network work",
                ),
            },
        };
        let says = match (source.as_db_error(), source.source()) {
            (Some(error), _) => format!(" (the server says: {})", error.message()),
            (None, Some(reason)) => format!(" ({reason})"),
            (None, None) => String::new(),
        };
        let message = format!("could not connect to {place}: {why}{says}");
        Error::new(kind, message).with_source(source)
    }
}

/// The hosts and the database, without user and password.
pub(crate) fn place(config: &Config) -> String {
    let ports = config.get_ports();
    let names: Vec<_> = config.get_hosts().iter().map(host_name).collect();
    let addresses = config.get_hostaddrs().iter().map(ToString::to_string);
    let hosts = if names.is_empty() { addresses.collect() } else { names };
    let hosts = hosts.iter().enumerate().map(|(at, host)| {
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        format!("{host}:{port}")
    });
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("database {database:?} at {}", hosts.collect::<Vec<_>>().join(", "))
}

fn host_name(host: &tokio_postgres::config::Host) -> String {
    match host {
        tokio_postgres::config::Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
    }
}

fn io_error(error: &tokio_postgres::Error) -> Option<&io::Error> {
    error.source().and_then(|source| source.downcast_ref())
}

/// Returns the code of the server.
pub(crate) fn code_of(error: &Error) -> Option<&SqlState> {
    error.source()?.downcast_ref::<tokio_postgres::Error>()?.code()
}

/// Returns the error of a connection that gave no answer in time, and is given up.
pub(crate) fn no_answer(doing: impl fmt::Display) -> Error {
    Error::new(
        ErrorKind::Io,
        format!(
            "could not {doing}: no answer came in time, so the network or the server hangs; the connection was given \
             up. It can be tried again, on a new one"
        ),
    )
}

/// Returns the error of a row that does not verify. `place` names the row.
pub(crate) fn damaged_row(place: &str, defect: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "{place} is damaged: {defect}; nothing has changed, and other rows can be read. Restore it from a backup, \
             or remove the shape"
        ),
    )
}

/// Returns the kind of a failure.
pub(crate) fn kind_of(error: &tokio_postgres::Error) -> ErrorKind {
    match error.code() {
        Some(code) => kind_of_code(code),
        // Closed, reset, or refused: no failure of a statement has no code.
        None => ErrorKind::Io,
    }
}

fn kind_of_code(code: &SqlState) -> ErrorKind {
    match *code {
        SqlState::TOO_MANY_CONNECTIONS | SqlState::LOCK_NOT_AVAILABLE => ErrorKind::Busy,
        SqlState::DISK_FULL => ErrorKind::StorageFull,
        SqlState::READ_ONLY_SQL_TRANSACTION => ErrorKind::ReadOnly,
        SqlState::QUERY_CANCELED | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => ErrorKind::Interrupted,
        SqlState::INSUFFICIENT_PRIVILEGE => ErrorKind::AccessDenied,
        SqlState::INVALID_CATALOG_NAME | SqlState::DATABASE_DROPPED => ErrorKind::NotFound,
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => ErrorKind::Corrupt,
        // The statements are constants and match the schema that the open found. If one does not fit any
        // more, another program has changed the tables.
        SqlState::UNDEFINED_TABLE
        | SqlState::UNDEFINED_COLUMN
        | SqlState::UNDEFINED_FUNCTION
        | SqlState::INVALID_SCHEMA_NAME
        | SqlState::DATATYPE_MISMATCH
        | SqlState::NOT_NULL_VIOLATION
        | SqlState::WRONG_OBJECT_TYPE => ErrorKind::Corrupt,
        // A prepared statement that another program's change of the tables has invalidated: the next
        // connection prepares it again.
        SqlState::FEATURE_NOT_SUPPORTED | SqlState::INVALID_SQL_STATEMENT_NAME => ErrorKind::Interrupted,
        _ => match code.code().as_bytes() {
            [b'2', b'8', ..] => ErrorKind::AccessDenied,
            // A rollback that the server asks for, such as a deadlock.
            [b'4', b'0', ..] => ErrorKind::Interrupted,
            // The data, a constraint, or a limit of the server.
            [b'2', b'2' | b'3', ..] | [b'5', b'4', ..] => ErrorKind::Rejected,
            _ => ErrorKind::Io,
        },
    }
}

/// Whether a connection must not be used again after this failure.
pub(crate) fn breaks_connection(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        None => true,
        Some(code) => {
            let ends_it = [
                SqlState::FEATURE_NOT_SUPPORTED,
                SqlState::INVALID_SQL_STATEMENT_NAME,
                SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            ];
            ends_it.contains(code)
                || matches!(
                    code.code().as_bytes(),
                    [b'0', b'8', ..] | [b'5', b'7', b'P', ..] | [b'X', b'X', ..]
                )
        }
    }
}

/// Returns the second half of a message: what still holds, and what to do.
fn advice(kind: ErrorKind, code: Option<&SqlState>) -> &'static str {
    let is = |state: &SqlState| code == Some(state);
    match kind {
        ErrorKind::Busy if is(&SqlState::TOO_MANY_CONNECTIONS) => {
            "the server has no connection left; nothing has changed, and it can be tried again. Raise its \
             `max_connections`, or lower that of the pools"
        }
        ErrorKind::Busy => {
            "another transaction held a lock for longer than the lock time-out; nothing has changed, and it can be \
             tried again"
        }
        ErrorKind::StorageFull => {
            "the disk of the server is full; nothing has changed. Free disk space there, and it can be tried again"
        }
        ErrorKind::ReadOnly => {
            "the server accepts no writes, as a standby server does; nothing has changed, and it can be tried again \
             when it was promoted. Name all hosts in the connection string, with \
             `target_session_attrs=read-write`"
        }
        ErrorKind::Interrupted if is(&SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT) => {
            "the server received nothing for longer than the transaction time-out, and rolled it back; nothing has \
             changed, and it can be tried again"
        }
        ErrorKind::Interrupted => {
            "the server interrupted it; nothing has changed, and it can be tried again. If the statement time-out \
             was the reason, raise it, or make batches smaller"
        }
        ErrorKind::AccessDenied if is(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            "the user lacks a privilege; nothing has changed, and it can be tried again when it was granted"
        }
        ErrorKind::AccessDenied => {
            "the server refuses the login; nothing has changed, and it can be tried again. Check the user, the \
             password, whether the server requires TLS, and its pg_hba.conf"
        }
        ErrorKind::NotFound => "there is no such database; create it, or name another one",
        ErrorKind::Corrupt => {
            "the tables are damaged, or another program has changed them; nothing was written. Restore them from a \
             backup, or choose another schema"
        }
        ErrorKind::Rejected => {
            "the server rejects this change permanently; nothing has changed. Remove it from the batch"
        }
        _ => {
            "the server or the connection to it failed; it can be tried again when they work, and what was \
             committed is safe"
        }
    }
}
