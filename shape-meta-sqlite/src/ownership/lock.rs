use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{ErrorKind as Io, Read, Seek, Write},
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant},
};

use shape_meta_core::{Error, ErrorKind, Result};

use crate::{Mode, OnLiveOwner, error::failed_on, format::files::Files, ownership::file_id::FileId};

/// Held by the one store that may write to the directory: a lock of the operating system, which goes
/// when the process does, however it ends.
///
/// It keeps two owners apart on one machine. The epoch that every commit checks is what holds where
/// locks do not reach, or lie (C11).
#[derive(Debug)]
pub(crate) struct OwnerLock {
    /// The file stays when the lock goes: deleting it would let two owners lock two files of the same name.
    /// Who takes over puts a file of its own in its place, which is locked already.
    file: File,
    path: PathBuf,
}

/// How it stands about the lock of a directory.
pub(crate) enum LockAttempt {
    /// It is ours.
    Acquired(OwnerLock),
    /// Somebody else has it, and is to be taken over.
    MustFence,
}

/// How often a live owner is looked at while its end is waited for.
const LOOK: Duration = Duration::from_millis(10);

impl OwnerLock {
    pub(crate) fn acquire(files: &Files, mode: Mode, on_live_owner: OnLiveOwner) -> Result<LockAttempt> {
        let path = files.lock();
        let begun = Instant::now();
        loop {
            let mut file = open(OpenOptions::new().create(true), &path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => match on_live_owner {
                    OnLiveOwner::Fence => return Ok(LockAttempt::MustFence),
                    OnLiveOwner::Wait(longest) if begun.elapsed() < longest => {
                        thread::sleep(LOOK.min(longest));
                        continue;
                    }
                    OnLiveOwner::Wait(_) | OnLiveOwner::Fail => return Err(owned(&mut file, files)),
                },
                // Some network file systems have no such locks. There SQLite's own exclusive lock on the
                // database must do, together with the epoch.
                Err(TryLockError::Error(error))
                    if mode == Mode::Exclusive && error.kind() == Io::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(failed_on("lock", &path)(error)),
            }
            let lock = Self { file, path: path.clone() };
            // If somebody has taken over in between, this is the lock of a file that has no name any more.
            if lock.is_current() {
                lock.sign();
                return Ok(LockAttempt::Acquired(lock));
            }
        }
    }

    /// Puts a lock of our own in the place of that of a live owner. Only in the transaction that takes the
    /// turn from it: so of several that do this, the last one has the turn and the lock.
    pub(crate) fn take_over(files: &Files) -> Result<Self> {
        let path = files.lock();
        let beside = files.lock_of_process(process::id());
        let file = open(OpenOptions::new().create(true), &beside)?;
        file.try_lock().map_err(|error| failed_on("lock", &beside)(error.into()))?;
        let lock = Self { file, path };
        lock.sign();
        fs::rename(&beside, &lock.path).map_err(failed_on("put a lock of our own at", &lock.path))?;
        Ok(lock)
    }

    /// Whether nobody has taken over.
    pub(crate) fn is_current(&self) -> bool {
        match (FileId::of(&self.file), FileId::at(&self.path)) {
            (Ok(ours), Ok(there)) => ours == there,
            _ => false,
        }
    }

    /// Only for the message that the next one gets; failing to write it harms nobody.
    fn sign(&self) {
        let mut file = &self.file;
        let _ = file.set_len(0).and_then(|()| file.write_all(process::id().to_string().as_bytes()));
    }
}

fn open(options: &mut OpenOptions, path: &Path) -> Result<File> {
    options.read(true).write(true).truncate(false).open(path).map_err(failed_on("open the lock file", path))
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
        ErrorKind::AlreadyOpen,
        format!(
            "{owner} owns the database in {}; it has one owner at a time, and nothing was touched. Close \
             the other one first (or wait for it, or take over: `OnLiveOwner`), or choose another directory",
            files.directory().display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acquire(files: &Files, on_live_owner: OnLiveOwner) -> Result<LockAttempt> {
        OwnerLock::acquire(files, Mode::Wal, on_live_owner)
    }

    fn ours(locked: LockAttempt) -> OwnerLock {
        match locked {
            LockAttempt::Acquired(lock) => lock,
            LockAttempt::MustFence => panic!("nobody has it"),
        }
    }

    #[test]
    fn c11_is_given_up_although_a_process_that_is_being_started_has_the_file_too() {
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        let files = Files::new(directory.path());
        let lock = ours(acquire(&files, OnLiveOwner::Fail).expect("nobody has it"));
        let inherited = lock.file.try_clone().expect("as a fork does");
        assert!(acquire(&files, OnLiveOwner::Fail).is_err());
        drop(lock);
        ours(acquire(&files, OnLiveOwner::Fail).expect("nobody has it any more"));
        drop(inherited);
    }

    #[test]
    fn c11_is_waited_for_no_longer_than_allowed() {
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        let files = Files::new(directory.path());
        let lock = ours(acquire(&files, OnLiveOwner::Fail).expect("nobody has it"));
        let wait = OnLiveOwner::Wait(Duration::from_millis(20));
        assert_eq!(acquire(&files, wait).err().map(|error| error.kind()), Some(ErrorKind::AlreadyOpen));
        thread::scope(|scope| {
            let waiting =
                scope.spawn(|| acquire(&files, OnLiveOwner::Wait(Duration::from_secs(60))).map(ours));
            drop(lock);
            assert!(waiting.join().expect("no panic").expect("it is free now").is_current());
        });
    }

    #[test]
    fn c11_who_takes_over_has_it_and_the_other_one_knows() {
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        let files = Files::new(directory.path());
        let first = ours(acquire(&files, OnLiveOwner::Fail).expect("nobody has it"));
        assert!(matches!(acquire(&files, OnLiveOwner::Fence), Ok(LockAttempt::MustFence)));
        assert!(first.is_current(), "not before the turn is taken");
        let second = OwnerLock::take_over(&files).expect("it can");
        assert_eq!([first.is_current(), second.is_current()], [false, true]);
        drop(first);
        assert!(acquire(&files, OnLiveOwner::Fail).is_err(), "that the first one ends changes nothing");
        drop(second);
        ours(acquire(&files, OnLiveOwner::Fence).expect("nobody has it any more"));
    }
}
