use std::sync::atomic::{AtomicU64, Ordering};

use shape_meta_core::Signal;

/// Tracks the apply in flight, for reads that touch the disk.
///
/// Between a commit and its publish the disk is ahead of the mirror. A reader that saw a change on disk and
/// returned could be followed by a reader of the mirror that does not see the change yet: reads would go back
/// in time (C1). A read that has touched the disk therefore waits, before it returns, for the apply that was
/// in flight when the disk had answered.
///
/// That is sufficient. Say the read saw the commits up to the k-th.
/// - The k-th apply started before it committed, and the read saw the commit. So `started`, loaded after the
///   read, is at least k. When `published` has reached that value, the mirror shows the k-th change.
/// - At one moment between call and return, the disk read and the mirror agree on exactly the first k
///   changes. If the k-th was already published at the time of the disk read, this is the time of the disk
///   read: the next one was not committed, or the read would have seen it. Otherwise it is the k-th publish,
///   for which the reader waits.
///
/// The reader waits only for that apply and not for later ones, so writers cannot starve it.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    started: AtomicU64,
    published: AtomicU64,
    signal: Signal,
}

/// An apply in flight, from before its commit until it is published or has failed.
#[derive(Debug)]
#[must_use = "the apply ends when this is dropped"]
pub(crate) struct ApplyGuard<'a>(&'a InFlight);

impl InFlight {
    /// Starts an apply. The caller holds the writer's lock, so there is only one at a time.
    pub(crate) fn start(&self) -> ApplyGuard<'_> {
        self.started.fetch_add(1, Ordering::SeqCst);
        ApplyGuard(self)
    }

    /// Whether an apply is in flight.
    pub(crate) fn is_any(&self) -> bool {
        // The order is that of `wait_published`. The loads the other way round could miss an apply.
        let started = self.started.load(Ordering::SeqCst);
        self.published.load(Ordering::SeqCst) < started
    }

    /// Waits until the apply that is in flight now, if any, is published or has failed.
    pub(crate) fn wait_published(&self) {
        let started = self.started.load(Ordering::SeqCst);
        while self.published.load(Ordering::SeqCst) < started {
            let waiter = self.signal.listen();
            if self.published.load(Ordering::SeqCst) < started {
                waiter.wait(None);
            }
        }
    }
}

impl Drop for ApplyGuard<'_> {
    // In `drop`, so that an apply that fails or panics releases the waiting readers, too.
    fn drop(&mut self) {
        self.0.published.fetch_add(1, Ordering::SeqCst);
        self.0.signal.raise();
    }
}
