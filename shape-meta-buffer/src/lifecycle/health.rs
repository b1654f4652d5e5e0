use std::time::{Duration, Instant};

use shape_meta_core::{Degradation, Error, ErrorKind, Health, HealthState, LastError, ShapeStore};

use crate::{shared::Shared, sync::atomic::Ordering};

/// What health tells besides the trouble that flushes have at the moment.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    pub(crate) phase: Phase,
    /// The latest failure of a flush, also after it was got over.
    pub(crate) latest: Option<(Error, Instant)>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Phase {
    #[default]
    Open,
    Closing,
    Closed,
}

impl<S: ShapeStore> Shared<S> {
    pub(crate) fn health(&self) -> Health {
        let window = self.oldest_pending().unwrap_or_default();
        let (phase, latest) = {
            let condition = self.condition.lock();
            (condition.phase, condition.latest.clone())
        };
        let state = match phase {
            Phase::Open => self.open_state(window),
            Phase::Closing => HealthState::Closing,
            Phase::Closed => HealthState::Closed,
        };
        let mut health = Health::new(state);
        health.last_error = latest.map(|(error, at)| LastError { error, ago: at.elapsed() });
        health.durability_window = window;
        health.drain_rate = self.drain.rate();
        health
    }

    fn open_state(&self, window: Duration) -> HealthState {
        if let Some(trouble) = self.trouble.lock().clone() {
            let (error, failures, since) = (trouble.error, trouble.failures, trouble.since.elapsed());
            return match error.kind() {
                ErrorKind::Fenced => HealthState::Fenced { error },
                _ if trouble.stopped => HealthState::Stopped { error },
                _ => HealthState::Degraded { why: Degradation::Failing { error, failures }, since },
            };
        }
        let due = self.options.flush_interval.saturating_add(self.options.lag_threshold);
        let is_ours = self.options.background_flush && !self.paused.load(Ordering::Acquire);
        match window.checked_sub(due) {
            Some(since) if is_ours => HealthState::Degraded { why: Degradation::Lagging, since },
            _ => HealthState::Ready,
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.condition.lock().phase = phase;
    }
}
