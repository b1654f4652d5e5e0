use std::{fs, path::Path};

use rusqlite::{Connection, TransactionBehavior, backup};
use shape_meta_core::{Error, ErrorKind, Result};

use super::Inspector;
use crate::{
    connection::settings::set,
    error::{failed, failed_on},
    format::{files::Files, meta::Meta},
};

/// Pages copied between two calls of `progress`.
const PAGES_PER_STEP: i32 = 1_000;

impl Inspector {
    /// Copies the database into the directory `to`, which must not hold one. The owner goes on writing
    /// meanwhile.
    ///
    /// The copy holds what was committed when the call began. It gets its final name once it is complete and
    /// synced. `progress` receives the number of copied pages, and of all pages.
    ///
    /// # Errors
    ///
    /// `Configuration` if the directory holds a database already. Otherwise an error of the kind that the
    /// disk or SQLite reports, such as `StorageFull`; then the directory holds no database.
    pub fn backup(&self, to: &Path, mut progress: impl FnMut(u64, u64)) -> Result<()> {
        fs::create_dir_all(to).map_err(failed_on("create the directory", to))?;
        let files = Files::new(to)?;
        if files.database().exists() || files.companion("-wal").exists() {
            let message = format!(
                "{} holds a database already, which stays unchanged; name an empty directory",
                to.display()
            );
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        let partial = files.companion("-backup");
        if partial.exists() {
            fs::remove_file(&partial).map_err(failed_on("remove", &partial))?;
        }
        let operation = "back up the database";
        // A read transaction keeps its snapshot. Without it, each commit of the owner would restart the copy.
        let transaction = self.connection.unchecked_transaction().map_err(failed(operation))?;
        transaction
            .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
            .map_err(failed(operation))?;
        let mut target = Connection::open(&partial).map_err(failed(operation))?;
        {
            let backup = backup::Backup::new(&transaction, &mut target).map_err(failed(operation))?;
            loop {
                let step = backup.step(PAGES_PER_STEP).map_err(failed(operation))?;
                let backup::Progress { remaining, pagecount } = backup.progress();
                let [remaining, pages] =
                    [remaining, pagecount].map(|count| u64::try_from(count).unwrap_or(0));
                progress(pages - remaining, pages);
                match step {
                    backup::StepResult::Done => break,
                    backup::StepResult::More => {}
                    _ => {
                        let message = "the backup stopped because the database is busy; the database is unchanged. \
                                       Run the backup again";
                        return Err(Error::new(ErrorKind::Busy, message));
                    }
                }
            }
        }
        mark(&mut target)?;
        target.close().map_err(|(_, error)| failed(operation)(error))?;
        fs::File::open(&partial).and_then(|file| file.sync_all()).map_err(failed_on("sync", &partial))?;
        fs::rename(&partial, files.database()).map_err(failed_on("rename", &partial))?;
        files.sync_directory()
    }
}

/// Takes the identities off the copy, so that it is another database from its next opening on (C13). A damaged
/// copy stays as it is: the repair that it needs gives it new identities.
fn mark(copy: &mut Connection) -> Result<()> {
    let doing = "mark the backup as a copy";
    // Without an index of the WAL in a file. Closing the connection moves the WAL into the copy.
    set(copy, "locking_mode", "EXCLUSIVE").map_err(failed(doing))?;
    let marked = copy
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed(doing))
        .and_then(|transaction| {
            Meta::forget_identity(&transaction)?;
            transaction.commit().map_err(failed(doing))
        });
    match marked {
        Err(error) if error.kind() != ErrorKind::Corrupt => Err(error),
        _ => Ok(()),
    }
}
