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
    pub(crate) fn is_retrying(&self) -> bool {
        self.trouble.lock().as_ref().is_some_and(|trouble| !trouble.stopped)
    }
}
