use std::{
    fmt, fs, io,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    cut::Cut,
    fault::{Failure, Fault, When},
    model::Model,
    op::Op,
    registry,
    state::SharedState,
    vfs,
};

/// A disk with faults, below the SQLite files of one directory that are opened through the
/// [`VFS`](crate::VFS).
///
/// Clones are the same disk. It exists until the last clone is dropped and the files on it are closed.
#[derive(Clone)]
pub struct Disk(SharedState);

impl Disk {
    /// Mounts a disk without faults over this directory. The files in it are its synced content.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read, or SQLite does not register the VFS.
    pub fn mount(directory: &Path) -> io::Result<Self> {
        vfs::register()?;
        // SQLite resolves links before it opens a file.
        let directory = fs::canonicalize(directory)?;
        let state = SharedState::new(Model::read(&directory)?);
        registry::mount(&directory, &state);
        Ok(Self(state))
    }

    /// Makes calls of one operation fail.
    pub fn fail(&self, op: Op, when: When, failure: Failure) {
        self.0.lock().faults.push(Fault::new(Some(op), when, failure));
    }

    /// Makes calls of every operation fail.
    pub fn fail_all(&self, when: When, failure: Failure) {
        self.0.lock().faults.push(Fault::new(None, when, failure));
    }

    /// Limits the size of all files together to this many bytes more than now. Deleting or truncating a file
    /// frees space.
    pub fn limit_free_space(&self, bytes: u64) {
        let mut state = self.0.lock();
        state.capacity = Some(state.model.size() + bytes);
    }

    /// Delays every sync by this time.
    pub fn delay_syncs(&self, delay: Duration) {
        self.0.lock().sync_delay = delay;
    }

    /// Makes every call hang until the returned value is dropped.
    pub fn hang(&self) -> Hang {
        self.0.set_hanging(true);
        Hang(self.0.clone())
    }

    /// Loses the files that are open: every later call on them fails. Files that are opened later work.
    pub fn lose_open_files(&self) {
        self.0.lock().losses += 1;
    }

    /// Removes all faults, the limit on space and the delay of syncs. Lost data stays lost.
    pub fn heal(&self) {
        let mut state = self.0.lock();
        state.faults.clear();
        state.capacity = None;
        state.sync_delay = Duration::ZERO;
    }

    /// Returns the number of calls of this operation.
    pub fn calls(&self, op: Op) -> u64 {
        self.0.lock().calls[op as usize]
    }

    /// Returns the number of calls that change something: writes, truncations, syncs, deletions.
    pub fn changes(&self) -> u64 {
        self.0.lock().changes
    }

    /// Returns the number of calls that failed because of a fault or the limit on space.
    pub fn failed(&self) -> u64 {
        self.0.lock().failed
    }

    /// Cuts the power: every later call fails, and nothing changes any more.
    pub fn power_off(&self) {
        self.0.lock().off = true;
    }

    /// Cuts the power at the change with this number, counted as by [`changes`](Self::changes): that call is
    /// the first that fails.
    pub fn power_off_at(&self, change: u64) {
        self.0.lock().off_at = Some(change);
    }

    /// Returns whether the power was cut.
    pub fn is_off(&self) -> bool {
        self.0.lock().off
    }

    /// Writes what a power cut now would leave into another directory, which should be empty.
    ///
    /// # Errors
    ///
    /// If that directory cannot be written.
    pub fn image(&self, to: &Path, cut: Cut) -> io::Result<()> {
        self.0.lock().model.image(to, cut)
    }
}

/// A disk whose calls hang until this is dropped.
#[must_use = "the calls go on when it is dropped"]
pub struct Hang(SharedState);

impl Hang {
    /// Waits until a call hangs. Returns whether one does within the time-out.
    pub fn wait_until_reached(&self, timeout: Duration) -> bool {
        self.0.wait_until_hung(Instant::now() + timeout)
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        self.0.set_hanging(false);
    }
}

impl fmt::Debug for Hang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hang").finish_non_exhaustive()
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("Disk")
            .field("changes", &state.changes)
            .field("faults", &state.faults)
            .field("off", &state.off)
            .finish_non_exhaustive()
    }
}
