use std::{fmt, time::Duration};

use crate::Error;

/// How a store does: one answer for probes, for gauges and for people. From memory, without a wait.
///
/// Its `Display` is a sentence for a log or the body of a probe's answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// Whether writing goes on, and if not, why and since when.
    pub state: HealthState,
    /// The latest failure of a write, also after writing has gone on.
    pub last_error: Option<LastError>,
    /// The age of the oldest change that is not on disk: what a crash of the process would lose now, at
    /// most. Zero while nothing is pending.
    pub durability_window: Duration,
    /// The measured rate of writing, in changes a second; zero before the first flush, or without a buffer.
    pub drain_rate: f64,
}

/// Whether writing goes on. Reads go on in every state.
///
/// | state | mutations | [ready](Self::is_ready) | [live](Self::is_live) | what to do |
/// |---|---|---|---|---|
/// | `Ready` | accepted | yes | yes | nothing |
/// | `Degraded` | accepted up to the bound | yes | yes | see to the disk; what is pending is kept, and written when it can be |
/// | `Fenced` | refused | no | no | nothing, if the other owner was meant; this process can only read, and what it had pending is lost |
/// | `Stopped` | refused | no | yes | repair: the memory of this process still knows what the damaged file may not |
/// | `Closing` | refused | no | yes | wait |
/// | `Closed` | refused | no | no | nothing: the process was told to end |
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HealthState {
    /// The latest write succeeded, or there was none yet.
    Ready,
    /// Changes do not reach the disk as they should.
    Degraded {
        /// Why.
        why: Degradation,
        /// For how long.
        since: Duration,
    },
    /// Another owner has taken the database over. Nothing more is written from here (C11).
    Fenced {
        /// What was told.
        error: Error,
    },
    /// Nothing more will be written for another reason: the database is damaged, or is not what it was.
    Stopped {
        /// Why.
        error: Error,
    },
    /// [`close`](crate::StoreControl::close) was called, and writes what is pending.
    Closing,
    /// It has ended.
    Closed,
}

/// Why changes do not reach the disk as they should.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Degradation {
    /// The latest writes failed. A buffer tries them again.
    Failing {
        /// The latest failure.
        error: Error,
        /// How many attempts have failed since one succeeded.
        failures: u32,
    },
    /// No write has failed, but the oldest pending change should have been on disk long ago: the disk hangs, or
    /// is slower than what comes in.
    Lagging,
}

/// A failure that has happened.
#[derive(Clone, Debug)]
pub struct LastError {
    /// The failure.
    pub error: Error,
    /// How long ago it happened.
    pub ago: Duration,
}

impl Health {
    /// In this state, and nothing else to tell.
    pub fn new(state: HealthState) -> Self {
        Self { state, last_error: None, durability_window: Duration::ZERO, drain_rate: 0.0 }
    }

    /// Whether mutations are accepted: what a readiness probe asks. See the table of [`HealthState`].
    pub fn is_ready(&self) -> bool {
        self.state.is_ready()
    }

    /// Whether this process should go on: what a liveness probe asks. See the table of [`HealthState`].
    pub fn is_live(&self) -> bool {
        self.state.is_live()
    }
}

impl HealthState {
    /// The names of all states, in the order of their table.
    pub const NAMES: [&str; 6] = ["ready", "degraded", "fenced", "stopped", "closing", "closed"];

    /// A short name, fit for a label of a metric: one of [`NAMES`](Self::NAMES).
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

    /// Whether mutations are accepted.
    ///
    /// A degraded store is ready: another process could not write to the same disk either, and taking its
    /// traffic away would only take the reads away too.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready | Self::Degraded { .. })
    }

    /// Whether a new start of the process would lose more than it could win.
    ///
    /// A stopped store is live: a new start would forget what its memory still knows and the damaged file may not.
    pub fn is_live(&self) -> bool {
        !matches!(self, Self::Fenced { .. } | Self::Closed)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)?;
        if !self.durability_window.is_zero() {
            write!(f, "; the oldest change that is not on disk is {:.1?} old", self.durability_window)?;
        }
        match (&self.state, &self.last_error) {
            // The failure is the state's own.
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
                write!(f, "degraded for {since:.1?}: the disk does not keep up, or hangs")
            }
            Self::Fenced { error } => write!(f, "fenced: {error}"),
            Self::Stopped { error } => write!(f, "stopped: {error}"),
            Self::Closing => f.write_str("closing"),
            Self::Closed => f.write_str("closed"),
        }
    }
}
