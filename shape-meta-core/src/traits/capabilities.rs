//! The optional capabilities of a store.

use crate::{Delta, Repaired, Result, Seq, SweepProgress, Timestamp, TrustedState};

/// A store that keeps a log of recent changes, from which the mirror of a standby catches up. Reached through
/// [`ShapeStore::change_log`](crate::ShapeStore::change_log).
pub trait ChangeLog {
    /// Returns everything that changed after sequence number `seq`, as of one moment. `None` if the log does
    /// not reach back that far; the caller then has to [`load`](crate::ShapeStore::load) everything.
    ///
    /// The cost is proportional to the number of changes, not to the number of shapes.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    fn since(&self, seq: Seq) -> Result<Option<Delta>>;

    /// Returns the number of times that the log went on with another line of history, as after a restore
    /// (C13). The same sequence number stands for other changes there. A layer above that has read on an
    /// earlier line has to load everything, also if another layer has read on the present one.
    ///
    /// A log that belongs to one database, as that of its owner, stays at 0.
    fn line(&self) -> u64 {
        0
    }
}

/// A store that persists last-read times, so that the least recently used shapes are known after a restart.
/// Reached through [`ShapeStore::last_read_store`](crate::ShapeStore::last_read_store).
///
/// Saving is not a mutation: it takes no sequence number, and no caller waits for it.
pub trait LastReadStore {
    /// Saves the last-read times of these shapes in one step. `reads` is in order of creation. A time that is
    /// earlier than the saved one is ignored, and so is the time of a shape that was removed.
    ///
    /// # Errors
    ///
    /// If the disk fails. Then none of them was saved, and the caller passes the same times again.
    fn save(&self, reads: &[(Seq, Timestamp)]) -> Result<()>;

    /// Passes every saved time to `each`, in order of creation.
    ///
    /// # Errors
    ///
    /// If the disk fails. `each` may have been called for some of them.
    fn for_each_saved(&self, each: &mut dyn FnMut(Seq, Timestamp)) -> Result<()>;

    /// Saves a part of the last-read times that this layer has recorded and not saved yet: a few thousand at
    /// most, so that a flush does not wait long. Does nothing if another layer records them.
    ///
    /// The layer on top calls it periodically on the flusher's thread, never during a read.
    ///
    /// # Errors
    ///
    /// If the disk fails. The next sweep retries what was not saved.
    fn sweep(&self) -> Result<SweepProgress>;
}

/// A store that can replace its damaged database by a rebuilt one. Reached through
/// [`ShapeStore::rebuild_store`](crate::ShapeStore::rebuild_store).
pub trait RebuildStore {
    /// Builds a fresh database from the undamaged part of the old one and from `trusted`, and continues with
    /// it. Nothing of the damaged file is deleted. Reads continue meanwhile.
    ///
    /// Shapes that cannot be recovered are removed, and reported in [`Repaired::lost`].
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if there is no file,
    /// [`Fenced`](crate::ErrorKind::Fenced) if the database has a newer owner, and the error of the disk if
    /// that fails. Nothing has changed then, and the call can be repeated.
    fn rebuild(&self, trusted: TrustedState<'_>) -> Result<Repaired>;
}
