use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind as Io, Read, Seek, Write},
    process,
};

use shape_meta_core::{Error, ErrorKind, Result};

use crate::{Mode, error::failed_on, files::Files};

/// Held by the one store that may write to the directory: a lock of the operating system, which goes
/// when the process does, however it ends.
///
/// It keeps two owners apart on one machine. The epoch that every commit checks is what holds where
/// locks do not reach, or lie (C11).
#[derive(Debug)]
pub(crate) struct OwnerLock {
    /// The file itself stays: deleting it would let two owners lock two files of the same name.
    file: File,
}

impl OwnerLock {
    pub(crate) fn acquire(files: &Files, mode: Mode) -> Result<Self> {
        let path = files.lock();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed_on("open the lock file", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(owned(&mut file, files)),
            // Some network file systems have no such locks. There SQLite's own exclusive lock on the
            // database must do, together with the epoch.
            Err(TryLockError::Error(error)) if mode == Mode::Exclusive && error.kind() == Io::Unsupported => {
            }
            Err(TryLockError::Error(error)) => return Err(failed_on("lock", &path)(error)),
        }
        // Only for the message that the next one gets; failing to write it harms nobody.
        let _ = file.set_len(0).and_then(|()| file.write_all(process::id().to_string().as_bytes()));
        Ok(Self { file })
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is just being started by this one has it too, until
        // it runs its own program, and would keep it locked so long.
        let _ = self.file.unlock();
    }
}

fn owned(file: &mut File, files: &Files) -> Error {
    let mut owner = String::new();
    let _ = file.rewind().and_then(|()| file.take(20).read_to_string(&mut owner));
    let owner = match owner.trim() {
        "" => "another process".to_owned(),
        id if id == process::id().to_string() => "another store in this process".to_owned(),
        id => format!("the process {id}"),
    };
    Error::new(
        ErrorKind::Owned,
        format!(
            "{owner} owns the database in {}; it has one owner at a time, and nothing was touched. Close \
             the other one first, or choose another directory",
            files.directory().display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c11_is_given_up_although_a_process_that_is_being_started_has_the_file_too() {
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        let files = Files::new(directory.path());
        let lock = OwnerLock::acquire(&files, Mode::Wal).expect("nobody has it");
        let inherited = lock.file.try_clone().expect("as a fork does");
        assert!(OwnerLock::acquire(&files, Mode::Wal).is_err());
        drop(lock);
        OwnerLock::acquire(&files, Mode::Wal).expect("nobody has it any more");
        drop(inherited);
    }
}
