use rusqlite::ffi;

use crate::op::Op;

/// The error of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// An I/O error, with SQLite's extended code for the operation.
    Io,
    /// No space left.
    Full,
    /// Another connection holds the lock.
    Busy,
    /// The file is read-only.
    ReadOnly,
    /// Any extended result code of SQLite.
    Code(i32),
}

impl Failure {
    pub(crate) fn code(self, op: Op) -> i32 {
        match self {
            Self::Io => op.io_error(),
            Self::Full => ffi::SQLITE_FULL,
            Self::Busy => ffi::SQLITE_BUSY,
            Self::ReadOnly => ffi::SQLITE_READONLY,
            Self::Code(code) => code,
        }
    }
}

/// The selection of the calls that fail, counted from 1 when the fault is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// The next call only.
    Next,
    /// The call with this number only.
    Nth(u64),
    /// From the call with the first number, as many calls as the second.
    Times(u64, u64),
    /// The call with this number and all later ones.
    From(u64),
    /// All calls.
    Always,
}

impl When {
    fn includes(self, call: u64) -> bool {
        match self {
            Self::Next => call == 1,
            Self::Nth(nth) => call == nth,
            Self::Times(first, times) => (first..first.saturating_add(times)).contains(&call),
            Self::From(first) => call >= first,
            Self::Always => true,
        }
    }
}

/// One fault of a disk.
#[derive(Debug)]
pub(crate) struct Fault {
    op: Option<Op>,
    when: When,
    failure: Failure,
    calls: u64,
}

impl Fault {
    /// A fault of one operation, or of every operation.
    pub(crate) fn new(op: Option<Op>, when: When, failure: Failure) -> Self {
        Self { op, when, failure, calls: 0 }
    }

    /// Counts a call, and returns the code with which this fault fails it.
    pub(crate) fn count_call(&mut self, op: Op) -> Option<i32> {
        if self.op.is_some_and(|only| only != op) {
            return None;
        }
        self.calls += 1;
        self.when.includes(self.calls).then(|| self.failure.code(op))
    }
}
