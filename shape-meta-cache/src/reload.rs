use std::sync::Arc;

use shape_meta_core::{ApplyChanges, Batch, Change, Entry, Result};

use crate::{
    Cached,
    draft::{Draft, Writer},
};

/// What [`Cached::reload`] found to be different.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Reloaded {
    /// Shapes that the mirror did not have.
    pub added: usize,
    /// Shapes that the mirror had, and that are gone.
    pub removed: usize,
}

impl<S: ApplyChanges> Cached<S> {
    /// Reads everything small from the store below again, and publishes what has changed there in one
    /// step: for a store that someone else writes, as a standby has.
    ///
    /// Readers never miss a shape that was there before and is there afterwards, and shapes that stay keep
    /// their last-read times. Costs a read of all shapes, and memory for a second copy of their entries
    /// while it runs.
    ///
    /// # Errors
    ///
    /// If the store below cannot be read. The mirror stays as it was.
    pub fn reload(&self) -> Result<Reloaded> {
        let mut writer = self.writer();
        let reloaded = self.reload_with(&mut writer, &Batch::default())?;
        writer.unsure = false;
        Ok(reloaded)
    }

    /// A shape that `pending` adds, and that turns out to be there, comes in with the entry that the layer
    /// above has of it: reads of it were noted there, and still are.
    pub(crate) fn reload_with(&self, writer: &mut Writer, pending: &Batch) -> Result<Reloaded> {
        let flight = self.in_flight.begin();
        let mut entries: Vec<Arc<Entry>> = Vec::new();
        let last_seq = self.inner.load(&mut |entry| entries.push(entry))?;

        let mut reloaded = Reloaded::default();
        let staying: foldhash::HashSet<_> = entries.iter().map(|entry| entry.created()).collect();
        let mut leaving = Vec::new();
        for chunk in self.mirror.roster.chunks() {
            let entries = chunk.entries();
            leaving.extend(entries.iter().map(|entry| entry.created()).filter(|one| !staying.contains(one)));
        }
        let adding: foldhash::HashMap<_, _> = pending
            .changes
            .iter()
            .filter_map(|change| match change {
                Change::Add { record, .. } => Some((record.entry.created(), &record.entry)),
                _ => None,
            })
            .collect();
        let mut draft = Draft::new(&self.mirror, writer);
        for created in leaving {
            draft.remove(created);
            reloaded.removed += 1;
        }
        for entry in entries {
            match self.mirror.roster.get(entry.created()) {
                Some(own) => own.advance(entry.state()),
                None => {
                    // At the place of another change that did not come through there may be another shape.
                    let same =
                        |above: &&&Arc<Entry>| above.handle() == entry.handle() && above.key() == entry.key();
                    match adding.get(&entry.created()).filter(same) {
                        Some(above) => {
                            above.advance(entry.state());
                            draft.add(above);
                        }
                        None => draft.add(&entry),
                    }
                    reloaded.added += 1;
                }
            }
        }
        let litter = draft.publish(last_seq, &*self.observer);
        drop(flight);
        writer.sweep(litter);
        self.mirror.readers.refill();
        Ok(reloaded)
    }
}
