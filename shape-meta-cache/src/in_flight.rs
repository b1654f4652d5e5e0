use std::sync::atomic::{AtomicU64, Ordering};

use shape_meta_core::Signal;

/// What readers of the disk must know of the apply that is on its way.
///
/// Between a commit and its publish the disk is ahead of the mirror. Someone who reads a change from disk
/// then, and returns, could be followed by someone who reads the mirror and does not see that change: time
/// would run backwards (C1). So whoever has read the disk waits, before returning, for the apply that was
/// in flight when the disk had answered.
///
/// That is enough. Say the read saw the commits up to the k-th.
/// - The k-th apply began before it committed, and the read saw the commit, so `begun` as loaded after the
///   read is at least k; and when `published` has come that far, the mirror shows the k-th change.
/// - There is a moment between call and return at which all reads together show just the first k: the
///   read's own, if the k-th had been published by then (the next one had not been committed, or it would
///   have been seen); else the moment of the k-th publish, for which the reader waits.
///
/// It waits for that one apply and not for those that begin later, so writers cannot starve it.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    begun: AtomicU64,
    published: AtomicU64,
    signal: Signal,
}

/// An apply on its way, from before its commit until it is published; or has failed.
#[derive(Debug)]
#[must_use = "the flight ends when this is dropped"]
pub(crate) struct Flight<'a>(&'a InFlight);

impl InFlight {
    /// Begins an apply; only under the writer's lock, so there is one at a time.
    pub(crate) fn begin(&self) -> Flight<'_> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        Flight(self)
    }

    /// Waits for the apply that is in flight at this moment, if one is.
    pub(crate) fn settle(&self) {
        let begun = self.begun.load(Ordering::SeqCst);
        while self.published.load(Ordering::SeqCst) < begun {
            let waiter = self.signal.listen();
            if self.published.load(Ordering::SeqCst) < begun {
                waiter.wait(None);
            }
        }
    }
}

impl Drop for Flight<'_> {
    // In `drop`, so that an apply that fails or panics lets the readers go on, too.
    fn drop(&mut self) {
        self.0.published.fetch_add(1, Ordering::SeqCst);
        self.0.signal.raise();
    }
}
