use std::time::{Duration, Instant};

use shape_meta_core::{Degradation, Error, ErrorKind, HealthState, Remedy};

/// The state of writing (I8), from which the gate for mutations, the next flush attempt and health are
/// derived.
///
/// It lives under the overlay's lock, which every mutation holds while it is accepted. So no mutation is
/// accepted after a transition to a state that refuses it.
#[derive(Debug, Default)]
pub(crate) struct WriteState {
    phase: Phase,
    flushes: Flushes,
    /// The latest failure of a flush, kept after flushes succeed again.
    last_failure: Option<(Error, Instant)>,
}

/// What the store was asked to do as a whole. Flushes can succeed or fail in every phase.
#[derive(Debug, Default)]
enum Phase {
    /// Mutations are accepted, unless flushes have stopped.
    #[default]
    Open,
    /// The store below is being repaired. A repair that fails returns to the phase before it.
    Repairing { was_recovering: bool },
    /// The repair is done, and what was pending before it is not committed yet. A pending change may rest on
    /// a shape that the repair did not save, so nothing is accepted on top of it.
    Recovering,
    /// `close` was called. Holds the reason for which mutations are refused.
    Closing(Error),
    /// `close` has returned.
    Closed(Error),
}

/// How flushes fare.
#[derive(Debug, Default)]
enum Flushes {
    /// The latest flush succeeded, or there was none yet.
    #[default]
    Succeeding,
    /// The latest flush failed and is retried.
    Retrying(Retry),
    /// A flush failed in a way that no retry helps. Only a repair ends this.
    Stopped(Error),
}

/// A flush that failed and is retried.
#[derive(Debug)]
struct Retry {
    /// When the first of the failures in a row happened.
    since: Instant,
    error: Error,
    failures: u32,
    retry_at: Instant,
}

/// What follows from a failed flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// It is retried after this delay.
    Retry { failures: u32, delay: Duration },
    /// Flushes have stopped.
    Stop,
}

impl WriteState {
    /// Returns why mutations are refused; `None` if they are accepted.
    pub(crate) fn refusal(&self) -> Option<Error> {
        match (&self.phase, &self.flushes) {
            (Phase::Closing(error) | Phase::Closed(error), _) => Some(error.clone()),
            (_, Flushes::Stopped(error)) => Some(error.clone()),
            (Phase::Open, _) => None,
            (Phase::Recovering, Flushes::Retrying(retry)) => Some(retry.error.clone()),
            (Phase::Repairing { .. } | Phase::Recovering, _) => Some(Error::new(
                ErrorKind::Busy,
                "the database is being repaired; reads go on; try the change again in a moment",
            )),
        }
    }

    /// Returns the error for which flushes have stopped.
    pub(crate) fn stop_error(&self) -> Option<&Error> {
        match &self.flushes {
            Flushes::Stopped(error) => Some(error),
            Flushes::Succeeding | Flushes::Retrying(_) => None,
        }
    }

    /// Returns the error of the latest flush, if that failed.
    pub(crate) fn flush_error(&self) -> Option<&Error> {
        match &self.flushes {
            Flushes::Retrying(retry) => Some(&retry.error),
            Flushes::Stopped(error) => Some(error),
            Flushes::Succeeding => None,
        }
    }

    /// Returns when the failed flush is retried.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        match &self.flushes {
            Flushes::Retrying(retry) => Some(retry.retry_at),
            Flushes::Succeeding | Flushes::Stopped(_) => None,
        }
    }

    pub(crate) fn flush_succeeded(&mut self) {
        self.flushes = Flushes::Succeeding;
    }

    /// Records a failed flush. The delay doubles with each failure in a row, from the first to the longest of
    /// `backoff`.
    pub(crate) fn flush_failed(&mut self, error: &Error, backoff: (Duration, Duration)) -> AfterFailure {
        let now = Instant::now();
        self.last_failure = Some((error.clone(), now));
        if error.kind().remedy() != Remedy::Retry {
            self.flushes = Flushes::Stopped(error.clone());
            return AfterFailure::Stop;
        }
        let (since, before) = match &self.flushes {
            Flushes::Retrying(retry) => (retry.since, retry.failures),
            Flushes::Succeeding | Flushes::Stopped(_) => (now, 0),
        };
        let delay = backoff.0.saturating_mul(1 << before.min(20)).min(backoff.1);
        let failures = before.saturating_add(1);
        self.flushes =
            Flushes::Retrying(Retry { since, error: error.clone(), failures, retry_at: now + delay });
        AfterFailure::Retry { failures, delay }
    }

    /// Refuses mutations while the store below is repaired.
    pub(crate) fn begin_repair(&mut self) {
        self.phase = Phase::Repairing { was_recovering: self.is_recovering() };
    }

    /// Returns to the phase before the repair. A flush may have stopped meanwhile: then mutations stay
    /// refused.
    pub(crate) fn repair_failed(&mut self) {
        if let Phase::Repairing { was_recovering } = self.phase {
            self.phase = if was_recovering { Phase::Recovering } else { Phase::Open };
        }
    }

    /// The store below is repaired: flushes are tried again, and mutations refused until one has committed
    /// all that was pending.
    pub(crate) fn repaired(&mut self) {
        (self.phase, self.flushes) = (Phase::Recovering, Flushes::Succeeding);
    }

    /// Whether what was pending before a repair is still to be committed.
    pub(crate) fn is_recovering(&self) -> bool {
        matches!(self.phase, Phase::Recovering)
    }

    /// Accepts mutations again after a repair.
    pub(crate) fn recovered(&mut self) {
        if self.is_recovering() {
            self.phase = Phase::Open;
        }
    }

    /// Refuses mutations as closed, or for the reason for which flushes had stopped before.
    pub(crate) fn begin_close(&mut self) {
        self.phase = Phase::Closing(self.stop_error().cloned().unwrap_or_else(Error::closed));
    }

    pub(crate) fn closed(&mut self) {
        if let Phase::Closing(error) = &self.phase {
            self.phase = Phase::Closed(error.clone());
        }
    }

    /// Returns the state for probes and people. `lagging` is for how long the oldest pending change is
    /// overdue.
    pub(crate) fn health(&self, lagging: Option<Duration>) -> HealthState {
        match (&self.phase, self.refusal(), &self.flushes) {
            (Phase::Closing(_), ..) => HealthState::Closing,
            (Phase::Closed(_), ..) => HealthState::Closed,
            (_, Some(error), _) if error.kind() == ErrorKind::Fenced => HealthState::Fenced { error },
            (_, Some(error), _) => HealthState::Stopped { error },
            (_, None, Flushes::Retrying(retry)) => {
                let why = Degradation::Failing { error: retry.error.clone(), failures: retry.failures };
                HealthState::Degraded { why, since: retry.since.elapsed() }
            }
            (_, None, _) => match lagging {
                Some(since) => HealthState::Degraded { why: Degradation::Lagging, since },
                None => HealthState::Ready,
            },
        }
    }

    /// Returns the latest failure of a flush and when it happened, also after flushes succeeded again.
    pub(crate) fn last_failure(&self) -> Option<(&Error, Instant)> {
        self.last_failure.as_ref().map(|(error, at)| (error, *at))
    }
}
