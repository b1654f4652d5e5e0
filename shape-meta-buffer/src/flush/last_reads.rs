use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use shape_meta_core::{Activity, Result, ShapeStore, ShapeStoreExt, SweepProgress};

use crate::{
    flush::{end, panicked},
    shared::Shared,
    sync::{Mutex, atomic::Ordering},
};

/// When last-read times are to be saved the next time; `None` for never.
pub(crate) struct NextSave(Mutex<Option<Instant>>);

impl NextSave {
    pub(crate) fn after(interval: Duration) -> Self {
        Self(Mutex::new(Instant::now().checked_add(interval)))
    }

    pub(crate) fn get(&self) -> Option<Instant> {
        *self.0.lock()
    }
}

/// They are written on the thread that flushes and between flushes, a part at a time.
impl<S: ShapeStore> Shared<S> {
    /// Saves a part of the last-read times if it is time to, and says when to come again. A failure is told
    /// to the observer alone: the same times are tried again the next time, and no mutation minds.
    pub(crate) fn save_reads_if_due(&self) -> Option<Instant> {
        if self.paused.load(Ordering::Acquire) || self.is_stopped() {
            return None;
        }
        let due = self.next_save.get()?;
        if due > Instant::now() {
            return Some(due);
        }
        let more = self.save_reads().is_ok_and(|swept| swept.more);
        let interval = if more { Duration::ZERO } else { self.options.last_read_save_interval };
        let next = Instant::now().checked_add(interval);
        *self.next_save.0.lock() = next;
        next
    }

    /// Saves all of them, until the deadline: what closing does last.
    pub(crate) fn save_all_reads(&self, deadline: Instant) {
        while !self.is_stopped()
            && Instant::now() < deadline
            && self.save_reads().is_ok_and(|swept| swept.more)
        {}
    }

    pub(crate) fn save_reads(&self) -> Result<SweepProgress> {
        let span = self.observer.begin(Activity::SaveReads);
        let swept = catch_unwind(AssertUnwindSafe(|| self.inner.sweep_reads()));
        let swept = swept.unwrap_or_else(|panic| Err(panicked(&*panic)));
        end(span, swept.as_ref().err());
        swept
    }

    fn is_stopped(&self) -> bool {
        self.trouble.lock().as_ref().is_some_and(|trouble| trouble.stopped)
    }
}
