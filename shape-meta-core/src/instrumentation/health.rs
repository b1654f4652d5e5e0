use std::{fmt, time::Duration};

use crate::{Error, ErrorKind};

/// The health of a store, for probes, gauges and people.
///
/// Its `Display` is a sentence for a log or for the body of a probe's response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// Whether mutations reach the disk; if not, why and since when.
    pub state: HealthState,
    /// The latest failed write. It is kept after later writes have succeeded.
    pub last_error: Option<LastError>,
    /// The latest damage that a read or a write has met, until a repair. Reads of all other shapes continue,
    /// and so do writes unless the state says otherwise. `None` in stores that do not record it.
    pub damage: Option<LastError>,
    /// The age of the oldest pending change: the most that a crash of the process would lose now. Zero while
    /// nothing is pending.
    pub durability_window: Duration,
    /// The measured commit rate, in changes per second. Zero before the first flush, and without a buffer.
    pub drain_rate: f64,
}

/// Whether mutations are accepted and reach the disk. Reads continue in every state.
///
/// | state | mutations | [ready](Self::is_ready) | [live](Self::is_live) | what to do |
/// |---|---|---|---|---|
/// | `Ready` | accepted | yes | yes | nothing |
/// | `Degraded` | accepted up to the bound | yes | yes | check the disk; pending changes are kept and retried |
/// | `Fenced` | refused | no | no | nothing, if the new owner was intended; this process can only read, and its pending changes are lost |
/// | `Stopped` | refused | no | yes | repair: memory still holds what the damaged file may have lost |
/// | `Closing` | refused | no | yes | wait |
/// | `Closed` | refused | no | no | nothing: the process is ending |
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HealthState {
    /// The latest write succeeded, or there was none yet.
    Ready,
    /// Writes fail, or are too slow.
    Degraded {
        /// The reason.
        why: Degradation,
        /// The time since the store became degraded.
        since: Duration,
    },
    /// A newer owner has taken the database over. This store writes nothing more (C11).
    Fenced {
        /// The failure, with the epochs.
        error: Error,
    },
    /// Writing has stopped for another reason: the database is damaged, or is not the one that was opened.
    /// With [`LeaseExpired`](crate::ErrorKind::LeaseExpired) it goes on by itself when the lease is renewed.
    Stopped {
        /// The failure that stopped writing.
        error: Error,
    },
    /// [`close`](crate::StoreControl::close) was called and flushes what is pending.
    Closing,
    /// The store is closed.
    Closed,
}

/// The reason why a store is degraded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Degradation {
    /// The latest writes failed. A buffer retries them.
    Failing {
        /// The latest failure.
        error: Error,
        /// The number of failed attempts since the last success.
        failures: u32,
    },
    /// No write has failed, but the oldest pending change is overdue: the disk hangs, or is slower than the
    /// incoming mutations.
    Lagging,
}

/// A failure in the past.
#[derive(Clone, Debug)]
pub struct LastError {
    /// The failure.
    pub error: Error,
    /// The time since then.
    pub ago: Duration,
}

impl Health {
    /// Returns the health of a store in this state, with nothing pending and no earlier failure.
    pub fn new(state: HealthState) -> Self {
        Self { state, last_error: None, damage: None, durability_window: Duration::ZERO, drain_rate: 0.0 }
    }

    /// Returns whether mutations are accepted: the result of a readiness probe. See the table of
    /// [`HealthState`].
    pub fn is_ready(&self) -> bool {
        self.state.is_ready()
    }

    /// Returns whether the process should keep running: the result of a liveness probe. See the table of
    /// [`HealthState`].
    pub fn is_live(&self) -> bool {
        self.state.is_live()
    }
}

impl HealthState {
    /// The names of all states, in the order of the table above.
    pub const NAMES: [&str; 6] = ["ready", "degraded", "fenced", "stopped", "closing", "closed"];

    /// Returns the state of a store that refuses mutations with this error: `Fenced`, or else `Stopped`.
    pub fn refusing(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Fenced => Self::Fenced { error },
            _ => Self::Stopped { error },
        }
    }

    /// Returns a short name, suitable as a metric label: one of [`NAMES`](Self::NAMES).
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded { .. } => "degraded",
            Self::Fenced { .. } => "fenced",
            Self::Stopped { .. } => "stopped",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }

    /// Returns whether mutations are accepted.
    ///
    /// A degraded store is ready: another process could not write to the same disk either, and without
    /// traffic the reads would be lost as well.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready | Self::Degraded { .. })
    }

    /// Returns whether the process should keep running.
    ///
    /// A stopped store is live: a restart would lose what memory still holds and the damaged file may have
    /// lost.
    pub fn is_live(&self) -> bool {
        !matches!(self, Self::Fenced { .. } | Self::Closed)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)?;
        if !self.durability_window.is_zero() {
            write!(f, "; the oldest pending change is {:.1?} old", self.durability_window)?;
        }
        if let (false, Some(damage)) = (matches!(self.state, HealthState::Stopped { .. }), &self.damage) {
            write!(f, "; damage was found {:.1?} ago: {}", damage.ago, damage.error)?;
        }
        match (&self.state, &self.last_error) {
            // The state reports the same failure.
            (HealthState::Fenced { .. } | HealthState::Stopped { .. }, _) | (_, None) => Ok(()),
            (HealthState::Degraded { why: Degradation::Failing { .. }, .. }, _) => Ok(()),
            (_, Some(LastError { error, ago })) => write!(f, "; a write failed {ago:.1?} ago: {error}"),
        }
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Degraded { why: Degradation::Failing { error, failures }, since } => {
                let attempts = if *failures == 1 { "attempt" } else { "attempts" };
                write!(f, "degraded for {since:.1?}: {error} ({failures} {attempts} failed)")
            }
            Self::Degraded { why: Degradation::Lagging, since } => {
                write!(f, "degraded for {since:.1?}: the disk is too slow or hangs")
            }
            Self::Fenced { error } => write!(f, "fenced: {error}"),
            Self::Stopped { error } => write!(f, "stopped: {error}"),
            Self::Closing => f.write_str("closing"),
            Self::Closed => f.write_str("closed"),
        }
    }
}
