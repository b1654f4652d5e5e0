use std::time::Instant;

use crate::{Degradation, Error, ErrorKind, Health, HealthState, LastError, Remedy};

/// The state behind [`health`](crate::StoreControl::health) of a store without a buffer.
#[derive(Debug, Default)]
pub(super) struct Condition {
    pub(super) phase: Phase,
    /// Since when writes fail, and how often.
    failing: Option<(Instant, u32)>,
    latest: Option<(Error, Instant)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Open,
    Closing,
    Closed,
}

impl Condition {
    /// Records a failed write. Returns whether writing has stopped with it.
    pub(super) fn failed(&mut self, error: &Error) -> bool {
        let now = Instant::now();
        let stopped_before = self.is_stopped();
        let (since, failures) = self.failing.unwrap_or((now, 0));
        self.failing = Some((since, failures.saturating_add(1)));
        self.latest = Some((error.clone(), now));
        self.is_stopped() && !stopped_before
    }

    /// Records that the disk works.
    pub(super) fn succeeded(&mut self) {
        self.failing = None;
    }

    /// Whether the latest write has failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    pub(super) fn is_stopped(&self) -> bool {
        let stops = |(error, _): &(Error, Instant)| error.kind().remedy() == Remedy::Stop;
        self.is_failing() && self.latest.as_ref().is_some_and(stops)
    }

    pub(super) fn health(&self) -> Health {
        let state = match (self.phase, self.failing, &self.latest) {
            (Phase::Closing, ..) => HealthState::Closing,
            (Phase::Closed, ..) => HealthState::Closed,
            (Phase::Open, Some((since, failures)), Some((error, _))) => {
                let error = error.clone();
                match error.kind() {
                    ErrorKind::Fenced => HealthState::Fenced { error },
                    _ if self.is_stopped() => HealthState::Stopped { error },
                    _ => HealthState::Degraded {
                        why: Degradation::Failing { error, failures },
                        since: since.elapsed(),
                    },
                }
            }
            (Phase::Open, ..) => HealthState::Ready,
        };
        let last_error = self.latest.as_ref();
        let last_error = last_error.map(|(error, at)| LastError { error: error.clone(), ago: at.elapsed() });
        Health { last_error, ..Health::new(state) }
    }
}
