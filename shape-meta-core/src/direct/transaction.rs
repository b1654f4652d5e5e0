use std::{collections::HashSet, sync::Arc};

use super::queue::{Callers, Ticket};
use crate::{Batch, Change, Entry, Handle, Key, Mutation, Seq, ShapeStore, ShapeStoreExt, Timestamp};

/// The bytes of records from which a transaction takes no more.
const MAX_BYTES: usize = 8 << 20;

/// The shapes that a transaction removes because they were not read. Unless it commits, they are released.
pub(super) struct Claims<'a, S: ShapeStore> {
    store: &'a S,
    entries: Vec<Arc<Entry>>,
}

impl<'a, S: ShapeStore> Claims<'a, S> {
    pub(super) fn new(store: &'a S) -> Self {
        Self { store, entries: Vec::new() }
    }

    /// Claims a shape. Returns `false` if it was read at `since` or later.
    pub(super) fn claim(&mut self, entry: &Arc<Entry>, since: Timestamp) -> bool {
        let is_claimed = self.store.claim(entry, since);
        if is_claimed {
            self.entries.push(Arc::clone(entry));
        }
        is_claimed
    }

    /// Keeps the claims: the shapes are removed.
    pub(super) fn keep(mut self) {
        self.entries.clear();
    }
}

impl<S: ShapeStore> Drop for Claims<'_, S> {
    fn drop(&mut self) {
        self.entries.iter().for_each(|entry| self.store.release(entry));
    }
}

/// The changes of one commit, each with the ticket of its caller. No two of them concern the same shape, so
/// each was validated against the store alone.
pub(super) struct Transaction {
    last: Seq,
    callers: Callers,
    changes: Vec<Change>,
    bytes: usize,
    handles: HashSet<Handle>,
    keys: HashSet<Key>,
    is_closed: bool,
}

impl Transaction {
    /// An empty one, for a store that has reached `last`.
    pub(super) fn after(last: Seq) -> Self {
        Self {
            last,
            callers: Callers::none(),
            changes: Vec::new(),
            bytes: 0,
            handles: HashSet::new(),
            keys: HashSet::new(),
            is_closed: false,
        }
    }

    /// Whether a mutation has to wait for the next transaction: it concerns a shape that this one changes, or
    /// this one is full.
    pub(super) fn excludes(&self, mutation: &Mutation) -> bool {
        if self.changes.is_empty() {
            return false;
        }
        self.is_closed
            || self.bytes >= MAX_BYTES
            || match mutation {
                Mutation::Add(shape) => {
                    self.handles.contains(&shape.handle) || self.keys.contains(&shape.key)
                }
                Mutation::Remove(handle)
                | Mutation::RemoveUnread { handle, .. }
                | Mutation::Mark(handle, _) => self.handles.contains(handle.as_str()),
                Mutation::RemoveAll(_) | Mutation::Reset => true,
            }
    }

    /// Makes the mutations that concern the same shape wait as well, since this one comes before them.
    pub(super) fn exclude(&mut self, mutation: &Mutation) {
        match mutation {
            Mutation::Add(shape) => {
                self.handles.insert(shape.handle.clone());
                self.keys.insert(shape.key);
            }
            Mutation::Remove(handle) | Mutation::RemoveUnread { handle, .. } | Mutation::Mark(handle, _) => {
                // No shape has a text that is no handle.
                self.handles.extend(Handle::new(handle));
            }
            Mutation::RemoveAll(_) | Mutation::Reset => {}
        }
    }

    /// Takes no more changes.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The sequence number that the store has reached before.
    pub(super) fn last(&self) -> Seq {
        self.last
    }

    /// The sequence number of the next change.
    pub(super) fn next_seq(&self) -> Seq {
        Seq::new(self.last.get() + self.changes.len() as u64 + 1)
    }

    pub(super) fn push(&mut self, ticket: Arc<Ticket>, change: Change) {
        match &change {
            Change::Add { record, .. } => {
                self.handles.insert(record.handle().clone());
                self.keys.insert(*record.key());
            }
            Change::Remove { entry } => {
                self.handles.insert(entry.handle().clone());
                self.keys.insert(*entry.key());
            }
            Change::Mark { entry, .. } => {
                self.handles.insert(entry.handle().clone());
            }
            Change::Discard { handle, .. } => {
                self.handles.insert(handle.clone());
            }
            Change::Reset => self.is_closed = true,
        }
        self.bytes += change.memory();
        self.callers.push(ticket);
        self.changes.push(change);
    }

    /// Takes the removals of one caller, which are a transaction.
    pub(super) fn push_all(&mut self, ticket: Arc<Ticket>, removed: Vec<Arc<Entry>>) {
        self.is_closed = true;
        self.callers.push(ticket);
        self.changes.extend(removed.into_iter().map(|entry| Change::Remove { entry }));
    }

    /// Returns the batch, and the callers in the order of its changes; a single one if all changes are of
    /// that.
    pub(super) fn finish(self) -> (Batch, Callers) {
        let through = Seq::new(self.last.get() + self.changes.len() as u64);
        (Batch { changes: self.changes, through }, self.callers)
    }
}
