use std::time::Duration;

use shape_meta_core::Limits;

use crate::Flushers;

/// How a [`Buffered`](crate::Buffered) store flushes, and how much may be pending.
#[derive(Clone, Debug)]
pub struct BufferOptions {
    pub(crate) max_changes: usize,
    pub(crate) max_bytes: usize,
    pub(crate) flush_changes: usize,
    pub(crate) flush_bytes: usize,
    pub(crate) flush_age: Duration,
    pub(crate) behind_after: Duration,
    pub(crate) publish_beside: usize,
    pub(crate) backoff: (Duration, Duration),
    pub(crate) save_reads_every: Duration,
    pub(crate) drop_timeout: Duration,
    pub(crate) manual: bool,
    pub(crate) flushers: Option<Flushers>,
    pub(crate) is_one_of_many: bool,
    pub(crate) limits: Limits,
}

impl Default for BufferOptions {
    fn default() -> Self {
        Self {
            max_changes: 100_000,
            max_bytes: 256 << 20,
            flush_changes: 10_000,
            flush_bytes: 32 << 20,
            flush_age: Duration::from_millis(100),
            behind_after: Duration::from_secs(10),
            publish_beside: 500,
            backoff: (Duration::from_millis(10), Duration::from_secs(5)),
            save_reads_every: Duration::from_secs(60),
            drop_timeout: Duration::from_secs(5),
            manual: false,
            flushers: None,
            is_one_of_many: false,
            limits: Limits::default(),
        }
    }
}

impl BufferOptions {
    /// The bound (C7): how many shapes may have changes that are not on disk. Default 100,000.
    ///
    /// More rides out a longer storm or outage, and a crash loses as much more; less makes callers wait
    /// earlier. Memory holds up to twice as many while the latest flush is on disk and being published. Several
    /// mutations of one shape count once.
    pub fn max_changes(mut self, shapes: usize) -> Self {
        self.max_changes = shapes.max(1);
        self
    }

    /// The bound in bytes of memory. Default 256 MiB. A single change that is larger is accepted when
    /// nothing else is pending.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes.max(1);
        self
    }

    /// Flush as soon as so many shapes have pending changes. Default 10,000.
    ///
    /// It is a trigger, not the size of a batch: a flush takes all that is pending when it begins. Few
    /// make many small transactions; many let a crash lose more. Above [`max_changes`](Self::max_changes)
    /// it is taken as that.
    pub fn flush_changes(mut self, shapes: usize) -> Self {
        self.flush_changes = shapes.max(1);
        self
    }

    /// Flush as soon as pending changes take so many bytes. Default 32 MiB.
    pub fn flush_bytes(mut self, bytes: usize) -> Self {
        self.flush_bytes = bytes.max(1);
        self
    }

    /// Flush when the oldest pending change is so old. Default 100 ms: about what a crash loses when the
    /// disk keeps up.
    pub fn flush_age(mut self, age: Duration) -> Self {
        self.flush_age = age;
        self
    }

    /// How long after [`flush_age`](Self::flush_age) a change may still be pending before
    /// [`health`](shape_meta_core::ControlWrites::health) says that writing is
    /// [behind](shape_meta_core::Degradation::Behind), although no write has failed. Default 10 s. It changes
    /// nothing but what is told: too short calls a slow disk ill, too long hides one that hangs. Not while
    /// paused, and not in manual mode.
    pub fn behind_after(mut self, age: Duration) -> Self {
        self.behind_after = age;
        self
    }

    /// How many changes a flush must have for it to be published on a thread of the moment, beside the commit of
    /// the next one, if that is due already. Default 500.
    ///
    /// Starting the thread takes some 30 microseconds, as publishing 50 changes does. `usize::MAX` never starts
    /// one: then the disk waits while the cache is being brought up to date.
    pub fn publish_beside(mut self, changes: usize) -> Self {
        self.publish_beside = changes.max(1);
        self
    }

    /// How long to wait after a flush that failed: first so long, then twice as long each time, up to the
    /// longest. Default 10 ms to 5 s. A request to flush does not wait.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = (first, longest.max(first));
        self
    }

    /// How often the times at which shapes were last read are saved, by the flusher and between flushes;
    /// besides, closing saves them. Default: a minute. `Duration::MAX` for only then.
    ///
    /// So each shape costs the disk one small row at most in this time, however often it is read. A crash
    /// forgets the reads since; that makes shapes look older to eviction, and nothing else.
    pub fn save_reads_every(mut self, interval: Duration) -> Self {
        self.save_reads_every = interval;
        self
    }

    /// How long dropping the last handle may take to flush (C10). Default 5 s. Call
    /// [`close`](shape_meta_core::ControlWrites::close) to choose, and to learn what was not written.
    pub fn drop_timeout(mut self, timeout: Duration) -> Self {
        self.drop_timeout = timeout;
        self
    }

    /// No flusher thread: changes are written by [`flush_once`](crate::Buffered::flush_once),
    /// [`flush`](shape_meta_core::ControlWrites::flush), [`close`](shape_meta_core::ControlWrites::close) and drop alone. For tests, and
    /// for those who bring their own thread. Default off.
    pub fn manual(mut self, manual: bool) -> Self {
        self.manual = manual;
        self
    }

    /// Flushed by these threads, which other stores share. Default: by a thread of its own.
    ///
    /// For processes that open many stores, of which most are idle: it also begins with smaller tables, 40
    /// KiB instead of half a megabyte. What keeps a slow store from holding up the others is told at
    /// [`Flushers`]. In [manual](Self::manual) mode they are not used.
    pub fn flushers(mut self, flushers: &Flushers) -> Self {
        self.flushers = Some(flushers.clone());
        self.is_one_of_many = true;
        self
    }

    /// How large what callers hand in may be.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How many shapes a generation has room for before its tables must grow, which happens under the lock:
    /// as many as are usually in a flush. One of many stores that share flushers begins small.
    pub(crate) fn room_ahead(&self) -> usize {
        if self.is_one_of_many { 0 } else { self.flush_changes.min(self.max_changes).min(16_384) }
    }

    /// How many pending shapes the filters tell apart well: beyond that, readers take the lock more often.
    /// All that may be pending; of one of many stores, as many as are usually in a flush.
    pub(crate) fn filtered(&self) -> usize {
        if self.is_one_of_many { self.flush_changes.min(self.max_changes) } else { self.max_changes }
    }
}
