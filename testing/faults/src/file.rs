use std::thread;

use rusqlite::ffi;

use crate::{Disk, Op};

/// What the disk says to a call.
pub(crate) enum Verdict {
    /// Pass it on.
    Go,
    /// Write so many bytes, and then fail with this code.
    Part(usize, i32),
    /// Fail with this code.
    Fail(i32),
}

/// An open file of a disk.
#[derive(Debug)]
pub(crate) struct File {
    disk: Disk,
    node: usize,
    /// Files that were opened before the disk lost its open files are of no use.
    life: u64,
}

impl File {
    pub(crate) fn new(disk: Disk, node: usize, life: u64) -> Self {
        Self { disk, node, life }
    }

    /// Asks for a call that changes nothing.
    pub(crate) fn ask(&self, op: Op) -> Verdict {
        match self.disk.state().meets(op, Some(self.life)) {
            Some(code) => Verdict::Fail(code),
            None => Verdict::Go,
        }
    }

    pub(crate) fn ask_write(&self, offset: u64, length: usize) -> Verdict {
        let mut state = self.disk.state();
        if let Some(code) = state.meets(Op::Write, Some(self.life)) {
            return Verdict::Fail(code);
        }
        let growth = state.model.growth(self.node, offset, length);
        match state.room() {
            Some(room) if growth > room => {
                state.failed += 1;
                let missing = usize::try_from(growth - room).unwrap_or(length);
                Verdict::Part(length.saturating_sub(missing), ffi::SQLITE_FULL)
            }
            _ => Verdict::Go,
        }
    }

    pub(crate) fn wrote(&self, offset: u64, data: &[u8]) {
        self.disk.state().model.write(self.node, offset, data);
    }

    pub(crate) fn truncated(&self, length: u64) {
        self.disk.state().model.truncate(self.node, length);
    }

    /// Takes as long as the disk was told to take.
    pub(crate) fn sync(&self) -> Verdict {
        let delay = self.disk.state().sync_delay;
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        let mut state = self.disk.state();
        match state.meets(Op::Sync, Some(self.life)) {
            Some(code) => {
                if !state.is_off() {
                    state.model.lose(self.node);
                }
                Verdict::Fail(code)
            }
            None => {
                state.model.sync(self.node);
                Verdict::Go
            }
        }
    }
}
