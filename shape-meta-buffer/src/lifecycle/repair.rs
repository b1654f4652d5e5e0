use shape_meta_core::{Error, ErrorKind, Repaired, Result, ShapeStore, ShapeStoreExt, TrustedState};

use crate::{memtable::Gate, shared::Shared};

impl<S: ShapeStore> Shared<S> {
    /// Has the store below repaired, writes what is pending, and opens the gate again: in this order, so that nothing
    /// is accepted on the strength of a shape that could not be saved. Not while it is being closed.
    pub(crate) fn repair(&self) -> Result<Repaired> {
        let busy = "the database is being repaired; try again in a moment";
        let before = self.overlay.write().gate.replace(Gate::Shut(Error::new(ErrorKind::Busy, busy)));
        let mut is_new = false;
        let repaired = self.repair_shut(&mut is_new);
        let mut state = self.overlay.write();
        match &repaired {
            Ok(_) => state.gate = Gate::Open,
            // Pending changes may rest on shapes that are gone by now, so nothing is added to them.
            Err(error) if is_new => state.gate = Gate::Shut(error.clone()),
            Err(_) => state.gate = before,
        }
        drop(state);
        self.room.raise();
        repaired
    }

    fn repair_shut(&self, is_new: &mut bool) -> Result<Repaired> {
        let repaired = {
            // No flush is under way, and none begins.
            let _turn = self.turn.lock();
            self.publish()?;
            let known = TrustedState { entries: None, last_seq: Some(self.overlay.below()) };
            let repaired = self.inner.rebuild_from(known)?;
            *is_new = true;
            *self.trouble.lock() = None;
            repaired
        };
        self.progress.go_on();
        while self.flush_once()?.is_some() {}
        // Nothing is pending, and nothing comes in: so this is what there is.
        let counts = self.inner.counts()?;
        self.overlay.write().recount(counts);
        Ok(repaired)
    }
}
