use std::sync::Arc;

use crate::{
    Batch, ChangeLog, Delta, Entry, Error, ErrorKind, LastReadStore, ReadShapes, RebuildStore, Record,
    Repaired, Result, Seq, SweepProgress, Timestamp, TrustedState, Usage,
};

/// The write side of a store, for implementors of stores and of decorators over them.
///
/// [`apply`](Self::apply), [`load`](Self::load) and [`record_of`](Self::record_of) are mandatory. A store
/// that makes a batch visible in a step of its own, after the commit, overrides [`commit`](Self::commit) and
/// [`publish`](Self::publish). An operation that only some stores support is a capability: a trait of its
/// own, reached through an accessor that returns `None` by default. Callers use capabilities through
/// [`ShapeStoreExt`], which defines the result where one is absent.
pub trait ShapeStore: ReadShapes {
    /// Applies a batch atomically: every reader sees all of it or nothing. On return the batch is visible,
    /// and as durable as the store's mode makes it.
    ///
    /// A batch whose [`through`](Batch::through) is not greater than [`last_seq`](ReadShapes::last_seq) is
    /// skipped. A caller that does not know the outcome of a failed attempt therefore retries it (I6).
    /// Removing or marking a shape that does not exist has no effect.
    ///
    /// # Errors
    ///
    /// Either nothing of the batch was applied, or all of it was and only the confirmation was lost. The
    /// [`remedy`](crate::ErrorKind::remedy) of the error's [`kind`](crate::Error::kind) says what to do next.
    fn apply(&self, batch: &Batch) -> Result<()>;

    /// Makes a batch as durable as the store's mode makes it; the first half of [`apply`](Self::apply). Reads
    /// need not show the batch before [`publish`](Self::publish), so the layer above must cover the gap. In
    /// return, the next batch can be committed while this one is published.
    ///
    /// Batches are committed one at a time, in ascending order of sequence numbers. The default is the whole
    /// of `apply`.
    ///
    /// # Errors
    ///
    /// The same as for [`apply`](Self::apply).
    fn commit(&self, batch: &Batch) -> Result<()> {
        self.apply(batch)
    }

    /// Makes a [committed](Self::commit) batch visible to every read; the second half of
    /// [`apply`](Self::apply).
    ///
    /// Batches are published one at a time, in ascending order of sequence numbers, possibly while a later
    /// batch is being committed. A batch that is already visible is skipped, so a caller that does not know
    /// whether a publish has completed repeats it (I6).
    ///
    /// Works in memory only and cannot fail. The default does nothing.
    fn publish(&self, batch: &Batch) {
        let _ = batch;
    }

    /// Passes the entry of every live shape to `each`, in order of creation, and returns the sequence number
    /// as of which they were live. A cache fills itself with this method. Definitions are not read.
    ///
    /// # Errors
    ///
    /// If the disk fails. `each` may have been called for some of the entries.
    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq>;

    /// Returns the record of an entry, which shares this entry object.
    ///
    /// The caller has seen the shape live. If it was removed since, the result is its record, unchanged,
    /// since a definition never changes, or `None`: a record does not mean that the shape is live.
    ///
    /// One read by row id; no index is used.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>>;

    /// Claims a live shape for a removal, unless it was read at `since` or later. Returns whether it is
    /// claimed: no [`touch`](ReadShapes::touch) counts any more then, and each returns `false`.
    ///
    /// The layer on top calls it for [`Mutation::RemoveUnread`](crate::Mutation::RemoveUnread), while no
    /// other mutation is validated, and removes the shape or [releases](Self::release_claim) it. Works in
    /// memory only, and repeating it changes nothing. The default is right for a store that records reads in
    /// the entries that [`entry`](ReadShapes::entry) returns.
    fn claim_unread(&self, entry: &Arc<Entry>, since: Timestamp) -> bool {
        entry.claim_unread(since)
    }

    /// Ends a claim, because the shape is not removed after all: reads of it count again.
    fn release_claim(&self, entry: &Arc<Entry>) {
        entry.release_claim();
    }

    /// Returns an error if the store may not own its database any more: its lease has run out, or is about
    /// to. A layer that acknowledges mutations before they are durable calls it for each, and then
    /// acknowledges none. Reads no disk and never blocks; it may be called under a lock.
    ///
    /// The default is for stores whose ownership has no lease.
    ///
    /// # Errors
    ///
    /// [`LeaseExpired`](ErrorKind::LeaseExpired), or [`Fenced`](ErrorKind::Fenced).
    fn check_lease(&self) -> Result<()> {
        Ok(())
    }

    /// Returns the resources that the store uses, for gauges. Reads no disk, never blocks, and can be called
    /// at any time, also while the store is being closed.
    fn resource_usage(&self) -> Usage {
        Usage::default()
    }

    /// Returns the log of recent changes, if the store keeps one.
    fn change_log(&self) -> Option<&dyn ChangeLog> {
        None
    }

    /// Returns the capability to persist last-read times, if the store has it.
    fn last_read_store(&self) -> Option<&dyn LastReadStore> {
        None
    }

    /// Returns the capability to rebuild a damaged database, if the store has it.
    fn rebuild_store(&self) -> Option<&dyn RebuildStore> {
        None
    }
}

/// The capabilities of any [`ShapeStore`], with a defined result where one is absent. For the layers above a
/// store.
pub trait ShapeStoreExt: ShapeStore {
    /// Returns the changes after `seq`; see [`ChangeLog::since`]. Without a change log this is always `None`.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    fn changes_since(&self, seq: Seq) -> Result<Option<Delta>> {
        self.change_log().map_or(Ok(None), |log| log.since(seq))
    }

    /// Saves last-read times; see [`LastReadStore::save`]. Does nothing where they are not persisted.
    ///
    /// # Errors
    ///
    /// If the disk fails. Then none of them was saved.
    fn save_reads(&self, reads: &[(Seq, Timestamp)]) -> Result<()> {
        self.last_read_store().map_or(Ok(()), |store| store.save(reads))
    }

    /// Passes the saved last-read times to `each`; see [`LastReadStore::for_each_saved`]. There are none
    /// where they are not persisted.
    ///
    /// # Errors
    ///
    /// If the disk fails. `each` may have been called for some of them.
    fn saved_reads(&self, each: &mut dyn FnMut(Seq, Timestamp)) -> Result<()> {
        self.last_read_store().map_or(Ok(()), |store| store.for_each_saved(each))
    }

    /// Saves a part of the last-read times that the store has recorded; see [`LastReadStore::sweep`]. Does
    /// nothing where they are not persisted.
    ///
    /// # Errors
    ///
    /// If the disk fails. The next sweep retries what was not saved.
    fn sweep_reads(&self) -> Result<SweepProgress> {
        self.last_read_store().map_or_else(|| Ok(SweepProgress::default()), LastReadStore::sweep)
    }

    /// Claims a shape in the entry of the layer above, where reads of a pending shape are recorded, and in
    /// this store; see [`ShapeStore::claim_unread`]. Returns whether both are claimed; otherwise none is.
    fn claim(&self, entry: &Arc<Entry>, since: Timestamp) -> bool {
        let is_claimed = entry.claim_unread(since) && self.claim_unread(entry, since);
        if !is_claimed {
            self.release(entry);
        }
        is_claimed
    }

    /// Ends a claim in both; see [`ShapeStore::release_claim`].
    fn release(&self, entry: &Arc<Entry>) {
        entry.release_claim();
        self.release_claim(entry);
    }

    /// Rebuilds a damaged database; see [`RebuildStore::rebuild`].
    ///
    /// # Errors
    ///
    /// Those of [`RebuildStore::rebuild`], and [`Unsupported`](ErrorKind::Unsupported) if the store lacks the
    /// capability. Nothing has changed then, and the call can be repeated.
    fn rebuild_from(&self, trusted: TrustedState<'_>) -> Result<Repaired> {
        match self.rebuild_store() {
            Some(store) => store.rebuild(trusted),
            None => Err(Error::new(ErrorKind::Unsupported, "this store has no file that could be repaired")),
        }
    }
}

impl<S: ShapeStore + ?Sized> ShapeStoreExt for S {}
