use shape_meta_core::{Error, ErrorKind};

use crate::sync::{
    Mutex,
    thread::{self, ThreadId},
};

/// The threads that flush, publish or save for one store, with one element for each nested registration.
///
/// These threads call observers, which may call the store. Such a call must not wait for a flush: the thread
/// would wait for itself.
#[derive(Default)]
pub(crate) struct RunningThreads {
    /// Lock 8 of the table in `shared.rs`.
    threads: Mutex<Vec<ThreadId>>,
}

impl RunningThreads {
    /// Registers this thread until the guard is dropped.
    pub(crate) fn enter(&self) -> Entered<'_> {
        let thread = thread::current().id();
        self.threads.lock().push(thread);
        Entered { threads: self, thread }
    }

    /// Whether this thread is registered, which means that an observer called the store on it.
    pub(crate) fn has_this(&self) -> bool {
        let threads = self.threads.lock();
        !threads.is_empty() && threads.contains(&thread::current().id())
    }
}

/// The registration of one thread with [`RunningThreads`].
pub(crate) struct Entered<'a> {
    threads: &'a RunningThreads,
    thread: ThreadId,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut threads = self.threads.threads.lock();
        if let Some(at) = threads.iter().rposition(|thread| *thread == self.thread) {
            threads.swap_remove(at);
        }
    }
}

/// Returns the error of a call that would have to wait for the thread that makes it.
pub(crate) fn inside_observer() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "an observer made this call on the thread that flushes the store, and the call would wait for that \
         thread; nothing has changed for pending changes, which are flushed when the observer returns; make \
         the call on another thread",
    )
}
