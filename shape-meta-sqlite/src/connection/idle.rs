use std::{sync::LazyLock, time::Duration};

use scheduled_thread_pool::ScheduledThreadPool;

/// Two threads for every store in this process, which close connections that were idle for long. Two, so
/// that a disk that hangs in one store does not at once leave those of the others open.
static THREADS: LazyLock<ScheduledThreadPool> = LazyLock::new(|| {
    ScheduledThreadPool::builder().num_threads(2).thread_name_pattern("shape-meta-idle-{}").build()
});

/// Runs this on one of them, so much later.
pub(crate) fn after(delay: Duration, look: impl FnOnce() + Send + 'static) {
    THREADS.execute_after(delay, look);
}
