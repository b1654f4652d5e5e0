use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
};

use crate::{
    Batch, Change, ChangeLog, Entry, Handle, LastReadStore, MemoryStore, ReadShapes, RebuildStore, Record,
    Result, Seq, ShapeStore, Timestamp, Usage, forward_reads,
    sync::{Mutex, MutexGuard},
};

/// A store in memory whose reads see a batch when it is published, and not when it is committed, as reads of
/// a cache over a disk do.
#[derive(Debug, Default)]
pub struct DeferredPublishStore {
    published: MemoryStore,
    committed: MemoryStore,
    /// The batches that are committed and not published yet.
    unpublished: Mutex<VecDeque<Batch>>,
    publishes_on_commit: bool,
}

impl DeferredPublishStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty store that publishes each batch when it is committed, as a disk without a cache does.
    pub fn immediate() -> Self {
        Self { publishes_on_commit: true, ..Self::default() }
    }

    /// Returns the committed state: what a crash would leave. Its entries are not shared with the callers.
    pub fn committed(&self) -> &MemoryStore {
        &self.committed
    }

    /// Publishes what is committed and reopens the store, as [`MemoryStore::reopen`] does.
    pub fn reopen(&self, at: Timestamp) -> Vec<Handle> {
        let batches: Vec<_> = self.unpublished().drain(..).collect();
        batches.iter().for_each(|batch| apply_to(&self.published, batch));
        self.committed.reopen(at);
        self.published.reopen(at)
    }

    fn unpublished(&self) -> MutexGuard<'_, VecDeque<Batch>> {
        self.unpublished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn apply_to(memory: &MemoryStore, batch: &Batch) {
    let applied = memory.apply(batch);
    debug_assert!(applied.is_ok(), "memory does not fail");
}

/// Copies a change with an entry of its own, as a disk does: what memory records in the caller's entry from
/// now on does not change the copy.
fn detached(change: &Change) -> Change {
    match change {
        Change::Add { record, state } => {
            let entry = Arc::new(record.entry.clone_with_seq(record.entry.created()));
            Change::Add { record: Arc::new(Record { entry, ..(**record).clone() }), state: *state }
        }
        other => other.clone(),
    }
}

#[deny(clippy::missing_trait_methods)]
impl ReadShapes for DeferredPublishStore {
    forward_reads!(self => self.published);
}

#[deny(clippy::missing_trait_methods)]
impl ShapeStore for DeferredPublishStore {
    fn apply(&self, batch: &Batch) -> Result<()> {
        self.commit(batch)?;
        self.publish(batch);
        Ok(())
    }

    fn commit(&self, batch: &Batch) -> Result<()> {
        let mut unpublished = self.unpublished();
        if batch.through > self.committed.last_seq()? {
            let changes = batch.changes.iter().map(detached).collect();
            self.committed.apply(&Batch { changes, through: batch.through })?;
            if self.publishes_on_commit {
                apply_to(&self.published, batch);
            } else {
                unpublished.push_back(batch.clone());
            }
        }
        Ok(())
    }

    /// # Panics
    ///
    /// If the batch is not the oldest committed batch that is not published yet (I2).
    fn publish(&self, batch: &Batch) {
        let mut unpublished = self.unpublished();
        if self.published.last_seq().is_ok_and(|published| published >= batch.through) {
            return;
        }
        let oldest = unpublished.pop_front();
        assert_eq!(
            oldest.map(|oldest| oldest.through),
            Some(batch.through),
            "I2: batches are published in the order of their commits"
        );
        apply_to(&self.published, batch);
    }

    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        self.published.load(each)
    }

    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        self.published.record_of(entry)
    }

    fn claim_unread(&self, entry: &Arc<Entry>, since: Timestamp) -> bool {
        self.published.claim_unread(entry, since)
    }

    fn release_claim(&self, entry: &Arc<Entry>) {
        self.published.release_claim(entry);
    }

    fn check_lease(&self) -> Result<()> {
        self.published.check_lease()
    }

    fn resource_usage(&self) -> Usage {
        self.published.resource_usage()
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        self.published.change_log()
    }

    fn last_read_store(&self) -> Option<&dyn LastReadStore> {
        self.published.last_read_store()
    }

    fn rebuild_store(&self) -> Option<&dyn RebuildStore> {
        self.published.rebuild_store()
    }
}
