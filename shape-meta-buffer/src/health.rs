use std::time::Duration;

use shape_meta_core::{ApplyChanges, Error};

use crate::{overlay::Gate, shared::Shared};

/// Whether writing goes well. Reads go on in every state.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Health {
    /// Flushes succeed, or nothing had to be flushed yet.
    Ready,
    /// The latest flushes failed, and are tried again; mutations are accepted up to the bound.
    Degraded {
        /// The latest failure.
        error: Error,
        /// For how long flushes have failed.
        since: Duration,
        /// How many attempts have failed.
        failures: u32,
    },
    /// Nothing more will be written, and mutations are refused: the store below is damaged or fenced.
    Stopped {
        /// Why.
        error: Error,
    },
    /// [`close`](crate::Buffered::close) was called.
    Closed,
}

impl Health {
    pub(crate) fn of<S: ApplyChanges>(shared: &Shared<S>) -> Self {
        if let Some(trouble) = shared.trouble.lock().clone() {
            return if trouble.stopped {
                Self::Stopped { error: trouble.error }
            } else {
                Self::Degraded {
                    error: trouble.error,
                    since: trouble.since.elapsed(),
                    failures: trouble.failures,
                }
            };
        }
        match shared.overlay.read().gate {
            Gate::Open => Self::Ready,
            Gate::Shut(_) => Self::Closed,
        }
    }
}

impl<S> Shared<S> {
    pub(crate) fn is_retrying(&self) -> bool {
        self.trouble.lock().as_ref().is_some_and(|trouble| !trouble.stopped)
    }
}
