use std::sync::{Arc, OnceLock};

use crate::{
    Handle,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// A shape that is gone, and whose stored data has still to be deleted (C12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanupTask {
    id: i64,
    handle: Handle,
}

impl CleanupTask {
    /// The task with this id, which orders the tasks of a database.
    pub fn new(id: i64, handle: Handle) -> Self {
        Self { id, handle }
    }

    /// Returns the id: the sequence number of the shape's add; negative for stored data without a shape.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Returns the handle of the shape.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Returns the handle of the shape.
    pub fn into_handle(self) -> Handle {
        self.handle
    }
}

/// Called after tasks were committed, on the thread that committed them.
type Hook = Arc<dyn Fn() + Send + Sync>;

/// What a store knows about its cleanup tasks (C12) without reading its database.
pub struct CleanupTasks {
    enabled: bool,
    pending: AtomicU64,
    /// Whether tasks were committed since the last announcement.
    unannounced: AtomicBool,
    hook: OnceLock<Hook>,
}

impl CleanupTasks {
    /// This number of tasks. `enabled` says whether removals leave tasks.
    pub fn new(enabled: bool, pending: u64) -> Self {
        let (pending, unannounced) = (AtomicU64::new(pending), AtomicBool::new(pending > 0));
        Self { enabled, pending, unannounced, hook: OnceLock::new() }
    }

    /// Whether removals leave tasks.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Returns the number of tasks.
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    /// Records tasks that were committed. Called under the lock of the writer, as the following ones.
    pub fn add_pending(&self, tasks: u64) {
        if tasks > 0 {
            self.pending.fetch_add(tasks, Ordering::Relaxed);
            self.unannounced.store(true, Ordering::Release);
        }
    }

    /// Records tasks that are gone.
    pub fn remove_pending(&self, tasks: u64) {
        self.pending.store(self.pending().saturating_sub(tasks), Ordering::Relaxed);
    }

    /// Records how many tasks there are.
    pub fn set_pending(&self, tasks: u64) {
        self.pending.store(tasks, Ordering::Relaxed);
        self.unannounced.store(tasks > 0, Ordering::Release);
    }

    /// Sets the hook: it must return soon, and must not call the store. Only the first call counts.
    pub fn on_committed(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.hook.get_or_init(|| Arc::new(hook));
    }

    /// Calls the hook if tasks were committed. Not under the lock of the writer.
    pub fn announce(&self) {
        if self.unannounced.swap(false, Ordering::AcqRel)
            && let Some(hook) = self.hook.get()
        {
            hook();
        }
    }
}
