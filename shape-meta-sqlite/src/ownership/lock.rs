use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{ErrorKind as Io, Read, Seek, Write},
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant},
};

use shape_meta_core::{Error, ErrorKind, Result};

use crate::{Mode, OnLiveOwner, error::failed_on, format::files::Files, ownership::file_id::FileId};

/// The lock of the store that owns the directory: a file lock of the operating system, which is released when
/// the process ends, however it ends.
///
/// It keeps two owners apart on one machine. Where locks do not reach or do not work, the epoch that every
/// commit checks does (C11).
#[derive(Debug)]
pub(crate) struct OwnerLock {
    /// The file is not deleted with the lock: two owners could then lock two files of the same name. A
    /// take-over replaces it by a file that is locked already.
    file: File,
    path: PathBuf,
}

/// The result of an attempt to take the lock.
pub(crate) enum LockAttempt {
    /// The lock is ours.
    Acquired(OwnerLock),
    /// A live owner has it, and the options say to fence that owner.
    MustFence,
}

/// The interval between attempts while waiting for a live owner to end.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

impl OwnerLock {
    /// Takes the lock. Waits for a live owner if `on_live_owner` says so.
    ///
    /// # Errors
    ///
    /// `AlreadyOpen` if a live owner has it, and the kinds of a file system that fails.
    pub(crate) fn acquire(files: &Files, mode: Mode, on_live_owner: OnLiveOwner) -> Result<LockAttempt> {
        let path = files.lock();
        let started = Instant::now();
        loop {
            let mut file = open(OpenOptions::new().create(true), &path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => match on_live_owner {
                    OnLiveOwner::Fence => return Ok(LockAttempt::MustFence),
                    OnLiveOwner::Wait(longest) if started.elapsed() < longest => {
                        thread::sleep(RETRY_INTERVAL.min(longest));
                        continue;
                    }
                    OnLiveOwner::Wait(_) | OnLiveOwner::Fail => return Err(already_open(&mut file, files)),
                },
                // Some network file systems have no file locks. There SQLite's own exclusive lock on the
                // database and the epoch keep owners apart.
                Err(TryLockError::Error(error))
                    if mode == Mode::Exclusive && error.kind() == Io::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(failed_on("lock", &path)(error)),
            }
            let lock = Self { file, path: path.clone() };
            // If another process has taken over meanwhile, this locked file has lost its name.
            if lock.is_current() {
                lock.write_process_id();
                return Ok(LockAttempt::Acquired(lock));
            }
        }
    }

    /// Replaces the lock file of a live owner by one that this process has locked. Must be called in the
    /// transaction that bumps the epoch: of several processes that take over at once, the last one then has
    /// epoch and lock.
    pub(crate) fn take_over(files: &Files) -> Result<Self> {
        let path = files.lock();
        let ours = files.lock_of_process(process::id());
        let file = open(OpenOptions::new().create(true), &ours)?;
        file.try_lock().map_err(|error| failed_on("lock", &ours)(error.into()))?;
        let lock = Self { file, path };
        lock.write_process_id();
        fs::rename(&ours, &lock.path).map_err(failed_on("replace the lock file", &lock.path))?;
        Ok(lock)
    }

    /// Whether this is still the lock of the directory: false after another process has taken over.
    pub(crate) fn is_current(&self) -> bool {
        match (FileId::of(&self.file), FileId::at(&self.path)) {
            (Ok(ours), Ok(current)) => ours == current,
            _ => false,
        }
    }

    /// For the error that the next owner gets. A failure to write it is harmless.
    fn write_process_id(&self) {
        let mut file = &self.file;
        let _ = file.set_len(0).and_then(|()| file.write_all(process::id().to_string().as_bytes()));
    }
}

fn open(options: &mut OpenOptions, path: &Path) -> Result<File> {
    options.read(true).write(true).truncate(false).open(path).map_err(failed_on("open the lock file", path))
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process that this one is just starting inherits the file,
        // and would keep it locked until it runs its own program.
        let _ = self.file.unlock();
    }
}

fn already_open(file: &mut File, files: &Files) -> Error {
    let mut owner = String::new();
    let _ = file.rewind().and_then(|()| file.take(20).read_to_string(&mut owner));
    let owner = match owner.trim() {
        "" => "another process".to_owned(),
        id if id == process::id().to_string() => "another store in this process".to_owned(),
        id => format!("process {id}"),
    };
    Error::new(
        ErrorKind::AlreadyOpen,
        format!(
            "the database in {} is already open: {owner} owns it; nothing was changed. Close it there first, \
             set `on_live_owner` to wait for that owner or to fence it, or choose another directory",
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
            LockAttempt::MustFence => panic!("the lock is free"),
        }
    }

    #[test]
    fn c11_is_released_even_if_a_child_process_inherits_the_file() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = Files::new(directory.path()).expect("an absolute path");
        let lock = ours(acquire(&files, OnLiveOwner::Fail).expect("it is free"));
        let inherited = lock.file.try_clone().expect("as a fork does");
        assert!(acquire(&files, OnLiveOwner::Fail).is_err());
        drop(lock);
        ours(acquire(&files, OnLiveOwner::Fail).expect("it is free again"));
        drop(inherited);
    }

    #[test]
    fn c11_a_wait_for_the_lock_is_bounded() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = Files::new(directory.path()).expect("an absolute path");
        let lock = ours(acquire(&files, OnLiveOwner::Fail).expect("it is free"));
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
    fn c11_a_take_over_is_visible_to_the_former_owner() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = Files::new(directory.path()).expect("an absolute path");
        let first = ours(acquire(&files, OnLiveOwner::Fail).expect("it is free"));
        assert!(matches!(acquire(&files, OnLiveOwner::Fence), Ok(LockAttempt::MustFence)));
        assert!(first.is_current(), "not before the take-over");
        let second = OwnerLock::take_over(&files).expect("it can");
        assert_eq!([first.is_current(), second.is_current()], [false, true]);
        drop(first);
        assert!(acquire(&files, OnLiveOwner::Fail).is_err(), "the end of the first owner changes nothing");
        drop(second);
        ours(acquire(&files, OnLiveOwner::Fence).expect("it is free again"));
    }
}
