//! What requests wait for: the snapshot of a shape, and changes of its log.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use shape_meta::{Handle, SnapshotState};
use tokio::sync::watch;

use crate::error::Failure;

/// How far a shape has come.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// Its snapshot is being made.
    Pending,
    /// It is served. The number grows with every change of its log.
    Ready(u64),
    /// It was removed.
    Gone,
    /// Its snapshot could not be made.
    Failed(Failure),
    /// It has to be removed, and the metadata does not accept that at present.
    Broken,
}

/// The shapes that requests or the snapshot of a shape have looked up since the start.
#[derive(Default)]
pub(crate) struct Live(Mutex<HashMap<Handle, watch::Sender<Phase>>>);

impl Live {
    /// Returns the phase of a shape, to wait for the next one.
    ///
    /// `state` reads the metadata, without blocking. It is called under the lock, and the metadata changes
    /// before the methods below are called: so no change is missed.
    pub(crate) fn subscribe(
        &self,
        handle: &Handle,
        state: impl FnOnce() -> Option<SnapshotState>,
    ) -> watch::Receiver<Phase> {
        let mut shapes = self.lock();
        if let Some(shape) = shapes.get(handle) {
            return shape.subscribe();
        }
        let Some(state) = state() else { return watch::channel(Phase::Gone).1 };
        let phase = if state.is_complete() { Phase::Ready(0) } else { Phase::Pending };
        shapes.entry(handle.clone()).or_insert_with(|| watch::Sender::new(phase)).subscribe()
    }

    pub(crate) fn ready(&self, handle: &Handle) {
        self.set(handle, |phase| *phase = Phase::Ready(0));
    }

    pub(crate) fn changed(&self, handle: &Handle) {
        self.set(handle, |phase| {
            if let Phase::Ready(version) = phase {
                *version += 1;
            }
        });
    }

    pub(crate) fn broken(&self, handle: &Handle) {
        let mut shapes = self.lock();
        shapes
            .entry(handle.clone())
            .or_insert_with(|| watch::Sender::new(Phase::Broken))
            .send_replace(Phase::Broken);
    }

    pub(crate) fn gone(&self, handle: &Handle) {
        self.end(handle, Phase::Gone);
    }

    pub(crate) fn failed(&self, handle: &Handle, failure: Failure) {
        self.end(handle, Phase::Failed(failure));
    }

    pub(crate) fn all_gone(&self) {
        for (_, shape) in self.lock().drain() {
            shape.send_replace(Phase::Gone);
        }
    }

    /// Forgets shapes that are not live and those that no request waits for, as far as they are served.
    pub(crate) fn retain(&self, is_live: impl Fn(&Handle) -> bool) {
        self.lock().retain(|handle, shape| {
            if !is_live(handle) {
                shape.send_replace(Phase::Gone);
                return false;
            }
            !matches!(*shape.borrow(), Phase::Ready(_)) || shape.receiver_count() > 0
        });
    }

    fn end(&self, handle: &Handle, phase: Phase) {
        if let Some(shape) = self.lock().remove(handle) {
            shape.send_replace(phase);
        }
    }

    fn set(&self, handle: &Handle, change: impl FnOnce(&mut Phase)) {
        if let Some(shape) = self.lock().get(handle) {
            shape.send_modify(change);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Handle, watch::Sender<Phase>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
