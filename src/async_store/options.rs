/// How many threads a [`BlockingPool`](crate::BlockingPool) has, and how much waits for them.
#[derive(Clone, Copy, Debug)]
pub struct BlockingOptions {
    pub(super) max_threads: usize,
    pub(super) max_threads_per_store: usize,
    pub(super) queue_per_store: usize,
}

impl Default for BlockingOptions {
    fn default() -> Self {
        Self { max_threads: 32, max_threads_per_store: 4, queue_per_store: 256 }
    }
}

impl BlockingOptions {
    /// Sets how many threads there are at most, for all stores together. Default 32; at least 1.
    ///
    /// Threads are started when calls need them, and end after 10 seconds without a call. Once this many
    /// calls hang, the calls of all stores wait. A thread costs about 100 KiB.
    pub fn max_threads(mut self, threads: usize) -> Self {
        self.max_threads = threads.max(1);
        self
    }

    /// Sets how many calls of one store run at the same time. Default 4; at least 1.
    ///
    /// Too few make the calls of a store wait for one another. Too many let stores whose disk hangs take all
    /// threads of a shared pool.
    pub fn max_threads_per_store(mut self, threads: usize) -> Self {
        self.max_threads_per_store = threads.max(1);
        self
    }

    /// Sets how many calls of one store are queued for a thread. Default 256; at least 1. Further calls wait
    /// as futures until the queue has room: nothing is refused.
    pub fn queue_per_store(mut self, calls: usize) -> Self {
        self.queue_per_store = calls.max(1);
        self
    }
}
