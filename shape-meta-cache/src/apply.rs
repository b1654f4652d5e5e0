use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, atomic::Ordering},
};

use shape_meta_core::{
    Batch, Change, ChangeLog, Entry, Error, ErrorKind, LastReadStore, ReadShapes, RebuildStore, Record,
    Repaired, Result, Seq, ShapeStore, ShapeStoreExt, SweepProgress, Timestamp, TrustedState, Usage,
};

use crate::{
    Cached,
    draft::{Draft, Litter, Writer},
};

/// After so many changes the other side of the table is brought up to date at once, where nobody waits for it.
/// Otherwise the next publish does it.
const WORTH_A_TURN: usize = 100;

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore> ShapeStore for Cached<S> {
    /// Commits the batch in the store below, then publishes it to the readers of the mirror (I2). This is
    /// all that ever writes the mirror, besides [`refresh`](Cached::refresh) (I4).
    ///
    /// If the store below fails after it has committed, the batch is published all the same, so that
    /// reads agree with the disk, and the failure is returned; another attempt then finds it done.
    fn apply(&self, batch: &Batch) -> Result<()> {
        let mut writer = self.writer();
        self.make_sure(&mut writer, batch)?;
        if batch.through <= writer.totals.last_seq {
            return Ok(());
        }

        let flight = self.in_flight.begin();
        writer.unsure = true;
        let committed = catch_unwind(AssertUnwindSafe(|| self.inner.apply(batch)));
        let outcome = committed.unwrap_or_else(|panic| {
            writer.adding = added(batch);
            resume_unwind(panic)
        });
        if outcome.is_err() {
            match self.inner.last_seq() {
                Ok(last_seq) if last_seq < batch.through => {
                    writer.unsure = false;
                    return outcome;
                }
                Ok(_) => {}
                Err(_) => {
                    writer.adding = added(batch);
                    return outcome;
                }
            }
        }
        let litter = self.show(&mut writer, batch);
        writer.unsure = false;
        // Everyone sees it from here on; what follows is housekeeping that nobody needs to wait for.
        drop(flight);
        writer.sweep(litter);
        self.mirror.readers.refill();
        outcome
    }

    /// Commits it in the store below. Where no layer above covers the gap, it is published here as well: reads
    /// of the disk wait for that, and nothing is to be gained by making them wait for longer.
    fn commit(&self, batch: &Batch) -> Result<()> {
        if !self.below_buffer {
            return self.apply(batch);
        }
        if self.in_doubt.load(Ordering::Acquire) {
            let mut writer = self.writer();
            if writer.outdated {
                self.reload_with(&mut writer)?;
            }
        }
        // Without the writer's lock: the batch before may be being published.
        let committed = catch_unwind(AssertUnwindSafe(|| self.inner.commit(batch)));
        if matches!(committed, Ok(Ok(()))) {
            // What it has come to is known by now, if it was tried before.
            if self.in_doubt.swap(false, Ordering::AcqRel) {
                self.writer().be_sure();
            }
        } else {
            let mut writer = self.writer();
            writer.unsure = true;
            writer.adding = added(batch);
            self.in_doubt.store(true, Ordering::Release);
        }
        committed.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn publish(&self, batch: &Batch) {
        self.inner.publish(batch);
        let mut writer = self.writer();
        if batch.through <= writer.totals.last_seq {
            return;
        }
        let litter = self.show(&mut writer, batch);
        writer.sweep(litter);
        if writer.behind >= WORTH_A_TURN {
            writer.catch_up();
        }
        self.mirror.readers.refill();
    }

    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        let (chunks, last_seq) = {
            let writer = self.writer();
            let chunks = self.mirror.roster.chunks();
            let entries: Vec<_> = chunks.iter().map(|chunk| chunk.entries().clone()).collect();
            (entries, writer.totals.last_seq)
        };
        chunks.into_iter().flatten().for_each(each);
        Ok(last_seq)
    }

    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        self.inner.record_of(entry)
    }

    fn resource_usage(&self) -> Usage {
        let mut usage = self.inner.resource_usage();
        usage.shapes = self.counts().ok();
        usage.cache_bytes += self.memory().total();
        usage
    }

    /// The mirror keeps none, and that of the store below may be ahead of what reads show here.
    fn change_log(&self) -> Option<&dyn ChangeLog> {
        None
    }

    fn last_read_store(&self) -> Option<&dyn LastReadStore> {
        Some(self)
    }

    fn rebuild_store(&self) -> Option<&dyn RebuildStore> {
        Some(self)
    }
}

impl<S: ShapeStore> LastReadStore for Cached<S> {
    fn save(&self, reads: &[(Seq, Timestamp)]) -> Result<()> {
        for (created, at) in reads {
            if let Some(entry) = self.mirror.roster.get(*created) {
                entry.learn(*at);
            }
        }
        self.inner.save_reads(reads)
    }

    fn for_each_saved(&self, each: &mut dyn FnMut(Seq, Timestamp)) -> Result<()> {
        self.inner.saved_reads(each)
    }

    fn sweep(&self) -> Result<SweepProgress> {
        self.sweep_mirror()
    }
}

/// With all that is mirrored, which supplies what rows have lost. Readers go on reading the mirror; what could not
/// be saved leaves it in one step, once the new store is in place.
impl<S: ShapeStore> RebuildStore for Cached<S> {
    fn rebuild(&self, _: TrustedState<'_>) -> Result<Repaired> {
        let mut writer = self.writer();
        // What an apply of unknown outcome has removed is not lost. If the store cannot say what it has come to,
        // all that is mirrored counts as there.
        let _ = self.find_out(&mut writer);
        let chunks = self.mirror.roster.chunks();
        let entries: Vec<_> = chunks.iter().flat_map(|chunk| chunk.entries().clone()).collect();
        let trusted = TrustedState { entries: Some(&entries), last_seq: Some(writer.totals.last_seq) };
        let repaired = self.inner.rebuild_from(trusted)?;
        // Until the mirror agrees with what is there now, nothing is written.
        writer.outdated = true;
        self.in_doubt.store(true, Ordering::Release);
        self.reload_with(&mut writer)?;
        Ok(repaired)
    }
}

impl<S: ShapeStore> Cached<S> {
    /// Shows a batch that is committed to all readers.
    fn show(&self, writer: &mut Writer, batch: &Batch) -> Litter {
        let mut draft = Draft::new(&self.mirror, writer);
        draft.apply(batch);
        draft.publish(batch.through, &*self.observer)
    }

    /// After an apply whose outcome is not known, the mirror is brought up to date first.
    ///
    /// Then the caller may hold a batch that it made for a place in the order which is taken: a direct
    /// store asks the mirror for the last place. To skip that batch as done would lose it. So it is sent
    /// back, and the next attempt knows better.
    fn make_sure(&self, writer: &mut Writer, batch: &Batch) -> Result<()> {
        if self.find_out(writer)? && batch.through <= writer.totals.last_seq {
            return Err(Error::new(
                ErrorKind::Interrupted,
                "an earlier change, whose outcome was not known, turned out to be committed; reads show \
                 it now, and nothing else was changed: try again",
            ));
        }
        Ok(())
    }

    /// After an apply whose outcome is not known, asks the store below how far it has come, and reads from it what
    /// the mirror lacks; after a repair that did not come so far, in any case. Says whether that was to be done.
    fn find_out(&self, writer: &mut Writer) -> Result<bool> {
        let behind = writer.outdated || (writer.unsure && self.inner.last_seq()? > writer.totals.last_seq);
        if behind {
            self.reload_with(writer)?;
        }
        writer.unsure = false;
        Ok(behind)
    }
}

/// The entries of the shapes that a batch adds.
fn added(batch: &Batch) -> Vec<Arc<Entry>> {
    let added = batch.changes.iter().filter_map(|change| match change {
        Change::Add { record, .. } => Some(Arc::clone(&record.entry)),
        _ => None,
    });
    added.collect()
}
