use std::sync::Arc;

use crate::{
    Batch, Delta, Entry, Error, ErrorKind, ReadShapes, Record, Repaired, Result, Seq, SweepProgress,
    Timestamp, TrustedState, Usage,
};

/// What a store must do besides answering reads: for implementors of stores and of caches over them.
pub trait ShapeStore: ReadShapes {
    /// Applies a batch: all of it or nothing, in one step for every reader. When this returns, the batch
    /// is as durable as the store's mode makes it, and visible.
    ///
    /// A batch whose [`through`](Batch::through) is not after [`last_seq`](ReadShapes::last_seq) has been
    /// applied already and is skipped; so a caller that does not know whether a failed attempt went
    /// through simply tries again (I6). Removing or marking what is not there does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::kind`](crate::Error::kind) says what to do: see
    /// [`ErrorKind::remedy`](crate::ErrorKind::remedy). Nothing of the batch was applied, or all of it: where the
    /// answer of a commit was lost, only a retry tells.
    fn apply(&self, batch: &Batch) -> Result<()>;

    /// The first half of [`apply`](Self::apply), for a layer above that covers the gap: the batch is as durable as
    /// the store's mode makes it, and reads may not show it before [`publish`](Self::publish). So the next
    /// batch can be written while this one is being shown.
    ///
    /// Batches are committed one at a time and in their order. By default, and wherever nothing is to be gained
    /// by it, this is the whole of `apply`.
    ///
    /// # Errors
    ///
    /// As with [`apply`](Self::apply).
    fn commit(&self, batch: &Batch) -> Result<()> {
        self.apply(batch)
    }

    /// The second half: when this returns, every read shows a batch that was [committed](Self::commit). Batches
    /// are published one at a time and in their order, while a later one may be being committed. One that is
    /// shown already is skipped, so whoever does not know whether a publish has ended simply tries again (I6).
    ///
    /// Touches memory alone, so it does not fail. By default there is nothing left to do.
    fn publish(&self, batch: &Batch) {
        let _ = batch;
    }

    /// Shows every live shape's entry, in the order of creation, and returns the place in the order at
    /// which that was so. For a cache to fill itself from; reads no definitions.
    ///
    /// # Errors
    ///
    /// If the disk fails. Some entries may have been shown.
    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq>;

    /// The record that belongs to this entry, with this very entry in it; `None` if the shape is gone.
    /// One read by row id: no index is asked.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>>;

    /// What the store holds, as far as it knows without asking the disk and without waiting: for gauges. It
    /// is asked at any time, also while the store is being closed.
    fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Puts a fresh store in the place of one whose file was found damaged: with all that is sound in it, and all that is
    /// `known` above. Nothing of the damaged file is deleted. Reads go on meanwhile. A store that cannot be
    /// damaged, or does not know how, refuses, and so it is by default.
    ///
    /// Shapes that cannot be saved are gone afterwards, and reported.
    ///
    /// # Errors
    ///
    /// `Unsupported`, `Fenced`, and if the disk fails. Then everything is as it was, and it can be tried again.
    fn repair(&self, known: TrustedState<'_>) -> Result<Repaired> {
        let _ = known;
        Err(Error::new(ErrorKind::Unsupported, "this store has no file that could be repaired"))
    }

    /// What has changed since this place in the order, all of it as it was at one moment: for the mirror of
    /// a store that somebody else writes. `None` if it is not known any more, or was never kept; then
    /// [`load`](Self::load) everything. By default it never is.
    ///
    /// Costs what has changed, and not what there is.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    fn changes_since(&self, place: Seq) -> Result<Option<Delta>> {
        let _ = place;
        Ok(None)
    }

    /// Saves when these shapes were last read, in one step, so that it is known after a restart. They come
    /// in the order of creation. An earlier time than the one that is saved changes nothing, nor does that
    /// of a shape which is gone.
    ///
    /// Not a mutation: it takes no place in the order, and nobody waits for it. A store that keeps nothing
    /// across restarts need not do anything, and by default nothing is done.
    ///
    /// # Errors
    ///
    /// If the disk fails: then nothing is saved, and the same times come again.
    fn save_reads(&self, reads: &[(Seq, Timestamp)]) -> Result<()> {
        let _ = reads;
        Ok(())
    }

    /// Shows every time that was saved, in the order of creation. By default there is none.
    ///
    /// # Errors
    ///
    /// If the disk fails. Some may have been shown.
    fn saved_reads(&self, each: &mut dyn FnMut(Seq, Timestamp)) -> Result<()> {
        let _ = each;
        Ok(())
    }

    /// Saves a part of the last-read times that this layer has noted and not saved yet, if it is the one
    /// that notes them: at most some thousands, so that a flush does not have to wait for long. Called by
    /// the layer on top, on the thread that flushes, from time to time; never by a read.
    ///
    /// # Errors
    ///
    /// As with [`save_reads`](Self::save_reads). What was not saved is tried again the next time.
    fn sweep_reads(&self) -> Result<SweepProgress> {
        Ok(SweepProgress::default())
    }
}
