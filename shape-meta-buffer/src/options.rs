use std::time::Duration;

use shape_meta_core::Limits;

use crate::FlusherPool;

/// How a [`Buffered`](crate::Buffered) store flushes, and how much may be pending.
#[derive(Clone, Debug)]
pub struct BufferOptions {
    pub(crate) max_pending_shapes: usize,
    pub(crate) max_pending_bytes: usize,
    pub(crate) flush_shapes: usize,
    pub(crate) flush_bytes: usize,
    pub(crate) flush_interval: Duration,
    pub(crate) lag_threshold: Duration,
    pub(crate) concurrent_publish_min_changes: usize,
    pub(crate) backoff: (Duration, Duration),
    pub(crate) last_read_save_interval: Duration,
    pub(crate) drop_timeout: Duration,
    pub(crate) background_flush: bool,
    pub(crate) flushers: Option<FlusherPool>,
    pub(crate) is_one_of_many: bool,
    pub(crate) limits: Limits,
}

impl Default for BufferOptions {
    fn default() -> Self {
        Self {
            max_pending_shapes: 100_000,
            max_pending_bytes: 256 << 20,
            flush_shapes: 10_000,
            flush_bytes: 32 << 20,
            flush_interval: Duration::from_millis(100),
            lag_threshold: Duration::from_secs(10),
            concurrent_publish_min_changes: 500,
            backoff: (Duration::from_millis(10), Duration::from_secs(5)),
            last_read_save_interval: Duration::from_secs(60),
            drop_timeout: Duration::from_secs(5),
            background_flush: true,
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
    pub fn max_pending_shapes(mut self, shapes: usize) -> Self {
        self.max_pending_shapes = shapes.max(1);
        self
    }

    /// The bound in bytes of memory. Default 256 MiB. A single change that is larger is accepted when
    /// nothing else is pending.
    pub fn max_pending_bytes(mut self, bytes: usize) -> Self {
        self.max_pending_bytes = bytes.max(1);
        self
    }

    /// Flush as soon as so many shapes have pending changes. Default 10,000.
    ///
    /// It is a trigger, not the size of a batch: a flush takes all that is pending when it begins. Few
    /// make many small transactions; many let a crash lose more. Above [`max_pending_shapes`](Self::max_pending_shapes)
    /// it is taken as that.
    pub fn flush_shapes(mut self, shapes: usize) -> Self {
        self.flush_shapes = shapes.max(1);
        self
    }

    /// Flush as soon as pending changes take so many bytes. Default 32 MiB.
    pub fn flush_bytes(mut self, bytes: usize) -> Self {
        self.flush_bytes = bytes.max(1);
        self
    }

    /// Flush when the oldest pending change is so old. Default 100 ms: about what a crash loses when the
    /// disk keeps up.
    pub fn flush_interval(mut self, age: Duration) -> Self {
        self.flush_interval = age;
        self
    }

    /// How long after [`flush_interval`](Self::flush_interval) a change may still be pending before
    /// [`health`](shape_meta_core::StoreControl::health) says that writing is
    /// [behind](shape_meta_core::Degradation::Lagging), although no write has failed. Default 10 s. It changes
    /// nothing but what is told: too short calls a slow disk ill, too long hides one that hangs. Not while
    /// paused, and not without [`background_flush`](Self::background_flush).
    pub fn lag_threshold(mut self, age: Duration) -> Self {
        self.lag_threshold = age;
        self
    }

    /// How many changes a flush must have for it to be published on a thread of the moment, beside the commit of
    /// the next one, if that is due already. Default 500.
    ///
    /// Starting the thread takes some 30 microseconds, as publishing 50 changes does. `usize::MAX` never starts
    /// one: then the disk waits while the cache is being brought up to date.
    pub fn concurrent_publish_min_changes(mut self, changes: usize) -> Self {
        self.concurrent_publish_min_changes = changes.max(1);
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
    pub fn last_read_save_interval(mut self, interval: Duration) -> Self {
        self.last_read_save_interval = interval;
        self
    }

    /// How long dropping the last handle may take to flush (C10). Default 5 s. Call
    /// [`close`](shape_meta_core::StoreControl::close) to choose, and to learn what was not written.
    pub fn drop_timeout(mut self, timeout: Duration) -> Self {
        self.drop_timeout = timeout;
        self
    }

    /// Whether a flusher thread commits pending changes in the background. Default on.
    ///
    /// Off: changes are committed by [`flush_once`](crate::Buffered::flush_once),
    /// [`flush`](shape_meta_core::StoreControl::flush), [`close`](shape_meta_core::StoreControl::close) and drop
    /// alone, on the thread of the caller. For tests, and for callers that bring their own thread.
    pub fn background_flush(mut self, background_flush: bool) -> Self {
        self.background_flush = background_flush;
        self
    }

    /// Flushed by these threads, which other stores share. Default: by a thread of its own.
    ///
    /// For processes that open many stores, of which most are idle: it also begins with smaller tables, 40
    /// KiB instead of half a megabyte. What keeps a slow store from holding up the others is told at
    /// [`FlusherPool`]. Not used without [`background_flush`](Self::background_flush).
    pub fn flushers(mut self, flushers: &FlusherPool) -> Self {
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
        if self.is_one_of_many { 0 } else { self.flush_shapes.min(self.max_pending_shapes).min(16_384) }
    }

    /// How many pending shapes the filters tell apart well: beyond that, readers take the lock more often.
    /// All that may be pending; of one of many stores, as many as are usually in a flush.
    pub(crate) fn filtered(&self) -> usize {
        if self.is_one_of_many {
            self.flush_shapes.min(self.max_pending_shapes)
        } else {
            self.max_pending_shapes
        }
    }
}
