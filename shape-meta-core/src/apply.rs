use std::sync::Arc;

use crate::{Batch, Entry, Error, ErrorKind, Known, ReadShapes, Record, Repaired, Result, Seq, Usage};

/// What a store must do besides answering reads: for implementors of stores and of caches over them.
pub trait ApplyChanges: ReadShapes {
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
    fn repair(&self, known: Known<'_>) -> Result<Repaired> {
        let _ = known;
        Err(Error::new(ErrorKind::Unsupported, "this store has no file that could be repaired"))
    }
}
