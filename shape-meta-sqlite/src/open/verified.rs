use rusqlite::{Connection, config::DbConfig};
use shape_meta_core::{Error, ErrorKind, Result};

use crate::{
    IntegrityCheck,
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
                    "the database is damaged: its first bytes are not those of a database of ours, but the rest is",
                ));
            }
            FileState::Missing | FileState::Database | FileState::Doubtful => {}
        }
        let (files, settings) = (inspected.files(), inspected.settings());
        let opening = || format!("open {}", files.database().display());
        let mut connection = settings.create().map_err(|error| failed(opening())(error))?;
        if inspected.state() != FileState::Missing {
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
            let is_doubtful =
                inspected.state() == FileState::Doubtful || has_doubtful_size(database.connection(), files)?;
            let check = match is_doubtful {
                true => IntegrityCheck::Everything,
                false => settings.options.integrity_check,
            };
            integrity::check(&database, check)?;
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

/// Whether the header contradicts the file, so that all pages must be checked to find out whether it is
/// damaged:
///
/// - The file has more pages than the header says. The next checkpoint of SQLite would truncate it. An
///   operator's `VACUUM` also leaves this state, if its process is killed before it truncates the file. The
///   check finds whether a page that would be truncated is in use.
/// - The database has pointer maps, which this crate never creates; an operator may. If the header is wrong,
///   SQLite would write pointer maps over pages in use.
fn has_doubtful_size(connection: &Connection, files: &Files) -> Result<bool> {
    let number = |name| {
        let value = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        value.map(i64::cast_unsigned).map_err(failed("read the size of the database"))
    };
    let (pages, page_size, path) = (number("page_count")?, number("page_size")?, files.database());
    let in_file = files::size(&path).map_err(failed_on("read the size of", &path))? / page_size.max(1);
    Ok(pages < in_file || number("auto_vacuum")? != 0)
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
