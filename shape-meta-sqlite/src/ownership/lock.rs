use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind as Io, Read, Seek, Write},
    path::{Path, PathBuf},
    process,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use shape_meta_core::{Error, ErrorKind, Result};

use crate::{
    Mode, OnLiveOwner, StopHandle,
    error::failed_on,
    format::files::{self, Files},
    ownership::{
        file_id::FileId,
        witness::{PROCESS_ID_BYTES, Witness},
    },
};

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
    /// What the file said when it was locked; later, what the store has written into it.
    witness: Option<Witness>,
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

/// Limit on the wait for a tool that copies the database under a [`SharedLock`], after the wait for a live
/// owner.
const MAX_WAIT_FOR_TOOLS: Duration =
    if cfg!(test) { Duration::from_secs(1) } else { Duration::from_secs(60) };

/// The lock files that this process has locked as an owner. A process id says less: process 1 of a container
/// is not process 1 of another one.
static OWNED_HERE: LazyLock<Mutex<HashSet<FileId>>> = LazyLock::new(Mutex::default);

fn owned_here() -> MutexGuard<'static, HashSet<FileId>> {
    OWNED_HERE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many take-overs by other processes may win against one open (I9).
const MAX_LOST: u32 = 16;

impl OwnerLock {
    /// Takes the lock. Waits for a live owner if `on_live_owner` says so, until `stop` ends that.
    ///
    /// # Errors
    ///
    /// `AlreadyOpen` if a live owner has it, `Interrupted` if the wait was stopped, and the kinds of a file
    /// system that fails.
    pub(crate) fn acquire(
        files: &Files,
        mode: Mode,
        on_live_owner: OnLiveOwner,
        stop: &StopHandle,
    ) -> Result<LockAttempt> {
        let path = files.lock();
        let started = Instant::now();
        let (mut lost, mut tools_since) = (0, None);
        loop {
            let (mut file, is_new) = open_or_create(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if is_free_for_tools(&file) => {
                    // No owner is alive: a tool has the lock for a moment, or while it copies the files.
                    if tools_since.get_or_insert_with(Instant::now).elapsed() >= MAX_WAIT_FOR_TOOLS {
                        return Err(in_use_by_tool(files));
                    }
                    stop.wait(RETRY_INTERVAL)?;
                    continue;
                }
                Err(TryLockError::WouldBlock) => match on_live_owner {
                    OnLiveOwner::Fence => return Ok(LockAttempt::MustFence),
                    OnLiveOwner::Wait(longest) if started.elapsed() < longest => {
                        tools_since = None;
                        stop.wait(RETRY_INTERVAL.min(longest))?;
                        continue;
                    }
                    OnLiveOwner::Wait(_) | OnLiveOwner::Fail => return Err(already_open(&mut file, files)),
                },
                // Some network file systems have no file locks. There SQLite's own exclusive lock on the
                // database and the epoch keep owners apart.
                Err(TryLockError::Error(error)) if mode == Mode::Exclusive && has_no_locks(&error) => {}
                Err(TryLockError::Error(error)) => return Err(failed_on("lock", &path)(error)),
            }
            let lock = Self::locked(file, path.clone());
            // If another process has taken over meanwhile, this locked file has lost its name.
            if lock.is_current() {
                if is_new {
                    give_to_owner(&lock.file, files);
                }
                lock.write_process_id();
                return Ok(LockAttempt::Acquired(lock));
            }
            lost += 1;
            if lost >= MAX_LOST {
                return Err(already_open(&mut open_or_create(&path)?.0, files));
            }
        }
    }

    /// Replaces the lock file of a live owner by one that this process has locked. Must be called in a
    /// transaction that has found the epoch of the take-over: of several processes that take over at once,
    /// the last one then has epoch and lock. The new lock file carries `witness`.
    pub(crate) fn take_over(files: &Files, witness: Option<Witness>) -> Result<Self> {
        let path = files.lock();
        let ours = files.lock_of_process(process::id());
        // One that was left by a killed process, or a link that another user has put there, which is not
        // followed.
        files::remove(&ours)?;
        let file = open(OpenOptions::new().create_new(true), &ours)?;
        file.try_lock().map_err(|error| failed_on("lock", &ours)(error.into()))?;
        let mut lock = Self::locked(file, path);
        lock.write_process_id();
        lock.witness = witness;
        if let Some(witness) = witness {
            lock.testify(&witness, false);
        }
        give_to_owner(&lock.file, files);
        fs::rename(&ours, &lock.path).map_err(failed_on("replace the lock file", &lock.path))?;
        match lock.is_current() {
            true => Ok(lock),
            false => Err(Error::new(
                ErrorKind::Io,
                "another program has replaced the lock file during a take-over; the former owner is fenced, and nothing \
                 else has changed. Open the database again",
            )),
        }
    }

    fn locked(file: File, path: PathBuf) -> Self {
        if let Ok(id) = FileId::of(&file) {
            owned_here().insert(id);
        }
        let witness = Witness::read(&file);
        Self { file, path, witness }
    }

    /// Returns what the lock file of a live owner says at this moment.
    pub(crate) fn witness_of_owner(files: &Files) -> Option<Witness> {
        Witness::read(&File::open(files.lock()).ok()?)
    }

    /// Returns what the lock file said when this process locked it, until [`advance`](Self::advance).
    pub(crate) fn witness(&self) -> Option<Witness> {
        self.witness
    }

    /// Records the state of the database in the lock file. A failure to write it is harmless: the next open
    /// does not trust the stored data then.
    pub(crate) fn testify(&self, witness: &Witness, sync: bool) {
        let _ = witness.write(&self.file, sync);
    }

    /// Records a later state of the database, as [`testify`](Self::testify). Commits and cleanups do so next
    /// to each other: one that is behind is left out.
    pub(crate) fn advance(&mut self, witness: Witness) {
        let is_ahead =
            |known: &Witness| known.openings == witness.openings && known.last_seq > witness.last_seq;
        if !self.witness.as_ref().is_some_and(is_ahead) {
            self.witness = Some(witness);
            self.testify(&witness, false);
        }
    }

    /// Whether this is still the lock of the directory: false after another process has taken over, and for a
    /// file that was opened through a link.
    pub(crate) fn is_current(&self) -> bool {
        match (FileId::of(&self.file), FileId::of_name(&self.path)) {
            (Ok(ours), Ok(current)) => ours == current,
            _ => false,
        }
    }

    /// For the error that the next owner gets. A failure to write it is harmless.
    fn write_process_id(&self) {
        let mut file = &self.file;
        let line = format!("{:PROCESS_ID_BYTES$}\n", process::id());
        // Does not truncate: the witness follows.
        let _ = file.rewind().and_then(|()| file.write_all(line.as_bytes()));
    }
}

/// Whether no owner has the lock. Fails to see an owner on a file system without locks.
fn is_free_for_tools(file: &File) -> bool {
    let is_free = file.try_lock_shared().is_ok();
    if is_free {
        let _ = file.unlock();
    }
    is_free
}

/// Whether an attempt to lock failed because the file system has no locks: `EOPNOTSUPP`, or what network file
/// systems return instead of it.
fn has_no_locks(error: &io::Error) -> bool {
    /// "No locks available".
    const ENOLCK: i32 = if cfg!(target_os = "linux") { 37 } else { 77 };
    /// "Bad file descriptor": NFS, for a lock that the server does not know.
    const EBADF: i32 = 9;
    let code = error.raw_os_error();
    error.kind() == Io::Unsupported || cfg!(unix) && (code == Some(ENOLCK) || code == Some(EBADF))
}

/// Whether an owner of the database is alive, as far as its lock shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnerLiveness {
    Live,
    NotLive,
    /// The lock file cannot be read, or its file system has no locks.
    Unknown,
}

/// The lock of a tool that reads the files of a database without an owner. Several tools can have it, and no
/// owner at the same time. An owner that opens the database waits for it.
#[derive(Debug)]
pub(crate) struct SharedLock(File);

/// The result of an attempt to take the [`SharedLock`].
pub(crate) enum SharedAttempt {
    /// No owner is alive, and none can be until the lock is dropped.
    Acquired(SharedLock),
    /// There is no lock file. An owner makes it before it touches the database, and nothing deletes it.
    NoLockFile,
    /// A live owner has the lock. The text that names it.
    Owned(String),
}

impl SharedLock {
    /// Takes the lock if no owner has it. Does not wait, and creates nothing.
    ///
    /// # Errors
    ///
    /// Those of a lock file that cannot be opened, and of a file system without locks.
    pub(crate) fn attempt(files: &Files) -> io::Result<SharedAttempt> {
        let path = files.lock();
        loop {
            let mut file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == Io::NotFound => return Ok(SharedAttempt::NoLockFile),
                Err(error) => return Err(error),
            };
            match file.try_lock_shared() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(SharedAttempt::Owned(owner_name(&mut file))),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // A take-over replaces the lock file by one that is locked already.
            if FileId::of(&file)? == FileId::at(&path)? {
                return Ok(SharedAttempt::Acquired(Self(file)));
            }
        }
    }
}

impl Drop for SharedLock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Returns the words for the live owner of the database, if there is one.
pub(crate) fn owner_of(files: &Files) -> Option<String> {
    match SharedLock::attempt(files) {
        Ok(SharedAttempt::Owned(owner)) => Some(owner),
        _ => None,
    }
}

/// Returns whether an owner is alive. The kernel's list of locks would hide the owners in other PID
/// namespaces, so this tries the lock itself, for some microseconds. An owner that opens the database in this
/// very moment tries again.
pub(crate) fn liveness(files: &Files) -> OwnerLiveness {
    match SharedLock::attempt(files) {
        Ok(SharedAttempt::Owned(_)) => OwnerLiveness::Live,
        Ok(SharedAttempt::Acquired(_) | SharedAttempt::NoLockFile) => OwnerLiveness::NotLive,
        Err(_) => OwnerLiveness::Unknown,
    }
}

fn open(options: &mut OpenOptions, path: &Path) -> Result<File> {
    options.read(true).write(true).truncate(false).open(path).map_err(failed_on("open the lock file", path))
}

/// Opens the lock file. Returns whether this call has created it: a link is never followed to a missing file.
fn open_or_create(path: &Path) -> Result<(File, bool)> {
    for _ in 0..MAX_LOST {
        if files::exists(path)? {
            return Ok((open(&mut OpenOptions::new(), path)?, false));
        }
        match OpenOptions::new().read(true).write(true).create_new(true).open(path) {
            Ok(file) => return Ok((file, true)),
            // Another process was faster.
            Err(error) if error.kind() == Io::AlreadyExists => {}
            Err(error) => return Err(failed_on("create the lock file", path)(error)),
        }
    }
    open(&mut OpenOptions::new(), path).map(|file| (file, false))
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        if let Ok(id) = FileId::of(&self.file) {
            owned_here().remove(&id);
        }
        // Closing the file is not enough: a child process that this one is just starting inherits the file,
        // and would keep it locked until it runs its own program.
        let _ = self.file.unlock();
    }
}

fn in_use_by_tool(files: &Files) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!(
            "the database in {} has no owner, but a command has been copying its files for {} seconds; nothing was \
             changed. Wait for that command or end it, and open again",
            files.directory().display(),
            MAX_WAIT_FOR_TOOLS.as_secs()
        ),
    )
}

/// Gives a lock file that this process has made as root to the owner of the directory, whose service has to
/// lock it, too.
fn give_to_owner(lock: &File, files: &Files) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        if let (Ok(now), Ok(directory)) = (lock.metadata(), files.directory().metadata())
            && now.uid() == 0
            && directory.uid() != 0
        {
            let _ = fchown(lock, Some(directory.uid()), Some(directory.gid()));
        }
    }
}

/// Returns the words for the owner that has locked this file.
fn owner_name(file: &mut File) -> String {
    let mut owner = String::new();
    let _ = file.rewind().and_then(|()| file.take(PROCESS_ID_BYTES as u64).read_to_string(&mut owner));
    match owner.trim() {
        _ if FileId::of(file).is_ok_and(|id| id.is_known() && owned_here().contains(&id)) => {
            "another store in this process".to_owned()
        }
        "" => "another process".to_owned(),
        id if id == process::id().to_string() => {
            format!("process {id} of another container or host, which has the same process id as this one,")
        }
        id => format!("process {id}"),
    }
}

fn already_open(file: &mut File, files: &Files) -> Error {
    let owner = owner_name(file);
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
    use std::thread;

    use shape_meta_core::{Seq, store_parts::Identity};

    use super::*;

    #[test]
    fn c12_what_the_lock_file_says_never_goes_back() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = Files::new(directory.path()).expect("absolute");
        let mut lock = ours(acquire(&files, OnLiveOwner::Fail).expect("it is free"));
        let [opening, rebuilt] = [(); 2].map(|()| Identity::random().ok());
        let mut said = |of, seq| {
            lock.advance(Witness { openings: [of, None], last_seq: Seq::new(seq) });
            Witness::read(&lock.file).map(|witness| (witness.openings[0], witness.last_seq.get()))
        };
        assert_eq!(said(opening, 7), Some((opening, 7)));
        assert_eq!(said(opening, 6), Some((opening, 7)), "a cleanup that has read the state before a commit");
        assert_eq!(said(opening, 8), Some((opening, 8)));
        assert_eq!(said(rebuilt, 3), Some((rebuilt, 3)), "another opening counts anew");
    }

    fn acquire(files: &Files, on_live_owner: OnLiveOwner) -> Result<LockAttempt> {
        OwnerLock::acquire(files, Mode::Wal, on_live_owner, &StopHandle::new())
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
    fn c11_a_wait_for_the_lock_ends_when_it_is_stopped() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = Files::new(directory.path()).expect("an absolute path");
        let _lock = ours(acquire(&files, OnLiveOwner::Fail).expect("it is free"));
        let stop = StopHandle::new();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                OwnerLock::acquire(&files, Mode::Wal, OnLiveOwner::Wait(Duration::MAX), &stop).map(drop)
            });
            stop.stop();
            let stopped = waiting.join().expect("no panic").expect_err("the owner is alive");
            assert_eq!(stopped.kind(), ErrorKind::Interrupted);
        });
    }

    #[test]
    fn c11_a_take_over_is_visible_to_the_former_owner() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = Files::new(directory.path()).expect("an absolute path");
        let first = ours(acquire(&files, OnLiveOwner::Fail).expect("it is free"));
        assert!(matches!(acquire(&files, OnLiveOwner::Fence), Ok(LockAttempt::MustFence)));
        assert!(first.is_current(), "not before the take-over");
        let second = OwnerLock::take_over(&files, None).expect("it can");
        assert_eq!([first.is_current(), second.is_current()], [false, true]);
        drop(first);
        assert!(acquire(&files, OnLiveOwner::Fail).is_err(), "the end of the first owner changes nothing");
        drop(second);
        ours(acquire(&files, OnLiveOwner::Fence).expect("it is free again"));
    }

    #[test]
    fn c11_an_open_waits_for_a_tool_and_never_fences_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = Files::new(directory.path()).expect("an absolute path");
        drop(ours(acquire(&files, OnLiveOwner::Fail).expect("it is free")));
        for on_live_owner in [OnLiveOwner::Fail, OnLiveOwner::Fence] {
            let Ok(SharedAttempt::Acquired(tool)) = SharedLock::attempt(&files) else {
                panic!("no owner is alive")
            };
            thread::scope(|scope| {
                let opening = scope.spawn(|| acquire(&files, on_live_owner).map(ours));
                drop(tool);
                let lock = opening.join().expect("no panic").expect("a tool is no owner");
                assert_eq!(liveness(&files), OwnerLiveness::Live);
                assert!(matches!(SharedLock::attempt(&files), Ok(SharedAttempt::Owned(_))));
                drop(lock);
            });
            assert_eq!(liveness(&files), OwnerLiveness::NotLive);
        }
    }

    #[test]
    fn c11_a_wait_for_an_owner_is_no_wait_for_a_tool() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = Files::new(directory.path()).expect("an absolute path");
        let owner = ours(acquire(&files, OnLiveOwner::Fail).expect("it is free"));
        thread::scope(|scope| {
            let wait = OnLiveOwner::Wait(Duration::from_secs(60));
            let waiting = scope.spawn(move || acquire(&Files::new(directory.path())?, wait).map(ours));
            let begun = Instant::now();
            while begun.elapsed() < MAX_WAIT_FOR_TOOLS + 10 * RETRY_INTERVAL {
                thread::park_timeout(RETRY_INTERVAL);
            }
            // The owner ends, and a tool has its lock for a moment.
            let _ = owner.file.try_lock_shared();
            let begun = Instant::now();
            while begun.elapsed() < 10 * RETRY_INTERVAL {
                thread::park_timeout(RETRY_INTERVAL);
            }
            drop(owner);
            waiting.join().expect("no panic").expect("the tool is gone at once");
        });
    }

    #[cfg(unix)]
    #[test]
    fn c11_a_lock_file_behind_a_link_is_never_current() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = Files::new(directory.path()).expect("an absolute path");
        let victim = directory.path().join("victim");
        fs::write(&victim, "x").expect("writes");
        std::os::unix::fs::symlink(&victim, files.lock()).expect("links");
        // As if the link had come after the look at the names.
        assert!(acquire(&files, OnLiveOwner::Fail).is_err());
        assert_eq!(fs::read(&victim).expect("reads"), b"x");
    }

    #[test]
    fn c11_process_1_of_another_container_is_not_this_process() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files = Files::new(directory.path()).expect("an absolute path");
        // Another container has locked the file, and its process has the same id there as this one has here.
        let mut other = File::create(files.lock()).expect("creates");
        other.try_lock().expect("it is free");
        other.write_all(process::id().to_string().as_bytes()).expect("writes");
        let error = acquire(&files, OnLiveOwner::Fail).err().expect("it is locked").to_string();
        assert!(error.contains("of another container or host"), "{error}");
        drop(other);
        let _ours = ours(acquire(&files, OnLiveOwner::Fail).expect("it is free again"));
        let error = acquire(&files, OnLiveOwner::Fail).err().expect("it is locked").to_string();
        assert!(error.contains("another store in this process"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn c11_no_locks_has_many_error_codes() {
        // EOPNOTSUPP, ENOLCK, EBADF; and EACCES, EIO.
        assert!([95, 37, 9].iter().all(|code| has_no_locks(&io::Error::from_raw_os_error(*code))));
        assert!([13, 5].iter().all(|code| !has_no_locks(&io::Error::from_raw_os_error(*code))));
    }
}
