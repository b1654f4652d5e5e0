use std::time::Duration;

use shape_meta_core::{ApplyChanges, Health};

use crate::{overlay::Gate, shared::Shared};

impl<S: ApplyChanges> Shared<S> {
    pub(crate) fn health(&self) -> Health {
        if let Some(trouble) = self.trouble.lock().clone() {
            return if trouble.stopped {
                Health::Stopped { error: trouble.error }
            } else {
                Health::Degraded {
                    error: trouble.error,
                    since: trouble.since.elapsed(),
                    failures: trouble.failures,
                }
            };
        }
        match self.overlay.read().gate {
            Gate::Open => Health::Ready,
            Gate::Shut(_) => Health::Closed,
        }
    }
}

impl<S> Shared<S> {
    /// How long to wait before the next attempt, while flushes fail and are tried again.
    pub(crate) fn retry_delay(&self) -> Option<Duration> {
        self.trouble.lock().as_ref().filter(|trouble| !trouble.stopped).map(|trouble| trouble.next)
    }
}
