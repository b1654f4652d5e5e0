use rusqlite::Connection;
use shape_meta_core::Result;

use crate::{
    DiskIndexes, Mode,
    connection::settings::{self, set},
    error::failed,
    format::{index, migrate, schema},
    open::verified::VerifiedDatabase,
};

/// Step 4: a database of the current schema version, in the wanted journal mode and with the wanted index
/// tables. Its connection is configured as the writer.
pub(super) struct MigratedDatabase {
    connection: Connection,
    version_before: u32,
    disk_indexes_before: Option<DiskIndexes>,
}

impl MigratedDatabase {
    /// Creates or migrates the tables. Each step is a transaction of its own: a crash leaves a consistent
    /// database, and the next open continues with the step that is missing.
    pub(super) fn migrate(verified: VerifiedDatabase<'_>) -> Result<Self> {
        let (mut connection, settings) = verified.into_parts();
        let options = &settings.options;
        let doing = "set the database up";
        let synchronous = options.durability.synchronous(options.mode);
        set(&connection, "synchronous", synchronous).map_err(failed(doing))?;
        // SQLite applies the page size only while the file has no page.
        set(&connection, "page_size", options.page_size_of_new()).map_err(failed(doing))?;
        checkpoint_old_wal(&connection).map_err(failed("checkpoint the WAL of the last owner"))?;
        if settings.path.is_some() && options.mode == Mode::Exclusive {
            settings::delete_old_journal(&connection)
                .map_err(failed("delete the journal of the last owner"))?;
        }
        // Before the migration, which may drop the tables to have them built anew.
        let had = schema::disk_indexes(&connection).map_err(failed(doing))?;
        let version_before = migrate::migrate(&mut connection, migrate::STEPS)?;
        if settings.path.is_some() {
            // The journal mode is set after the creation, so that the tables and the application id of a new
            // database are in the main file and never only in the WAL.
            settings::set_journal_mode(&connection, options.mode)?;
        }
        settings.make_writer(&connection).map_err(failed(doing))?;
        index::ensure(&mut connection, options.disk_indexes)?;
        let disk_indexes_before = Some(had).filter(|had| *had != options.disk_indexes);
        Ok(Self { connection, version_before, disk_indexes_before })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns the connection, the schema version before the open, and the former index tables if they were
    /// built or dropped.
    pub(super) fn into_parts(self) -> (Connection, u32, Option<DiskIndexes>) {
        (self.connection, self.version_before, self.disk_indexes_before)
    }
}

/// Checkpoints the WAL that a crash left, which syncs it again. If a sync had failed before the crash, the
/// operating system may still serve frames from memory that are not on disk. A power loss would lose them and
/// all later frames. Does not wait for readers, and does nothing to a database without a WAL.
fn checkpoint_old_wal(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}
