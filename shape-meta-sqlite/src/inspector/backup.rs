use std::{fs, io, ops::ControlFlow, path::Path};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, backup};
use shape_meta_core::{Error, ErrorKind, Result};

use super::{Inspector, open, snapshot::Snapshot, temporary::Temporary};
use crate::{
    connection::settings::set,
    error::{failed, failed_on},
    format::{
        files::{self, COMPANIONS, Files},
        meta::Meta,
    },
    ownership::file_id::FileId,
};

/// Pages copied between two calls of `progress`.
const PAGES_PER_STEP: i32 = 1_000;

impl Inspector {
    /// Copies the database into the directory `to`, which must not hold one. The owner goes on writing
    /// meanwhile.
    ///
    /// The copy holds what was committed when the call began, and has the owner and the mode of the database.
    /// It is made under another name, which no other backup has. After it is complete, checked and synced, it
    /// gets its final name, and replaces nothing. `progress` receives the number of copied pages, and of all
    /// pages.
    ///
    /// # Errors
    ///
    /// `Configuration` if the directory holds a database already. `Busy` if the database was replaced
    /// meanwhile. Otherwise an error of the kind that the disk or SQLite reports, such as `StorageFull`. In
    /// each case the directory holds what it held before.
    ///
    /// A process that is killed leaves the unfinished copy, in a directory `shape-meta.sqlite3-backup-*`. On
    /// a file system without hard links it can also leave an empty file with the final name, if it is killed
    /// in the last step. Delete both; an empty file holds no backup.
    pub fn backup(&self, to: &Path, mut progress: impl FnMut(u64, u64)) -> Result<()> {
        back_up(&self.connection, Some(&self.files), to, |BackupProgress { copied, total }| {
            progress(copied, total);
            ControlFlow::Continue(())
        })
    }
}

/// How far a backup has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupProgress {
    /// The number of pages that are copied.
    pub copied: u64,
    /// The number of all pages.
    pub total: u64,
}

/// Copies the database of this connection, which has these files, into the directory `to`; see
/// [`Inspector::backup`]. Ends without a copy if `progress` returns `Break`.
pub(crate) fn back_up(
    connection: &Connection,
    source: Option<&Files>,
    to: &Path,
    progress: impl FnMut(BackupProgress) -> ControlFlow<()>,
) -> Result<()> {
    let file = || source.map(open::source).transpose();
    let before = file()?;
    fs::create_dir_all(to).map_err(failed_on("create the directory", to))?;
    let target = Files::new(to)?;
    for path in [target.database(), target.salvaged()]
        .into_iter()
        .chain(COMPANIONS.map(|suffix| target.companion(suffix)))
    {
        if files::exists(&path)? {
            return Err(taken(&target));
        }
    }
    // SQLite's own files of the unfinished copy are in there, too.
    let unfinished = Temporary::create(target.directory(), "shape-meta.sqlite3-backup")?;
    let copy = Files::new(unfinished.path())?.database();
    // Opened before SQLite has it, and closed after: a close ends the locks of SQLite.
    let file_of_copy = files::create_private(&copy).map_err(failed_on("create", &copy))?;
    copy_pages(connection, &copy, progress)?;
    if let Some(source) = source {
        files::keep_owner_and_mode(&source.database(), &file_of_copy)
            .map_err(failed_on("set the owner and the mode of", &copy))?;
    }
    file_of_copy.sync_all().map_err(failed_on("sync", &copy))?;
    check_unswapped(&file_of_copy, &copy)?;
    if file()? != before {
        return Err(open::replaced());
    }
    publish(&copy, &target)?;
    drop(unfinished);
    target.sync_directory()
}

fn copy_pages(
    connection: &Connection,
    copy: &Path,
    mut progress: impl FnMut(BackupProgress) -> ControlFlow<()>,
) -> Result<()> {
    let operation = "back up the database";
    // A read transaction keeps its snapshot. Without it, each commit of the owner would restart the copy.
    let transaction = Snapshot::of(connection, operation)?;
    transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(failed(operation))?;
    let resolved = files::resolved(copy).map_err(failed_on("resolve the path of", copy))?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut target = Connection::open_with_flags(resolved, flags).map_err(failed(operation))?;
    {
        let backup = backup::Backup::new(&transaction, &mut target).map_err(failed(operation))?;
        loop {
            let step = backup.step(PAGES_PER_STEP).map_err(failed(operation))?;
            let backup::Progress { remaining, pagecount } = backup.progress();
            let [remaining, total] = [remaining, pagecount].map(|count| u64::try_from(count).unwrap_or(0));
            let is_cancelled = progress(BackupProgress { copied: total - remaining, total }).is_break();
            match step {
                backup::StepResult::Done => break,
                _ if is_cancelled => {
                    let message = "the backup was cancelled by its caller; it left no copy, and the database is \
                                   unchanged";
                    return Err(Error::new(ErrorKind::Interrupted, message));
                }
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
    target.close().map_err(|(_, error)| failed(operation)(error))
}

/// Returns an error if another program has put another file in the place of the copy.
fn check_unswapped(file: &fs::File, path: &Path) -> Result<()> {
    match (FileId::of(file), FileId::of_name(path)) {
        (Ok(written), Ok(named)) if written == named => Ok(()),
        _ => Err(Error::new(
            ErrorKind::Io,
            format!(
                "another program has replaced {} while it was written; the copy is deleted, and the database is \
                 unchanged. Back up into a directory that no other user can change",
                path.display()
            ),
        )),
    }
}

/// Gives a complete copy the name of the database in `target`. Replaces nothing, even if another process
/// makes a database or a backup there at the same time.
fn publish(copy: &Path, target: &Files) -> Result<()> {
    match fs::hard_link(copy, target.database()) {
        // The temporary directory is deleted with the other name of the file.
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(taken(target)),
        // A file system without hard links.
        Err(_) => rename_to_free_name(copy, target),
    }
}

/// The same where a file has one name alone.
fn rename_to_free_name(copy: &Path, target: &Files) -> Result<()> {
    let database = target.database();
    let name = Temporary::reserve(&database).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(target),
        _ => failed_on("create", &database)(error),
    })?;
    name.become_file(copy).map_err(failed_on("rename", copy))
}

fn taken(target: &Files) -> Error {
    let message = format!(
        "{} holds a database already, which stays unchanged; name an empty directory",
        target.directory().display()
    );
    Error::new(ErrorKind::Configuration, message)
}

/// Takes the identities off the copy, so that it is another database from its next opening on (C13). A
/// damaged copy stays as it is: the repair that it needs gives it new identities.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::files::FailingFiles;

    #[test]
    fn c11_a_backup_without_hard_links_leaves_no_empty_file() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let target = Files::new(directory.path()).expect("an absolute path");
        let copy = directory.path().join("copy");
        fs::write(&copy, "a database").expect("writes");
        let failing = FailingFiles { after: 0, failures: 1, error: io::ErrorKind::PermissionDenied };
        let (outcome, has_failed) = failing.during(|| rename_to_free_name(&copy, &target));
        assert!(has_failed);
        assert_eq!(outcome.expect_err("the rename fails").kind(), ErrorKind::ReadOnly);
        assert!(copy.exists() && !target.database().exists());

        rename_to_free_name(&copy, &target).expect("the disk works");
        let read = || fs::read_to_string(target.database()).expect("reads");
        assert_eq!(read(), "a database", "what is complete is not deleted");
        fs::write(&copy, "another").expect("writes");
        let error = rename_to_free_name(&copy, &target).expect_err("the name is taken");
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert_eq!(read(), "a database");
    }
}
