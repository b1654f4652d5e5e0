use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, atomic::Ordering},
};

use shape_meta_core::{
    Batch, Change, ChangeLog, Delta, Entry, Error, ErrorKind, LastReadStore, ReadShapes, RebuildStore,
    Record, Repaired, Result, Seq, ShapeStore, ShapeStoreExt, SweepProgress, Timestamp, TrustedState, Usage,
};

use super::{
    update::MirrorUpdate,
    writer::{Cleanup, Writer},
};
use crate::{Cached, cached::line_of};

/// The number of changes from which a publish also applies them to the other side of the table, when no
/// reader waits for it. Below, the next publish does it.
const SYNC_MIN_CHANGES: usize = 100;

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore> ShapeStore for Cached<S> {
    /// Commits the batch in the store below, then publishes it to the readers of the mirror (I2). Apart from
    /// [`refresh`](Cached::refresh), only this path writes the mirror (I4).
    ///
    /// If the store below fails after it has committed, the batch is still published, so that reads agree
    /// with the disk. The error is returned, and a retry returns `Ok`.
    fn apply(&self, batch: &Batch) -> Result<()> {
        let mut writer = self.writer()?;
        self.check_outcome(&mut writer, batch)?;
        if batch.through <= writer.totals.last_seq {
            return Ok(());
        }

        let guard = self.in_flight.start();
        writer.outcome_unknown = true;
        let committed = catch_unwind(AssertUnwindSafe(|| self.inner.apply(batch)));
        let outcome = committed.unwrap_or_else(|panic| {
            writer.uncertain_adds = added_entries(batch);
            resume_unwind(panic)
        });
        if outcome.is_err() {
            match self.inner.last_seq() {
                Ok(last_seq) if last_seq < batch.through => {
                    writer.outcome_unknown = false;
                    return outcome;
                }
                Ok(_) => {}
                Err(_) => {
                    writer.uncertain_adds = added_entries(batch);
                    return outcome;
                }
            }
        }
        let cleanup = self.publish_batch(&mut writer, batch);
        writer.outcome_unknown = false;
        // From here on all readers see the batch. The waiting readers resume before the cleanup.
        drop(guard);
        self.finish_publish(&mut writer, cleanup);
        outcome
    }

    /// Commits the batch in the store below.
    ///
    /// Without a buffer above, the batch is published here as well: disk reads wait for the publish, and a
    /// later publish would only make them wait longer.
    fn commit(&self, batch: &Batch) -> Result<()> {
        if !self.below_buffer {
            return self.apply(batch);
        }
        self.writer.check_not_locked_here()?;
        if self.in_doubt.load(Ordering::Acquire) {
            let mut writer = self.writer()?;
            if writer.needs_full_reload {
                self.reload_with(&mut writer)?;
            }
        }
        // Not under the writer's lock: the previous batch may be publishing.
        let committed = catch_unwind(AssertUnwindSafe(|| self.inner.commit(batch)));
        if matches!(committed, Ok(Ok(()))) {
            // If this was a retry, the outcome of the earlier attempt is known now.
            if self.in_doubt.swap(false, Ordering::AcqRel) {
                self.writer()?.outcome_known();
            }
        } else {
            let mut writer = self.writer()?;
            writer.outcome_unknown = true;
            writer.uncertain_adds = added_entries(batch);
            self.in_doubt.store(true, Ordering::Release);
        }
        committed.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn publish(&self, batch: &Batch) {
        self.inner.publish(batch);
        // Neither layer that publishes does so on a thread that is within a write of this cache.
        let Ok(mut writer) = self.writer() else { return };
        if batch.through <= writer.totals.last_seq {
            return;
        }
        let cleanup = self.publish_batch(&mut writer, batch);
        let published = cleanup.published;
        writer.clean_up(cleanup);
        if writer.unsynced_changes >= SYNC_MIN_CHANGES {
            writer.sync_sides();
        }
        self.mirror.readers.refill();
        self.observer.published(&published);
    }

    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        let (chunks, last_seq) = {
            let writer = self.writer()?;
            let chunks = self.mirror.entry_list.chunks();
            let entries: Vec<_> = chunks.iter().map(|chunk| chunk.entries().clone()).collect();
            (entries, writer.totals.last_seq)
        };
        chunks.into_iter().flatten().for_each(each);
        Ok(last_seq)
    }

    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        self.inner.record_of(entry)
    }

    fn claim_unread(&self, entry: &Arc<Entry>, since: Timestamp) -> bool {
        self.own_entry(entry).claim_unread(since)
    }

    fn release_claim(&self, entry: &Arc<Entry>) {
        self.own_entry(entry).release_claim();
    }

    fn check_lease(&self) -> Result<()> {
        self.inner.check_lease()
    }

    fn resource_usage(&self) -> Usage {
        let mut usage = self.inner.resource_usage();
        usage.shapes = self.counts().ok();
        usage.cache_bytes += self.memory().total();
        usage
    }

    /// Returns that of the store below, which may be ahead of the mirror by the batch in flight.
    fn change_log(&self) -> Option<&dyn ChangeLog> {
        self.inner.change_log()?;
        Some(self)
    }

    fn last_read_store(&self) -> Option<&dyn LastReadStore> {
        Some(self)
    }

    fn rebuild_store(&self) -> Option<&dyn RebuildStore> {
        Some(self)
    }
}

impl<S: ShapeStore> ChangeLog for Cached<S> {
    /// Waits for the batch in flight, unless a buffer above shows it: what it returns is visible.
    fn since(&self, seq: Seq) -> Result<Option<Delta>> {
        let delta = self.inner.changes_since(seq);
        self.wait_published()?;
        delta
    }

    fn line(&self) -> u64 {
        line_of(&self.inner)
    }
}

impl<S: ShapeStore> LastReadStore for Cached<S> {
    fn save(&self, reads: &[(Seq, Timestamp)]) -> Result<()> {
        for (created, at) in reads {
            if let Some(entry) = self.mirror.entry_list.get(*created) {
                entry.merge_last_read(*at);
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

impl<S: ShapeStore> RebuildStore for Cached<S> {
    /// Rebuilds the store below. The mirrored entries supply the data of lost rows.
    ///
    /// Readers use the mirror meanwhile. Shapes that could not be saved leave it in one step, after the new
    /// store is in place.
    fn rebuild(&self, _: TrustedState<'_>) -> Result<Repaired> {
        let mut writer = self.writer()?;
        // A shape that an apply of unknown outcome has removed must not count as lost. If the store cannot be
        // read, all mirrored entries count as live.
        let _ = self.resolve_outcome(&mut writer);
        let chunks = self.mirror.entry_list.chunks();
        let entries: Vec<_> = chunks.iter().flat_map(|chunk| chunk.entries().clone()).collect();
        let trusted = TrustedState { entries: Some(&entries), last_seq: Some(writer.totals.last_seq) };
        let repaired = self.inner.rebuild_from(trusted)?;
        // No batch is committed before the mirror is reloaded from the rebuilt store.
        writer.needs_full_reload = true;
        self.in_doubt.store(true, Ordering::Release);
        self.reload_with(&mut writer)?;
        Ok(repaired)
    }
}

impl<S: ShapeStore> Cached<S> {
    /// Returns the entry in which reads of this shape are recorded: a reload may have replaced the one that
    /// the layer above holds.
    fn own_entry(&self, entry: &Arc<Entry>) -> Arc<Entry> {
        let own = self.mirror.entry(entry.handle()).filter(|own| own.created() == entry.created());
        own.unwrap_or_else(|| Arc::clone(entry))
    }

    /// Publishes a committed batch to all readers.
    fn publish_batch(&self, writer: &mut Writer, batch: &Batch) -> Cleanup {
        let mut update = MirrorUpdate::new(&self.mirror, writer);
        update.apply(batch);
        update.publish(batch.through)
    }

    /// Cleans up after a publish that all readers see, and reports it. The observer is called last: it may
    /// read the store, also from the disk, and if it panics, the mirror is consistent.
    pub(super) fn finish_publish(&self, writer: &mut Writer, cleanup: Cleanup) {
        let published = cleanup.published;
        writer.clean_up(cleanup);
        self.mirror.readers.refill();
        self.observer.published(&published);
    }

    /// Resolves an unknown outcome before a batch is applied.
    ///
    /// # Errors
    ///
    /// `Interrupted` if the earlier batch turned out to be committed and `batch` has one of its sequence
    /// numbers. A direct store assigns sequence numbers from the mirror, which lagged then. Skipping `batch`
    /// as already applied would lose it, so the caller must try again.
    fn check_outcome(&self, writer: &mut Writer, batch: &Batch) -> Result<()> {
        if self.resolve_outcome(writer)? && batch.through <= writer.totals.last_seq {
            return Err(Error::new(
                ErrorKind::Interrupted,
                "this batch was not applied: an earlier batch, whose outcome was unknown, turned out to be \
                 committed; reads show the earlier batch now, and nothing else has changed; try again",
            ));
        }
        Ok(())
    }

    /// Reloads the mirror if the store below has committed a batch whose outcome was unknown, or was repaired
    /// and not loaded yet. Returns whether it had to.
    fn resolve_outcome(&self, writer: &mut Writer) -> Result<bool> {
        let lagging = writer.needs_full_reload
            || (writer.outcome_unknown && self.inner.last_seq()? > writer.totals.last_seq);
        if lagging {
            self.reload_with(writer)?;
        }
        writer.outcome_known();
        Ok(lagging)
    }
}

/// Returns the entries of the shapes that a batch adds.
fn added_entries(batch: &Batch) -> Vec<Arc<Entry>> {
    let added = batch.changes.iter().filter_map(|change| match change {
        Change::Add { record, .. } => Some(Arc::clone(&record.entry)),
        _ => None,
    });
    added.collect()
}
