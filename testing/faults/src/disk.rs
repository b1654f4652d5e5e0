use std::{
    fmt, fs, io,
    path::Path,
    sync::{self, Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::ffi;

use crate::{Cut, Failure, Op, When, fault::Fault, file::File, model::Model, registry, shim};

/// The disk below the SQLite files of one directory, for those who open them through the [`VFS`](crate::VFS).
///
/// Clones are the same disk. It is there until the last one is dropped and the files on it are closed.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<State>>);

pub(crate) struct State {
    pub(crate) model: Model,
    faults: Vec<Fault>,
    calls: [u64; Op::ALL.len()],
    /// Calls that failed because the disk was told so.
    pub(crate) failed: u64,
    /// The most bytes that all files may take.
    capacity: Option<u64>,
    pub(crate) sync_delay: Duration,
    life: u64,
    off: bool,
    /// The number of a change at which the power goes.
    off_at: Option<u64>,
    changes: u64,
}

impl State {
    /// Counts a call, and says with which code it fails.
    pub(crate) fn meets(&mut self, op: Op, life: Option<u64>) -> Option<i32> {
        self.calls[op as usize] += 1;
        if op.is_change() {
            self.changes += 1;
            self.off |= self.off_at.is_some_and(|at| self.changes >= at);
        }
        if self.off || life.is_some_and(|life| life < self.life) {
            return Some(op.io_error());
        }
        let met = self.faults.iter_mut().fold(None, |met, fault| fault.meets(op).or(met));
        self.failed += u64::from(met.is_some());
        met
    }

    /// How many bytes files may still grow by.
    pub(crate) fn room(&self) -> Option<u64> {
        Some(self.capacity?.saturating_sub(self.model.size()))
    }

    pub(crate) fn is_off(&self) -> bool {
        self.off
    }
}

impl Disk {
    /// A disk without faults over this directory, with what lies there as its synced content.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read, or SQLite does not take the VFS.
    pub fn over(directory: &Path) -> io::Result<Self> {
        shim::register()?;
        // SQLite resolves links before it opens.
        let directory = fs::canonicalize(directory)?;
        let state = State {
            model: Model::of(&directory)?,
            faults: Vec::new(),
            calls: [0; Op::ALL.len()],
            failed: 0,
            capacity: None,
            sync_delay: Duration::ZERO,
            life: 0,
            off: false,
            off_at: None,
            changes: 0,
        };
        let disk = Self(Arc::new(Mutex::new(state)));
        registry::mount(&directory, &disk);
        Ok(disk)
    }

    /// Lets calls of one kind fail.
    pub fn fail(&self, op: Op, when: When, failure: Failure) {
        self.state().faults.push(Fault::new(Some(op), when, failure));
    }

    /// Lets calls of every kind fail.
    pub fn fail_all(&self, when: When, failure: Failure) {
        self.state().faults.push(Fault::new(None, when, failure));
    }

    /// Lets all files together take at most so many bytes more than now. What is deleted or cut short makes
    /// room.
    pub fn leave_room(&self, bytes: u64) {
        let mut state = self.state();
        state.capacity = Some(state.model.size() + bytes);
    }

    /// Lets every sync take so long at least.
    pub fn delay_syncs(&self, delay: Duration) {
        self.state().sync_delay = delay;
    }

    /// Takes the files that are open away from those who have them: every call on them fails from now on.
    /// Files that are opened later are fine.
    pub fn lose_open_files(&self) {
        self.state().life += 1;
    }

    /// No faults any more, as much space as there is, and no delay. What was lost stays lost.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.capacity = None;
        state.sync_delay = Duration::ZERO;
    }

    /// How many calls of this kind there were.
    pub fn calls(&self, op: Op) -> u64 {
        self.state().calls[op as usize]
    }

    /// How many calls there were that change something: writes, truncations, syncs, deletions.
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// How many calls have failed because the disk was told so.
    pub fn failed(&self) -> u64 {
        self.state().failed
    }

    /// Cuts the power: nothing works from now on, and nothing changes any more.
    pub fn power_off(&self) {
        self.state().off = true;
    }

    /// Cuts the power at this one of the calls that change something, counted as by
    /// [`changes`](Self::changes): that call is the first that does not happen.
    pub fn power_off_at(&self, change: u64) {
        self.state().off_at = Some(change);
    }

    /// Whether the power was cut.
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// Writes what a power cut now would leave into another directory, which should be empty.
    ///
    /// # Errors
    ///
    /// If that directory cannot be written.
    pub fn image(&self, to: &Path, cut: Cut) -> io::Result<()> {
        self.state().model.image(to, cut)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call that concerns no open file, and says with which code it fails.
    pub(crate) fn ask(&self, op: Op) -> Option<i32> {
        self.state().meets(op, None)
    }

    /// A file was opened, and made if it was not there.
    pub(crate) fn opened(&self, name: &str, flags: i32, existed: bool) -> File {
        let journals = ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL;
        let mut state = self.state();
        if !existed {
            // It may have been moved away by somebody who does not go through SQLite.
            state.model.forget(name);
        }
        let node = state.model.open(name, flags & journals != 0);
        File::new(self.clone(), node, state.life)
    }

    pub(crate) fn deleted(&self, name: &str, syncs_directory: bool) {
        self.state().model.delete(name, syncs_directory);
    }

    pub(crate) fn weak(&self) -> Weak {
        Weak(Arc::downgrade(&self.0))
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Disk")
            .field("changes", &state.changes)
            .field("faults", &state.faults)
            .field("off", &state.off)
            .finish_non_exhaustive()
    }
}

/// A disk that may be gone.
pub(crate) struct Weak(sync::Weak<Mutex<State>>);

impl Weak {
    pub(crate) fn is_there(&self) -> bool {
        self.0.strong_count() > 0
    }

    pub(crate) fn disk(&self) -> Option<Disk> {
        self.0.upgrade().map(Disk)
    }
}
