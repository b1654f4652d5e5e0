use rusqlite::Connection;
use shape_meta_core::{Error, ErrorKind, Result};

use crate::{
    error::failed,
    format::{files::Files, migrate, schema, tables},
    open::header,
};

/// A connection to a database of this crate, with the tables of a schema version that this version can read.
///
/// Repeats the checks of [`header::inspect`] through SQLite, because the WAL or a journal may contain a newer
/// first page.
pub(crate) struct IdentifiedDatabase {
    connection: Connection,
    version: u32,
}

impl IdentifiedDatabase {
    /// Reads the application id, the schema version and the texts of the tables. Changes nothing.
    ///
    /// # Errors
    ///
    /// `NotADatabase`, `UnsupportedSchema`, or `Corrupt` if the tables are not those of the version.
    pub(crate) fn identify(connection: Connection, files: &Files) -> Result<Self> {
        let doing = "read the database";
        let is_empty = schema::is_empty(&connection).map_err(failed(doing))?;
        let version = schema::version(&connection).map_err(failed(doing))?;
        if !(is_empty && version == 0) {
            header::refuse_foreign(files, schema::application_id(&connection).map_err(failed(doing))?)?;
            migrate::refuse_newer(version)?;
            if !tables::match_version(&connection, version).map_err(failed(doing))? {
                let message =
                    format!("the database is damaged: its tables are not those of schema version {version}");
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
        }
        Ok(Self { connection, version })
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns the schema version; 0 if the creation of the database was interrupted before its first table.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }
}
