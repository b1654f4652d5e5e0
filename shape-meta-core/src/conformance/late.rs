//! A store whose reads lag behind what is committed.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
};

use crate::{
    Batch, Change, ChangeLog, Entry, Handle, LastReadStore, MemoryStore, ReadShapes, RebuildStore, Record,
    Result, Seq, ShapeStore, Timestamp, Usage, forward_reads,
    sync::{Mutex, MutexGuard},
};

/// A store in memory that shows a batch when it is published, and not when it is committed: what a cache over
/// a disk does, without either.
#[derive(Debug, Default)]
pub struct LateStore {
    shown: MemoryStore,
    committed: MemoryStore,
    /// What is committed and not shown yet.
    behind: Mutex<VecDeque<Batch>>,
    is_prompt: bool,
}

impl LateStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that shows a batch when it is committed: what a disk without a cache does.
    pub fn prompt() -> Self {
        Self { is_prompt: true, ..Self::default() }
    }

    /// What is committed: what a crash would leave. It has entries of its own.
    pub fn committed(&self) -> &MemoryStore {
        &self.committed
    }

    /// What a restart does, as [`MemoryStore::reopen`].
    pub fn reopen(&self, at: Timestamp) -> Vec<Handle> {
        let behind: Vec<_> = self.behind().drain(..).collect();
        behind.iter().for_each(|batch| show(&self.shown, batch));
        self.committed.reopen(at);
        self.shown.reopen(at)
    }

    fn behind(&self) -> MutexGuard<'_, VecDeque<Batch>> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn show(memory: &MemoryStore, batch: &Batch) {
    let shown = memory.apply(batch);
    debug_assert!(shown.is_ok(), "memory does not fail");
}

/// As a disk has it: what memory notes in the entries from now on is not in it.
fn written(change: &Change) -> Change {
    match change {
        Change::Add { record, state } => {
            let entry = Arc::new(record.entry.clone_with_seq(record.entry.created()));
            Change::Add { record: Arc::new(Record { entry, ..(**record).clone() }), state: *state }
        }
        other => other.clone(),
    }
}

#[deny(clippy::missing_trait_methods)]
impl ReadShapes for LateStore {
    forward_reads!(self => self.shown);
}

#[deny(clippy::missing_trait_methods)]
impl ShapeStore for LateStore {
    fn apply(&self, batch: &Batch) -> Result<()> {
        self.commit(batch)?;
        self.publish(batch);
        Ok(())
    }

    fn commit(&self, batch: &Batch) -> Result<()> {
        let mut behind = self.behind();
        if batch.through > self.committed.last_seq()? {
            let changes = batch.changes.iter().map(written).collect();
            self.committed.apply(&Batch { changes, through: batch.through })?;
            if self.is_prompt {
                show(&self.shown, batch);
            } else {
                behind.push_back(batch.clone());
            }
        }
        Ok(())
    }

    /// # Panics
    ///
    /// If the batch is not the next of those that are committed (I2).
    fn publish(&self, batch: &Batch) {
        let mut behind = self.behind();
        if self.shown.last_seq().is_ok_and(|shown| shown >= batch.through) {
            return;
        }
        let next = behind.pop_front();
        assert_eq!(
            next.map(|next| next.through),
            Some(batch.through),
            "I2: what is published is not what is committed"
        );
        show(&self.shown, batch);
    }

    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        self.shown.load(each)
    }

    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        self.shown.record_of(entry)
    }

    fn resource_usage(&self) -> Usage {
        self.shown.resource_usage()
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        self.shown.change_log()
    }

    fn last_read_store(&self) -> Option<&dyn LastReadStore> {
        self.shown.last_read_store()
    }

    fn rebuild_store(&self) -> Option<&dyn RebuildStore> {
        self.shown.rebuild_store()
    }
}
