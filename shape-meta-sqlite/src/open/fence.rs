use rusqlite::{TransactionBehavior, config::DbConfig};
use shape_meta_core::{Error, ErrorKind, Result};

use crate::{
    connection::settings::Settings,
    error::failed,
    format::{files::Files, meta::Meta},
    open::{
        header::{self, FileState},
        identified::IdentifiedDatabase,
    },
    ownership::{
        lock::{self, OwnerLock},
        presence::Presence,
        witness::Witness,
    },
};

/// Fences a live owner: bumps the epoch and replaces its lock file, before anything else is read or written.
///
/// From then on the former owner's commits fail in their transaction, even if its file was moved. The open
/// continues as if that owner were gone.
///
/// # Errors
///
/// `AlreadyOpen` if the other owner is just creating the database, `Corrupt` if the epoch cannot be read or
/// written: a damaged database is not moved aside under a live owner (C11).
pub(super) fn take_over(files: &Files, settings: &Settings) -> Result<OwnerLock> {
    match header::inspect(files)? {
        FileState::Database | FileState::Doubtful => {}
        FileState::DamagedHeader => return Err(damaged()),
        FileState::Missing | FileState::WalWithoutDatabase => {
            return Err(Error::new(
                ErrorKind::AlreadyOpen,
                "could not take the database over: another owner is just creating it; nothing was changed, try \
             again in a moment",
            ));
        }
    }
    let _presence = Presence::register(files);
    bump_epoch(files, settings).map_err(|error| match error.kind() {
        ErrorKind::Corrupt => damaged().with_source(error),
        ErrorKind::Busy => Error::new(
            ErrorKind::Busy,
            format!(
                "could not take the database in {} over: its live owner{} holds the write lock of SQLite, because it is \
                 stopped or hangs inside a commit; nothing was changed. End that process, and open again",
                files.directory().display(),
                lock::owner_of(files).map_or(String::new(), |owner| format!(" ({owner})"))
            ),
        )
        .with_source(error),
        _ => error,
    })
}

fn damaged() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "could not take the database over, because it is damaged; nothing was changed. Let its live owner \
         repair it, or end that process and open again",
    )
}

fn bump_epoch(files: &Files, settings: &Settings) -> Result<OwnerLock> {
    let doing = "take the database over";
    let connection = settings.reopen_writer().map_err(failed(doing))?;
    // With any outcome, closing this connection must not checkpoint the WAL, which the other owner uses.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed(doing))?;
    let mut connection = IdentifiedDatabase::identify(connection, files)?.into_connection();
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed(doing))?;
    // Earlier versions have no identities, and nothing that depends on the witness.
    let before = Meta::read(&transaction).ok();
    let witness = OwnerLock::witness_of_owner(files)
        .filter(|witness| before.is_some_and(|before| witness.vouches_for(&before)));
    Meta::fence(&transaction)?;
    let fenced = Meta::read(&transaction)?;
    transaction.commit().map_err(failed(doing))?;

    // The lock file is replaced once the commit has succeeded: otherwise a failed commit would leave the
    // other owner alive without its lock. SQLite lets one writer in at a time, so inside of a second
    // transaction, which writes nothing, of several processes that fence at once the last one has both epoch
    // and lock.
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed("lock the database after its owner was fenced"))?;
    if Meta::read(&transaction)? != fenced {
        return Err(Error::new(
            ErrorKind::AlreadyOpen,
            "another process has taken the database over at the same time, and owns it now; this one has written \
             nothing but the fence of the former owner. Open it again to take it over from there",
        ));
    }
    // The fence is an opening: what the lock file said of the one before it holds for it, too.
    let witness = witness.map(|witness| Witness { openings: [fenced.opening, None], ..witness });
    OwnerLock::take_over(files, witness)
}
