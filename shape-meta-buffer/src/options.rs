use std::time::Duration;

use shape_meta_core::Limits;

use crate::{FlusherPool, memtable::Generation};

/// The shortest delay between two attempts of the flusher, so that no option makes it spin.
pub(crate) const MIN_DELAY: Duration =
    Duration::from_millis(if cfg!(shape_meta_interleaved) { 0 } else { 1 });

/// When a [`Buffered`](crate::Buffered) store flushes, and how much may be pending.
#[derive(Clone, Debug)]
pub struct BufferOptions {
    pub(crate) max_pending_shapes: usize,
    pub(crate) max_pending_bytes: usize,
    pub(crate) flush_shapes: usize,
    pub(crate) flush_bytes: usize,
    pub(crate) flush_interval: Duration,
    pub(crate) lag_threshold: Duration,
    pub(crate) concurrent_publish_min_changes: usize,
    /// The first delay and the longest.
    pub(crate) backoff: (Duration, Duration),
    pub(crate) last_read_save_interval: Duration,
    pub(crate) creation_counts_as_read: bool,
    pub(crate) drop_timeout: Duration,
    pub(crate) background_flush: bool,
    pub(crate) flushers: Option<FlusherPool>,
    /// Whether the store shares flushers: then it starts with small tables.
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
            creation_counts_as_read: false,
            drop_timeout: Duration::from_secs(5),
            background_flush: true,
            flushers: None,
            is_one_of_many: false,
            limits: Limits::default(),
        }
    }
}

impl BufferOptions {
    /// Sets the bound on pending changes (C7), as a number of shapes. Default 100,000; at least 1.
    ///
    /// Several mutations of one shape count once. At the bound, marks and removals of shapes that are pending
    /// already are still accepted. Too few make callers wait in an ordinary storm. More survive a longer
    /// storm or outage, and a crash loses as many more. Memory holds up to twice as many while a committed
    /// flush is being published.
    pub fn max_pending_shapes(mut self, shapes: usize) -> Self {
        self.max_pending_shapes = shapes.max(1);
        self
    }

    /// Sets the bound on pending changes in bytes of memory. Default 256 MiB; at least 1.
    ///
    /// Definitions and all tables and lists of pending changes count. The worst load of each table is
    /// assumed, so the count is never less than the memory held, and at most 2.5 times as much. What is
    /// flushed during a read of many shapes counts until that read has its result from the store below: at
    /// 300,000 adds a second and 900 bytes each, a read of 10 ms keeps 3 MB. Two things do not count: the
    /// tables that the store keeps when nothing is pending, and 32 bytes for each change of a flush in
    /// progress.
    ///
    /// Too few make callers wait although the number of shapes is small; more take that memory while the disk
    /// is slow. A single change that is larger is accepted when nothing else is pending. At the bound, marks
    /// and removals of shapes that are pending already are still accepted; they at most double the pending
    /// bytes.
    pub fn max_pending_bytes(mut self, bytes: usize) -> Self {
        self.max_pending_bytes = bytes.max(1);
        self
    }

    /// Sets how many shapes with pending changes make a flush due. Default 10,000; at least 1. A value above
    /// [`max_pending_shapes`](Self::max_pending_shapes) counts as that.
    ///
    /// It is a trigger and not a batch size: a flush takes everything that is pending when it begins. Too few
    /// make many small transactions; too many let a crash lose more.
    pub fn flush_shapes(mut self, shapes: usize) -> Self {
        self.flush_shapes = shapes.max(1);
        self
    }

    /// Sets how many bytes of pending changes make a flush due. Default 32 MiB; at least 1. A value above
    /// [`max_pending_bytes`](Self::max_pending_bytes) counts as that.
    ///
    /// Too few make many small transactions; too many make single ones that take long.
    pub fn flush_bytes(mut self, bytes: usize) -> Self {
        self.flush_bytes = bytes.max(1);
        self
    }

    /// Sets the age at which the oldest pending change makes a flush due. Default 100 ms.
    ///
    /// This is about what a crash loses while the disk keeps up. With `Duration::MAX` the age of a change
    /// makes no flush due; its size, a request and close still do. Too short costs a synced transaction for
    /// every few changes; too long lets a crash lose more.
    pub fn flush_interval(mut self, age: Duration) -> Self {
        self.flush_interval = age;
        self
    }

    /// Sets for how long after [`flush_interval`](Self::flush_interval) a change may be pending before
    /// [`health`](shape_meta_core::StoreControl::health) reports the store as
    /// [lagging](shape_meta_core::Degradation::Lagging), although no write has failed. Default 10 s.
    ///
    /// It changes the report alone. Too short reports a slow disk as degraded; too long hides a disk that
    /// hangs. A store that is paused, or has no [`background_flush`](Self::background_flush), never lags.
    pub fn lag_threshold(mut self, age: Duration) -> Self {
        self.lag_threshold = age;
        self
    }

    /// Sets how many changes a flush must have to be published on a thread of its own, in parallel with the
    /// next commit, if that is due already. Default 500; at least 1.
    ///
    /// Starting the thread takes about 30 microseconds, as long as publishing 50 changes. Too few waste
    /// those; with `usize::MAX` the disk is idle while the cache below is updated.
    pub fn concurrent_publish_min_changes(mut self, changes: usize) -> Self {
        self.concurrent_publish_min_changes = changes.max(1);
        self
    }

    /// Sets the delays between attempts while flushes fail: the first one, which doubles with each failure in
    /// a row, up to the longest. Default 10 ms to 5 s; at least 1 ms.
    ///
    /// A request to flush shortens the delay to a second after the failure, however many requests there are;
    /// a delay below a second is not shortened. Close ends one delay at once. With `Duration::MAX` only a
    /// request, close or [`flush_once`](crate::Buffered::flush_once) makes another attempt.
    ///
    /// Too short keeps a failing disk busy; too long leaves changes pending after the disk has recovered.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        let first = first.max(MIN_DELAY);
        self.backoff = (first, longest.max(first));
        self
    }

    /// Sets how often the flusher saves the times at which shapes were last read. Default 60 s; in the
    /// background at most once in a millisecond. Closing saves them too; with `Duration::MAX` nothing else
    /// does.
    ///
    /// Each shape costs the disk one small row in this time at most, however often it is read. Too short
    /// costs those rows; too long makes shapes look older to eviction after a crash, and has no other effect.
    pub fn last_read_save_interval(mut self, interval: Duration) -> Self {
        self.last_read_save_interval = interval;
        self
    }

    /// Sets whether a shape counts as read when it is created. Default false: a shape that was never read is
    /// left out of the [least recently used](shape_meta_core::ReadShapes::least_recently_used) ones until the
    /// store is opened again.
    ///
    /// With true, it ages from its creation, and each created shape costs the disk one small row more.
    pub fn creation_counts_as_read(mut self, counts: bool) -> Self {
        self.creation_counts_as_read = counts;
        self
    }

    /// Sets for how long a drop of the store may flush (C10). Default 5 s.
    ///
    /// Too short loses pending changes of a slow disk; too long blocks the thread that drops the store. Call
    /// [`close`](shape_meta_core::StoreControl::close) to learn what was not written.
    pub fn drop_timeout(mut self, timeout: Duration) -> Self {
        self.drop_timeout = timeout;
        self
    }

    /// Sets whether a flusher thread commits pending changes in the background. Default `true`.
    ///
    /// With `false`, changes are committed only by [`flush_once`](crate::Buffered::flush_once),
    /// [`flush`](shape_meta_core::StoreControl::flush), [`close`](shape_meta_core::StoreControl::close) and
    /// drop, on the thread of the caller. For tests, and for callers that bring their own thread.
    pub fn background_flush(mut self, background_flush: bool) -> Self {
        self.background_flush = background_flush;
        self
    }

    /// Returns whether there is a [`background_flush`](Self::background_flush).
    pub fn flushes_in_background(&self) -> bool {
        self.background_flush
    }

    /// Sets the pool of flusher threads that this store shares with others. Default: a thread of its own.
    ///
    /// For processes that open many stores, most of them idle. The store also starts with smaller tables: 40
    /// KiB instead of half a megabyte, which then grow while writers wait. [`FlusherPool`] documents how slow
    /// stores are kept from holding up the others. Has no effect without
    /// [`background_flush`](Self::background_flush).
    pub fn flushers(mut self, flushers: &FlusherPool) -> Self {
        self.flushers = Some(flushers.clone());
        self.is_one_of_many = true;
        self
    }

    /// Sets the size limits for new shapes. Default: [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether a generation is large enough to be flushed for its size.
    pub(crate) fn is_large(&self, generation: &Generation) -> bool {
        generation.len() >= self.flush_shapes.min(self.max_pending_shapes)
            || generation.bytes() >= self.flush_bytes.min(self.max_pending_bytes)
    }

    /// Returns for how many shapes the tables of a generation are allocated. They grow under the overlay's
    /// lock, so this is the size of a usual flush. One of many stores starts small.
    pub(crate) fn initial_capacity(&self) -> usize {
        if self.is_one_of_many { 0 } else { self.flush_shapes.min(self.max_pending_shapes).min(16_384) }
    }

    /// Returns how many pending shapes the filters tell apart well; with more, readers take the lock more
    /// often. All that may be pending; for one of many stores, the size of a usual flush.
    pub(crate) fn filter_capacity(&self) -> usize {
        if self.is_one_of_many {
            self.flush_shapes.min(self.max_pending_shapes)
        } else {
            self.max_pending_shapes
        }
    }
}
