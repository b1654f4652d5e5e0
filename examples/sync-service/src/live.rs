//! What requests wait for and the metadata does not know: changes of logs, and why a snapshot failed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use shape_meta::Handle;
use tokio::sync::watch;

use crate::error::Failure;

/// The failures that are kept for the requests that wait for a snapshot.
const MAX_FAILURES: usize = 1_000;

/// Changes of logs, and failed snapshots.
#[derive(Default)]
pub(crate) struct Live {
    /// For each shape that a request waits for, the number of changes meanwhile.
    changes: Mutex<HashMap<Handle, watch::Sender<u64>>>,
    failures: Mutex<VecDeque<(Handle, Failure)>>,
}

impl Live {
    /// Subscribes to the changes of a log. Those after this call are noticed.
    pub(crate) fn subscribe(&self, handle: &Handle) -> watch::Receiver<u64> {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.entry(handle.clone()).or_default().subscribe()
    }

    /// Wakes the requests that wait for a change of this log.
    pub(crate) fn changed(&self, handle: &Handle) {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shape) = changes.get(handle) {
            shape.send_modify(|count| *count += 1);
        }
    }

    /// Forgets the logs that no request waits for.
    pub(crate) fn forget_unused(&self) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.retain(|_, shape| shape.receiver_count() > 0);
    }

    /// Keeps the reason for which a shape is about to be removed.
    pub(crate) fn failed(&self, handle: &Handle, failure: Failure) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push_back((handle.clone(), failure));
        if failures.len() > MAX_FAILURES {
            failures.pop_front();
        }
    }

    pub(crate) fn failure(&self, handle: &Handle) -> Option<Failure> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.iter().find(|(failed, _)| failed == handle).map(|(_, failure)| failure.clone())
    }
}
