use std::{env, fs::OpenOptions, io, path::Path};

use rusqlite::{Connection, OpenFlags};
use shape_meta_core::{Error, ErrorKind, Result};

use super::temporary::Temporary;
use crate::{
    error::{failed, failed_on},
    format::files::{self, Files},
    ownership::{
        lock::{SharedAttempt, SharedLock},
        presence::KeptFile,
    },
};

/// Opens a private copy of a database that cannot be read in its place, because reading would have to change
/// it first: to roll back a journal, or to create the index of the WAL in a directory that is not writable.
///
/// The files are copied under the owner's lock, so nothing writes them meanwhile. The copy is readable for
/// this user alone, and has lost its name when this returns: it is gone when the connection is closed,
/// however the process ends. On systems that do not delete open files the [`Temporary`] deletes it after the
/// connection.
///
/// # Errors
///
/// `Busy` if an owner is alive, `StorageFull` and others if the copy fails.
pub(super) fn open(files: &Files) -> Result<(Connection, Temporary)> {
    let lock = match SharedLock::attempt(files) {
        Ok(SharedAttempt::Acquired(lock)) => Some(lock),
        Ok(SharedAttempt::NoLockFile) => None,
        Ok(SharedAttempt::Owned(owner)) => return Err(owned(files, &owner)),
        Err(error) => {
            let path = files.lock();
            let message = format!(
                "the database in {} can only be read from a copy, which needs the lock {}, and that cannot be taken; \
                 nothing was changed. Run the command as the user of the owner, or let an owner open the database",
                files.directory().display(),
                path.display()
            );
            let kind = failed_on("lock", &path)(io::Error::from(error.kind())).kind();
            return Err(Error::new(kind, message).with_source(error));
        }
    };
    let directory = Temporary::create(&env::temp_dir(), "shape-meta-copy")?;
    let copy = Files::new(directory.path())?;
    for suffix in ["", "-wal", "-journal"] {
        copy_file(&files.companion(suffix), &copy.companion(suffix))?;
    }
    // Without a lock file there was no owner when the copy began. An owner that came makes one first.
    if lock.is_none() && files::exists(&files.lock())? {
        return Err(owned(files, "another process"));
    }
    drop(lock);

    let operation = "read a copy of the database";
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(copy.database(), flags).map_err(failed(operation))?;
    // The copy is whole in one file after this, so the connection needs no name any more.
    connection
        .pragma_update(None, "synchronous", "OFF")
        .and_then(|()| connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(())))
        .and_then(|()| connection.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(())))
        .map_err(failed(operation))?;
    directory.delete_early();
    Ok((connection, directory))
}

fn owned(files: &Files, owner: &str) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!(
            "the database in {} cannot be read next to its owner: {owner} owns it; nothing was changed. Run the command \
             as the user of the owner, or stop the owner first",
            files.directory().display()
        ),
    )
}

/// Copies a file, if it exists, to a new file that only this user can read. It is no link: those are refused.
fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let found = files::if_present(KeptFile::open(from)).map_err(failed_on("read", from))?;
    let Some(source) = found else { return Ok(()) };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut target = options.open(to).map_err(failed_on("create", to))?;
    io::copy(&mut &*source, &mut target).map_err(failed_on("copy", from))?;
    Ok(())
}
