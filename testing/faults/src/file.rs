use std::thread;

use rusqlite::ffi;

use crate::{
    op::Op,
    state::{SharedState, State},
};

/// The decision on a call.
pub(crate) enum Verdict {
    /// Pass it on to the default VFS.
    Pass,
    /// Write this many bytes, and then fail with this code.
    Partial(usize, i32),
    /// Fail with this code.
    Fail(i32),
}

/// An open file of a disk.
pub(crate) struct File {
    disk: SharedState,
    node: usize,
    /// The disk's number of losses when the file was opened.
    losses: u64,
}

impl File {
    /// Records that a file was opened, and created if it did not exist.
    pub(crate) fn open(disk: SharedState, name: &str, flags: i32, existed: bool) -> Self {
        let journals = ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL;
        let mut state = disk.lock();
        if !existed {
            // The old file may have been moved away without SQLite.
            state.model.forget(name);
        }
        let node = state.model.open(name, flags & journals != 0);
        let losses = state.losses;
        drop(state);
        Self { disk, node, losses }
    }

    /// Decides on a call that changes nothing.
    pub(crate) fn check(&self, op: Op) -> Verdict {
        match self.count_call(&mut self.disk.begin_call(), op) {
            Some(code) => Verdict::Fail(code),
            None => Verdict::Pass,
        }
    }

    /// Decides on a write. The part that fits on a full disk is written, as file systems do.
    pub(crate) fn check_write(&self, offset: u64, length: usize) -> Verdict {
        let mut state = self.disk.begin_call();
        if let Some(code) = self.count_call(&mut state, Op::Write) {
            return Verdict::Fail(code);
        }
        let growth = state.model.growth(self.node, offset, length);
        match state.free_space() {
            Some(free) if growth > free => {
                state.failed += 1;
                let missing = usize::try_from(growth - free).unwrap_or(length);
                Verdict::Partial(length.saturating_sub(missing), ffi::SQLITE_FULL)
            }
            _ => Verdict::Pass,
        }
    }

    pub(crate) fn record_write(&self, offset: u64, data: &[u8]) {
        self.disk.lock().model.write(self.node, offset, data);
    }

    pub(crate) fn record_truncate(&self, length: u64) {
        self.disk.lock().model.truncate(self.node, length);
    }

    /// Syncs the file in the model, after the delay that was set. A sync that fails loses the unsynced
    /// writes.
    pub(crate) fn sync(&self) -> Verdict {
        let delay = self.disk.lock().sync_delay;
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        let mut state = self.disk.begin_call();
        match self.count_call(&mut state, Op::Sync) {
            Some(code) => {
                if !state.off {
                    state.model.discard_unsynced(self.node);
                }
                Verdict::Fail(code)
            }
            None => {
                state.model.sync(self.node);
                Verdict::Pass
            }
        }
    }

    fn count_call(&self, state: &mut State, op: Op) -> Option<i32> {
        state.count_call(op, Some(self.losses))
    }
}
