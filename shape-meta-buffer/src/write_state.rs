use std::time::{Duration, Instant};

use shape_meta_core::{Degradation, Error, ErrorKind, HealthState, Remedy, Result};

/// A request does not shorten a back-off below this delay, however many requests there are.
const MIN_REQUESTED_DELAY: Duration = Duration::from_secs(1);

/// The state of writing (I8). It determines whether mutations are accepted, when the next flush is attempted,
/// and what health reports.
///
/// The overlay's lock guards it, and every mutation holds that lock while it is accepted. So no mutation is
/// accepted after a transition to a state that refuses it.
#[derive(Debug, Default)]
pub(crate) struct WriteState {
    phase: Phase,
    repair: Repair,
    flushes: Flushes,
    /// The latest failure of a flush, kept after flushes succeed again.
    last_failure: Option<(Error, Instant)>,
}

/// The phase of the store's life. It only moves forward, independently of flushes and repairs.
#[derive(Debug, Default)]
enum Phase {
    /// Mutations are accepted, unless flushes have stopped or a repair is not complete.
    #[default]
    Open,
    /// `close` was called. Holds the error with which mutations are refused.
    Closing(Error),
    /// `close` has returned.
    Closed(Error),
}

/// The progress of a repair of the store below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Repair {
    /// No repair is in progress.
    #[default]
    None,
    /// The store below is being repaired. A repair that fails returns to the state before it.
    Running { was_recovering: bool },
    /// The store below is repaired, but changes that were pending before are not committed yet. Such a change
    /// may depend on a shape that the repair could not save, so no new mutation is accepted on top of it.
    Recovering,
}

/// The state of flushing after the latest attempt.
#[derive(Debug, Default)]
enum Flushes {
    /// The latest flush succeeded, or there was none yet.
    #[default]
    Succeeding,
    /// The latest flush failed and is retried.
    Retrying(Retry),
    /// A flush failed with an error that a retry cannot resolve. Only a repair ends this state.
    Stopped(Error),
}

/// A flush that failed and is retried.
#[derive(Debug)]
struct Retry {
    /// When the first of the failures in a row happened.
    since: Instant,
    error: Error,
    failures: u32,
    /// When the latest of them happened.
    failed_at: Instant,
    /// `None` for a back-off that the clock cannot express: only a request, or close, ends it.
    retry_at: Option<Instant>,
}

/// The consequence of a failed flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// It is retried after this delay.
    Retry { failures: u32, delay: Duration },
    /// Flushes have stopped.
    Stop,
}

/// When the flusher makes its next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextAttempt {
    /// When a flush is due.
    WhenDue,
    /// At the end of a back-off.
    At(Instant),
    /// No further attempt by itself: flushes have stopped, or the back-off has no end.
    Never,
}

impl WriteState {
    /// Returns the error with which mutations are refused; `None` if they are accepted.
    pub(crate) fn refusal(&self) -> Option<Error> {
        match (&self.phase, &self.flushes, self.repair) {
            (Phase::Closing(error) | Phase::Closed(error), ..) => Some(error.clone()),
            (Phase::Open, Flushes::Stopped(error), _) => Some(error.clone()),
            (Phase::Open, _, Repair::None) => None,
            (Phase::Open, Flushes::Retrying(retry), Repair::Recovering) => Some(retry.error.clone()),
            (Phase::Open, ..) => Some(Error::new(
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

    /// Returns when the flusher makes its next attempt.
    pub(crate) fn next_attempt(&self) -> NextAttempt {
        match &self.flushes {
            Flushes::Succeeding => NextAttempt::WhenDue,
            Flushes::Retrying(retry) => retry.retry_at.map_or(NextAttempt::Never, NextAttempt::At),
            Flushes::Stopped(_) => NextAttempt::Never,
        }
    }

    /// Shortens a longer back-off on request, so that it ends a second after the failure. A further request
    /// changes nothing.
    pub(crate) fn shorten_backoff(&mut self) {
        if let Flushes::Retrying(retry) = &mut self.flushes {
            let at = retry.failed_at + MIN_REQUESTED_DELAY;
            retry.retry_at = Some(retry.retry_at.map_or(at, |retry_at| retry_at.min(at)));
        }
    }

    pub(crate) fn flush_succeeded(&mut self) {
        self.flushes = Flushes::Succeeding;
    }

    /// Records a failed flush. The delay doubles with each failure in a row, from the first to the longest of
    /// `backoff`.
    pub(crate) fn flush_failed(
        &mut self,
        error: &Error,
        backoff: (Duration, Duration),
        now: Instant,
    ) -> AfterFailure {
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
        let (error, retry_at) = (error.clone(), now.checked_add(delay));
        self.flushes = Flushes::Retrying(Retry { since, error, failures, failed_at: now, retry_at });
        AfterFailure::Retry { failures, delay }
    }

    /// Refuses mutations while the store below is repaired.
    ///
    /// # Errors
    ///
    /// `Closed` once the store is being closed.
    pub(crate) fn begin_repair(&mut self) -> Result<()> {
        if self.is_closing() {
            return Err(Error::closed());
        }
        self.repair = Repair::Running { was_recovering: self.is_recovering() };
        Ok(())
    }

    /// Returns to the state before the repair. A flush may have stopped meanwhile: then mutations stay
    /// refused.
    pub(crate) fn repair_failed(&mut self) {
        if let Repair::Running { was_recovering } = self.repair {
            self.repair = if was_recovering { Repair::Recovering } else { Repair::None };
        }
    }

    /// Records that the store below is repaired. Flushes are attempted again, and mutations are refused until
    /// every change that was pending is committed.
    pub(crate) fn repaired(&mut self) {
        (self.repair, self.flushes) = (Repair::Recovering, Flushes::Succeeding);
    }

    /// Whether the store below is being repaired.
    pub(crate) fn is_repairing(&self) -> bool {
        matches!(self.repair, Repair::Running { .. })
    }

    /// Whether changes that were pending before a repair are still to be committed.
    pub(crate) fn is_recovering(&self) -> bool {
        self.repair == Repair::Recovering
    }

    /// Accepts mutations again after a repair, unless the store is being closed.
    pub(crate) fn recovered(&mut self) {
        if self.is_recovering() {
            self.repair = Repair::None;
        }
    }

    /// Refuses mutations from now on: with the error that had stopped flushes, otherwise as closed. Ends the
    /// current back-off, because close has a deadline.
    pub(crate) fn begin_close(&mut self) {
        if self.is_closing() {
            return;
        }
        self.phase = Phase::Closing(self.stop_error().cloned().unwrap_or_else(Error::closed));
        if let Flushes::Retrying(retry) = &mut self.flushes {
            retry.retry_at = Some(Instant::now());
        }
    }

    /// Whether `close` was called.
    pub(crate) fn is_closing(&self) -> bool {
        !matches!(self.phase, Phase::Open)
    }

    /// Whether `close` has ended.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed(_))
    }

    pub(crate) fn closed(&mut self) {
        if let Phase::Closing(error) = &self.phase {
            self.phase = Phase::Closed(error.clone());
        }
    }

    /// Returns the state that health reports. `lagging` is the time for which the oldest pending change has
    /// been overdue, if it is.
    pub(crate) fn health(&self, lagging: Option<Duration>) -> HealthState {
        match (&self.phase, self.refusal(), &self.flushes) {
            (Phase::Closing(_), ..) => HealthState::Closing,
            (Phase::Closed(_), ..) => HealthState::Closed,
            (_, Some(error), _) => HealthState::refusing(error),
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
