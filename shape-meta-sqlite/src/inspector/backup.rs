use std::{fs, path::Path};

use rusqlite::{Connection, backup};
use shape_meta_core::{Error, ErrorKind, Result};

use super::Inspector;
use crate::{
    error::{failed, failed_on},
    format::files::Files,
};

/// So many pages are copied before progress is told.
const PAGES: i32 = 1_000;

impl Inspector {
    /// Copies the database, as it is at this moment, into this directory, which must not hold one. The owner goes on
    /// meanwhile. `progress` is told how many pages are done, and of how many.
    ///
    /// The copy is whole or not there: it has another name until it is complete and synced.
    ///
    /// # Errors
    ///
    /// `Configuration` if there is a database in the directory already, and if the disk fails or is full.
    pub fn backup(&self, to: &Path, mut progress: impl FnMut(u64, u64)) -> Result<()> {
        fs::create_dir_all(to).map_err(failed_on("create the directory", to))?;
        let files = Files::new(to);
        if files.database().exists() || files.companion("-wal").exists() {
            let message = format!("there is a database in {} already; name an empty directory", to.display());
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        let making = files.companion("-backup");
        if making.exists() {
            fs::remove_file(&making).map_err(failed_on("remove", &making))?;
        }
        let doing = "back the database up";
        // What an open read transaction sees does not change, so a busy owner cannot make the copying begin anew.
        let transaction = self.connection.unchecked_transaction().map_err(failed(doing))?;
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(failed(doing))?;
        let mut target = Connection::open(&making).map_err(failed(doing))?;
        {
            let backup = backup::Backup::new(&transaction, &mut target).map_err(failed(doing))?;
            loop {
                let step = backup.step(PAGES).map_err(failed(doing))?;
                let backup::Progress { remaining, pagecount } = backup.progress();
                let [remaining, pages] =
                    [remaining, pagecount].map(|count| u64::try_from(count).unwrap_or(0));
                progress(pages - remaining, pages);
                match step {
                    backup::StepResult::Done => break,
                    backup::StepResult::More => {}
                    _ => {
                        return Err(Error::new(
                            ErrorKind::Busy,
                            "the database is busy; try the backup again",
                        ));
                    }
                }
            }
        }
        target.close().map_err(|(_, error)| failed(doing)(error))?;
        fs::File::open(&making).and_then(|file| file.sync_all()).map_err(failed_on("sync", &making))?;
        fs::rename(&making, files.database()).map_err(failed_on("rename", &making))?;
        files.sync_directory()
    }
}
