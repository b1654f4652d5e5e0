use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use shape_meta_core::{Activity, Result, ShapeStore, ShapeStoreExt, SweepProgress};

use super::{Flusher, end, panic_error};
use crate::{options::MIN_DELAY, sync::Mutex};

/// The schedule of saving last-read times.
pub(crate) struct SaveSchedule {
    interval: Duration,
    /// When the next save is due; `None` for never. Lock 6 of the table in `shared.rs`.
    next_save: Mutex<Option<Instant>>,
}

impl SaveSchedule {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, next_save: Mutex::new(Instant::now().checked_add(interval)) }
    }

    pub(crate) fn next_save(&self) -> Option<Instant> {
        *self.next_save.lock()
    }

    /// Schedules the next save and returns when its step is due. With an interval of zero every step saves,
    /// but the background flusher still pauses for `MIN_DELAY` between two steps.
    fn schedule(&self, has_more: bool) -> Option<Instant> {
        let now = Instant::now();
        let interval = if has_more { Duration::ZERO } else { self.interval };
        *self.next_save.lock() = now.checked_add(interval);
        now.checked_add(if has_more { interval } else { interval.max(MIN_DELAY) })
    }
}

/// Last-read times are saved between flushes, on the thread that flushes, and in parts.
impl<S: ShapeStore> Flusher<S> {
    /// Saves a part of the last-read times if a save is due, and returns when the next one is due.
    ///
    /// A failure is only reported to the observer. The next save retries the same times, and no mutation is
    /// affected.
    pub(super) fn save_reads_if_due(&self) -> Option<Instant> {
        if self.shared.requests.is_paused() || self.is_stopped() {
            return None;
        }
        let due = self.save_schedule.next_save()?;
        if due > Instant::now() {
            return Some(due);
        }
        let has_more = self.save_reads().is_ok_and(|progress| progress.more);
        self.save_schedule.schedule(has_more)
    }

    /// Saves all last-read times, until the deadline; the last step of closing.
    pub(crate) fn save_all_reads(&self, deadline: Instant) {
        while !self.is_stopped()
            && Instant::now() < deadline
            && self.save_reads().is_ok_and(|progress| progress.more)
        {}
    }

    /// Saves a part of the last-read times. A panic of the store below is an error like any other.
    pub(crate) fn save_reads(&self) -> Result<SweepProgress> {
        let _running = self.running.enter();
        let span = self.shared.observer.begin(Activity::SaveReads);
        let progress = catch_unwind(AssertUnwindSafe(|| self.shared.store.sweep_reads()))
            .unwrap_or_else(|panic| Err(panic_error(&*panic)));
        end(span, progress.as_ref().err());
        progress
    }

    fn is_stopped(&self) -> bool {
        self.shared.overlay.read().writing.stop_error().is_some()
    }
}
