use rusqlite::ffi;

use crate::Op;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// An error of the disk, in SQLite's words for this call.
    Io,
    /// No space left.
    Full,
    /// Somebody else holds it.
    Busy,
    /// It must not be written.
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

/// Which of the calls fail, counted from when the disk is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// The next one, and no other.
    Next,
    /// This one alone; the next is 1.
    Nth(u64),
    /// This one and so many more, that many in all.
    Times(u64, u64),
    /// This one and all later ones.
    From(u64),
    /// All of them.
    Always,
}

impl When {
    fn holds(self, call: u64) -> bool {
        match self {
            Self::Next => call == 1,
            Self::Nth(nth) => call == nth,
            Self::Times(first, times) => (first..first.saturating_add(times)).contains(&call),
            Self::From(first) => call >= first,
            Self::Always => true,
        }
    }
}

/// A fault that the disk was told to have.
#[derive(Debug)]
pub(crate) struct Fault {
    op: Option<Op>,
    when: When,
    failure: Failure,
    calls: u64,
}

impl Fault {
    /// For one kind of call, or for every kind.
    pub(crate) fn new(op: Option<Op>, when: When, failure: Failure) -> Self {
        Self { op, when, failure, calls: 0 }
    }

    /// Counts a call. The code with which it fails, if it does.
    pub(crate) fn meets(&mut self, op: Op) -> Option<i32> {
        if self.op.is_some_and(|only| only != op) {
            return None;
        }
        self.calls += 1;
        self.when.holds(self.calls).then(|| self.failure.code(op))
    }
}
