use std::{sync::LazyLock, time::Duration};

use scheduled_thread_pool::ScheduledThreadPool;

/// Two threads, shared by all stores in this process, that close idle connections. With one thread, a disk
/// that hangs under one store would keep the connections of all stores open.
static THREADS: LazyLock<ScheduledThreadPool> = LazyLock::new(|| {
    ScheduledThreadPool::builder().num_threads(2).thread_name_pattern("shape-meta-idle-{}").build()
});

/// Runs `task` on one of the threads after `delay`.
pub(crate) fn after(delay: Duration, task: impl FnOnce() + Send + 'static) {
    THREADS.execute_after(delay, task);
}
