use std::{sync::Arc, time::Instant};

use rusqlite::Connection;
use shape_meta_core::{Observer, Result};

use crate::{
    OnCorruption, SqliteOpenReport, SqliteOptions,
    connection::settings::Settings,
    format::files::Files,
    open::{
        inspected::InspectedFile,
        locked::LockedDirectory,
        migrated::MigratedDatabase,
        owned::OwnedDatabase,
        stamped::{self, StampedDatabase},
        verified::VerifiedDatabase,
    },
    ownership::{lock::OwnerLock, opening::Opening, presence::Presence},
};

/// An open database that this store owns, and the guards of the ownership.
pub(crate) struct OpenedDatabase {
    /// The connection that becomes the writer.
    pub(crate) connection: Connection,
    /// The identities by which the store recognises the database as its own.
    pub(crate) opening: Opening,
    pub(crate) report: SqliteOpenReport,
    /// `None` for a database in memory.
    pub(crate) lock: Option<OwnerLock>,
    /// `None` for a database in memory.
    pub(crate) presence: Option<Presence>,
}

/// Opens or creates the database in the directory of `files`.
///
/// The order of the steps keeps C11 (nothing is destroyed without ownership):
///
/// 1. **Lock.** Ownership comes first, so that no later step races with another owner.
/// 2. **Inspect.** The first bytes are read without SQLite. SQLite could write to the file, or create files
///    next to it, before it is known whether the file belongs to this crate.
/// 3. **Verify.** SQLite opens the file, but must not checkpoint the WAL on close before the schema version
///    and the pages have been checked.
/// 4. **Migrate.** The first step that writes.
/// 5. **Own.** The epoch is bumped in the current schema; from then on a former owner is fenced. A database
///    with a stamp that the options refuse is refused before.
/// 6. **Stamp.** What the options say about shapes with another stamp: the first step that removes any.
///
/// If a step after the inspection finds corruption, the chain ends. With [`OnCorruption::Quarantine`] the
/// database is then rebuilt under the lock, and the chain runs once more, from the inspected file on.
pub(crate) fn open_files(
    files: &Files,
    settings: &Settings,
    observer: &Arc<dyn Observer>,
) -> Result<OpenedDatabase> {
    let locked = LockedDirectory::lock(files, settings)?;
    // Waiting for another owner is no part of the work.
    let started = Instant::now();
    let mut inspected = InspectedFile::inspect(locked)?;
    let mut quarantined = None;
    let stamped = match verify_and_own(&inspected, &settings.options) {
        Err(error) if inspected.is_corruption(&error) => match settings.options.on_corruption {
            OnCorruption::Refuse => return Err(inspected.refused(error)),
            OnCorruption::Quarantine => {
                let (rebuilt, repaired) = inspected.rebuild(error, &**observer)?;
                inspected = rebuilt;
                quarantined = Some(repaired);
                verify_and_own(&inspected, &settings.options)?
            }
        },
        stamped => stamped?,
    };
    let (connection, opening, report) = stamped.into_parts();
    let (lock, presence) = inspected.into_guards();
    let report = SqliteOpenReport { quarantined, took: started.elapsed(), ..report };
    Ok(OpenedDatabase { connection, opening, report, lock: Some(lock), presence: Some(presence) })
}

fn verify_and_own(inspected: &InspectedFile<'_>, options: &SqliteOptions) -> Result<StampedDatabase> {
    let verified = VerifiedDatabase::verify(inspected)?;
    migrate_and_own(verified, Some(inspected.lock()), options)
}

fn migrate_and_own(
    verified: VerifiedDatabase<'_>,
    lock: Option<&OwnerLock>,
    options: &SqliteOptions,
) -> Result<StampedDatabase> {
    let migrated = MigratedDatabase::migrate(verified)?;
    let plan = stamped::plan(migrated.connection(), options)?;
    StampedDatabase::stamp(OwnedDatabase::take_ownership(migrated, lock)?, plan, options)
}

/// Creates a database in memory. It takes the same steps from the verified database on: there is no directory
/// to lock and no file to inspect.
pub(crate) fn open_memory(settings: &Settings) -> Result<OpenedDatabase> {
    let started = Instant::now();
    let verified = VerifiedDatabase::in_memory(settings)?;
    let (connection, opening, report) = migrate_and_own(verified, None, &settings.options)?.into_parts();
    let report = SqliteOpenReport { took: started.elapsed(), ..report };
    Ok(OpenedDatabase { connection, opening, report, lock: None, presence: None })
}
