use rusqlite::{Connection, config::DbConfig};
use shape_meta_core::{Error, ErrorKind, Result};

use crate::{
    connection::settings::Settings,
    error::{failed, failed_on},
    format::files::{self, Files},
    open::{header::FileState, identified::IdentifiedDatabase, inspected::InspectedFile, integrity},
};

/// Step 3: a connection to a database that passed its checks, or to a new one. Nothing has been written.
pub(super) struct VerifiedDatabase<'a> {
    connection: Connection,
    settings: &'a Settings,
}

impl<'a> VerifiedDatabase<'a> {
    /// Opens the file through SQLite and checks it according to the options. Borrows the inspected file,
    /// because the owner lock in it must outlive the connection's writes.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the database is damaged, `Io` if the disk did not return all pages that the check needs.
    pub(super) fn verify(inspected: &'a InspectedFile<'_>) -> Result<Self> {
        match inspected.state() {
            FileState::WalWithoutDatabase => {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    "there is a WAL, but the database that it belongs to is missing or empty",
                ));
            }
            FileState::DamagedHeader => {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    "the database is damaged: its header names an unknown version of the file format",
                ));
            }
            FileState::Missing | FileState::Database => {}
        }
        let (files, settings) = (inspected.files(), inspected.settings());
        let opening = || format!("open {}", files.database().display());
        let mut connection = settings.create().map_err(|error| failed(opening())(error))?;
        if inspected.state() == FileState::Database {
            // If a check fails, closing the connection must not checkpoint the WAL into a file that may be
            // damaged.
            let keep_wal = |connection: &Connection, keep| {
                connection
                    .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep)
                    .map_err(|error| failed(opening())(error))
            };
            keep_wal(&connection, true)?;
            let database =
                IdentifiedDatabase::identify(connection, files).map_err(corrupt_if_not_a_database)?;
            check_length(database.connection(), files)?;
            integrity::check(&database, settings.options.integrity_check)?;
            connection = database.into_connection();
            keep_wal(&connection, false)?;
        }
        Ok(Self { connection, settings })
    }

    /// Opens an empty database in memory, in which there is nothing to verify.
    pub(super) fn in_memory(settings: &'a Settings) -> Result<Self> {
        let connection = settings.create().map_err(failed("open a database in memory"))?;
        Ok(Self { connection, settings })
    }

    pub(super) fn into_parts(self) -> (Connection, &'a Settings) {
        (self.connection, self.settings)
    }
}

/// Returns `Corrupt` if the file has more pages than its header says: the next checkpoint of SQLite would
/// truncate it to the size in the header.
fn check_length(connection: &Connection, files: &Files) -> Result<()> {
    let number = |name| {
        let value = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        value.map(i64::cast_unsigned).map_err(failed("read the size of the database"))
    };
    let (pages, page_size, path) = (number("page_count")?, number("page_size")?, files.database());
    let in_file = files::size(&path).map_err(failed_on("read the size of", &path))? / page_size.max(1);
    if pages >= in_file {
        return Ok(());
    }
    let message =
        format!("the database is damaged: its header says {pages} pages, and the file has {in_file}");
    Err(Error::new(ErrorKind::Corrupt, message))
}

/// Turns SQLite's "not a database" into `Corrupt`. The file begins with the magic bytes of a SQLite database,
/// so the rest of its header must be damaged.
fn corrupt_if_not_a_database(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotADatabase if std::error::Error::source(&error).is_some() => {
            Error::new(ErrorKind::Corrupt, "the database is damaged: SQLite cannot read its header")
                .with_source(error)
        }
        _ => error,
    }
}
