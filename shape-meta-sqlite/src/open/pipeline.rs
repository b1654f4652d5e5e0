use std::{fs, sync::Arc, time::Instant};

use rusqlite::{Connection, TransactionBehavior, config::DbConfig};
use shape_meta_core::{Error, ErrorKind, Observer, Result, Seq, Timestamp, TrustedState};

use crate::{
    IntegrityCheck, OnCorruption, SqliteOpenReport,
    connection::settings::{self, Settings, set},
    error::{failed, failed_on},
    format::{
        files::{self, Files},
        index,
        meta::Meta,
        migrate, schema, tables,
    },
    open::{
        inspect::{self, Found},
        unread::says_unread,
    },
    ownership::{
        lock::{Locked, OwnerLock},
        owner,
        presence::Presence,
    },
    read::{last_reads::Openings, recency::Recency},
    recovery::salvage,
    write::change_log::ChangeLogSize,
};

/// A database that was found good, or made so, and is ours to write.
pub(crate) struct OpenedFiles {
    pub(crate) connection: Connection,
    pub(crate) report: SqliteOpenReport,
    /// None for a database in memory.
    pub(crate) lock: Option<OwnerLock>,
    /// Likewise.
    pub(crate) presence: Option<Presence>,
}

/// Opens or creates the database in this directory.
///
/// The order matters. First ownership, so that nothing below races with another owner. Then a look at the
/// file without SQLite, so that what is not ours stays as it is. Then SQLite, told not to write when it
/// closes until the version is known. Only then anything is changed.
pub(crate) fn open_files(
    files: &Files,
    settings: &Settings,
    observer: &Arc<dyn Observer>,
) -> Result<OpenedFiles> {
    let started = Instant::now();
    let directory = files.directory();
    fs::create_dir_all(directory).map_err(failed_on("create the directory", directory))?;
    let lock = match OwnerLock::acquire(files, settings.options.mode, settings.options.on_live_owner)? {
        Locked::Ours(lock) => lock,
        Locked::ToTakeOver => take_over(files, settings)?,
    };

    salvage::finish(files)?;
    let found = inspect::inspect(files)?;
    let presence = Presence::register(files);
    let first = match found {
        Found::LogWithoutDatabase => Err(Error::new(
            ErrorKind::Corrupt,
            "there is a write-ahead log, but the database that it belongs to is missing or empty",
        )),
        Found::Damaged => Err(Error::new(
            ErrorKind::Corrupt,
            "the database is damaged: its header names a version of the file format that there is not",
        )),
        Found::Nothing | Found::Database => open_database(files, settings, found, started),
    };
    let (connection, mut report) = match first {
        Err(error) if is_damage(found, &error) => match settings.options.on_corruption {
            OnCorruption::Refuse => return Err(refused(files, error)),
            OnCorruption::Quarantine => {
                let repaired =
                    salvage::rebuild(files, settings, error, &TrustedState::default(), None, &**observer)?;
                let (connection, mut report) = open_database(files, settings, Found::Database, started)?;
                report.quarantined = Some(repaired);
                (connection, report)
            }
        },
        other => other?,
    };
    report.took = started.elapsed();
    Ok(OpenedFiles { connection, report, lock: Some(lock), presence: Some(presence) })
}

/// Takes the turn from a live owner before anything else is done, so that all that follows is as if it were gone: what
/// it still tries to write is refused, wherever its file is moved.
fn take_over(files: &Files, settings: &Settings) -> Result<OwnerLock> {
    if inspect::inspect(files)? != Found::Database {
        return Err(Error::new(
            ErrorKind::AlreadyOpen,
            "another owner is just creating the database; nothing was touched, try again in a moment",
        ));
    }
    let _presence = Presence::register(files);
    let taking = || -> Result<OwnerLock> {
        let doing = "take the database over";
        let mut connection = settings.reopen_writer().map_err(failed(doing))?;
        // Whatever comes of this, the log is the other one's to look after.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed(doing))?;
        look(&connection, files)?;
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed(doing))?;
        Meta::bump_epoch(&transaction)?;
        // If the commit fails, the other one goes on without a lock that others see; the turn keeps them apart.
        let lock = OwnerLock::take_over(files)?;
        transaction.commit().map_err(failed(doing))?;
        Ok(lock)
    };
    taking().map_err(|error| match error.kind() {
        ErrorKind::Corrupt => Error::new(
            ErrorKind::Corrupt,
            "the database is damaged, so it cannot be taken over; nothing was touched. Repair it from its live owner, \
             or end that one and open again",
        )
        .with_source(error),
        _ => error,
    })
}

/// Creates a database in memory.
pub(crate) fn open_memory(settings: &Settings) -> Result<OpenedFiles> {
    let started = Instant::now();
    let mut connection = settings.create().map_err(failed("open a database in memory"))?;
    let report = prepare(&mut connection, settings, started)?;
    Ok(OpenedFiles { connection, report, lock: None, presence: None })
}

fn open_database(
    files: &Files,
    settings: &Settings,
    found: Found,
    started: Instant,
) -> Result<(Connection, SqliteOpenReport)> {
    let opening = || format!("open {}", files.database().display());
    let mut connection = settings.create().map_err(|error| failed(opening())(error))?;
    if found == Found::Database {
        // A connection that only came to look must not write back the log on its way out.
        let keep_log = |keep| connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep);
        keep_log(true).map_err(|error| failed(opening())(error))?;
        look(&connection, files).map_err(damage_of_a_database)?;
        is_whole(&connection, files)?;
        check(&connection, settings.options.integrity_check)?;
        keep_log(false).map_err(|error| failed(opening())(error))?;
    }
    let report = prepare(&mut connection, settings, started)?;
    Ok((connection, report))
}

/// Asks through SQLite what [`inspect`](inspect::inspect) asked of the first bytes: the log may know
/// better.
pub(crate) fn look(connection: &Connection, files: &Files) -> Result<()> {
    let reading = "read the database";
    if schema::is_empty(connection).map_err(failed(reading))?
        && schema::version(connection).map_err(failed(reading))? == 0
    {
        // The rest of a creation that was cut off.
        return Ok(());
    }
    inspect::refuse_foreign(files, schema::application_id(connection).map_err(failed(reading))?)?;
    let version = schema::version(connection).map_err(failed(reading))?;
    migrate::refuse_newer(version)?;
    if !tables::match_version(connection, version).map_err(failed(reading))? {
        let message =
            format!("the database is damaged: its tables are not those of schema version {version}");
        return Err(Error::new(ErrorKind::Corrupt, message));
    }
    Ok(())
}

/// Looks whether SQLite knows of all pages that the file has. If the size in the header is damaged it does not, and
/// would cut the file to that size with the next checkpoint. Nothing here ever makes a database shorter.
fn is_whole(connection: &Connection, files: &Files) -> Result<()> {
    let number = |name| {
        let value = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        value.map(i64::cast_unsigned).map_err(failed("read the size of the database"))
    };
    let (pages, size, path) = (number("page_count")?, number("page_size")?, files.database());
    let there = files::size(&path).map_err(failed_on("look at", &path))? / size.max(1);
    if pages >= there {
        return Ok(());
    }
    let message = format!("the database is damaged: its header says {pages} pages, and the file has {there}");
    Err(Error::new(ErrorKind::Corrupt, message))
}

/// The first bytes said that it is a SQLite database. If SQLite does not think so, it is a damaged one.
fn damage_of_a_database(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotADatabase if std::error::Error::source(&error).is_some() => {
            Error::new(ErrorKind::Corrupt, "the database is damaged: SQLite cannot read its header")
                .with_source(error)
        }
        _ => error,
    }
}

fn check(connection: &Connection, check: IntegrityCheck) -> Result<()> {
    const V1: [&str; 3] =
        ["PRAGMA quick_check(meta)", "PRAGMA quick_check(shape)", "PRAGMA quick_check(to_clean)"];
    const V2: [&str; 4] = [
        "PRAGMA quick_check(change_log)",
        "PRAGMA quick_check(last_read)",
        "PRAGMA quick_check(opening)",
        "PRAGMA quick_check(owner)",
    ];
    if schema::is_empty(connection).map_err(failed("read the database"))? {
        return Ok(());
    }
    let version = schema::version(connection).map_err(failed("read the schema version"))?;
    let questions: [&[&str]; 2] = match check {
        IntegrityCheck::Nothing => [&[], &[]],
        IntegrityCheck::Metadata if version < 2 => [&V1, &[]],
        IntegrityCheck::Metadata => [&V1, &V2],
        IntegrityCheck::Everything => [&["PRAGMA quick_check(10)"], &[]],
    };
    if check == IntegrityCheck::Nothing && version >= 2 {
        // What opening reads in any case is read before anything is written: so what cannot be read is found
        // while the files are still as they were.
        Recency::read(connection, Seq::default(), true)?;
        ChangeLogSize::read(connection)?;
    }
    for question in questions.into_iter().flatten() {
        let found = connection
            .prepare(question)
            .and_then(|mut statement| {
                statement.query([])?.mapped(|row| row.get(0)).collect::<rusqlite::Result<Vec<String>>>()
            })
            .map_err(failed("check the database"))?;
        if says_unread(&found) {
            let message = format!(
                "could not check the database, because the disk did not give all of it ({}); nothing has \
                 changed, and it can be tried again once the disk works",
                found.join("; ")
            );
            return Err(Error::new(ErrorKind::Io, message));
        }
        if found != ["ok"] {
            let message = format!("the database is damaged: {}", found.join("; "));
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
    }
    Ok(())
}

/// Brings a good file to what is wanted, and takes the next turn as its owner.
fn prepare(connection: &mut Connection, settings: &Settings, started: Instant) -> Result<SqliteOpenReport> {
    let options = &settings.options;
    let setting = "set the database up";
    let synchronous = options.durability.synchronous(options.mode);
    set(connection, "synchronous", synchronous).map_err(failed(setting))?;
    // Only heeded by a file that has no page yet.
    set(connection, "page_size", options.page_size_of_new()).map_err(failed(setting))?;
    settle_log(connection).map_err(failed("bring the log of the last owner to the disk"))?;
    let migrated_from = migrate::migrate(connection, migrate::STEPS)?;
    if settings.path.is_some() {
        // After the creation: so the main file knows from the beginning whose it is, and a database is
        // never only in the log.
        settings::set_journal_mode(connection, options.mode)?;
    }
    settings.make_writer(connection).map_err(failed(setting))?;
    let disk_indexes_before = index::ensure(connection, options.disk_indexes)?;

    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed("take ownership"))?;
    let (meta, now) = (Meta::take_ownership(&transaction)?, Timestamp::now());
    owner::note(&transaction, now)?;
    Openings::note(&transaction, meta.last_seq, now)?;
    transaction.commit().map_err(failed("take ownership"))?;
    // Looks at every table, also at those that this connection has not asked yet. Nothing depends on it,
    // and whether damage is looked for is for the check to say.
    let _ = connection.execute_batch("PRAGMA optimize = 0x10002");

    let created = migrated_from == 0;
    Ok(SqliteOpenReport {
        created,
        quarantined: None,
        migrated_from: (!created && migrated_from < migrate::CURRENT).then_some(migrated_from),
        disk_indexes_before: disk_indexes_before.filter(|_| !created),
        counts: meta.counts,
        last_seq: meta.last_seq,
        epoch: meta.epoch,
        took: started.elapsed(),
    })
}

/// Moves what a crash left in the log into the database, which syncs it anew. If a sync had failed before the
/// crash, the system shows us what it holds in memory and has lost on disk; everything that is written behind
/// that in the log would be lost with it when the power goes. Does not wait for readers, nor do anything to
/// a database without a log.
fn settle_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// Only what was a database before, and is damaged now. Busy, locked and unreadable never are.
fn is_damage(found: Found, error: &Error) -> bool {
    found != Found::Nothing && error.kind() == ErrorKind::Corrupt
}

fn refused(files: &Files, error: Error) -> Error {
    let message = format!(
        "the database {} is damaged; it is left as it is. Repair it, move it away with its -wal and -shm, or \
         open it with `OnCorruption::Quarantine`",
        files.database().display()
    );
    Error::new(ErrorKind::Corrupt, message).with_source(error)
}
