use shape_meta_core::{Health, HealthState, LastError, ShapeStore};

use crate::shared::Shared;

impl<S: ShapeStore> Shared<S> {
    /// Returns the health, which is derived from the state of writing (I8). Takes the overlay's lock, twice
    /// and shortly.
    pub(crate) fn health(&self) -> Health {
        let window = self.oldest_pending().unwrap_or_default();
        let overdue = self.options.flush_interval.saturating_add(self.options.lag_threshold);
        let is_flushed = self.options.background_flush && !self.requests.is_paused();
        let lagging = window.checked_sub(overdue).filter(|_| is_flushed);
        let state = self.overlay.read();
        let mut writing = state.writing.health(lagging);
        // As for a mutation: the state of writing decides first, and then the lease.
        if writing.is_ready()
            && let Err(error) = self.store.check_lease()
        {
            writing = HealthState::refusing(error);
        }
        let mut health = Health::new(writing);
        health.last_error = state
            .writing
            .last_failure()
            .map(|(error, at)| LastError { error: error.clone(), ago: at.elapsed() });
        drop(state);
        health.durability_window = window;
        health.drain_rate = self.backpressure.drain_rate.rate();
        health
    }
}
