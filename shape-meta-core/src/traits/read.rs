use std::{collections::HashSet, sync::Arc, time::Duration};

use crate::{Counts, Entry, Handle, Key, Metadata, Record, Relation, Result, ScanItem, Seq, Timestamp};

/// An iterator over the shapes that were live when it was made, in order of creation. Later changes do not
/// affect it.
pub type Scan<'a> = Box<dyn Iterator<Item = Result<ScanItem>> + Send + 'a>;

/// Handles to exclude.
pub type HandleSet = HashSet<Handle>;

/// The read side of a store, for implementors of stores and layers. Callers also import
/// [`ReadShapesExt`](crate::ReadShapesExt).
///
/// Every read is linearizable: it returns what was true at one moment between its call and its return (C1).
/// Handles are passed as text. A text that is not a valid handle is treated as a handle that is not live.
///
/// "Blocks" says what a call waits for: *never* (memory, no lock), *short lock* (memory, under a lock that is
/// never held across disk work), *disk*, or that it *waits* for an event up to a time-out. The measured worst
/// cases, and a table of all methods and compositions, are in `docs/async.md` of the repository.
///
/// Decorators forward these methods with [`forward_reads!`](crate::forward_reads).
///
/// # Errors
///
/// Every method fails only if it has to read the disk, and that fails.
pub trait ReadShapes: Send + Sync {
    /// Returns the metadata of a live shape: the facts that a sync engine needs on every request.
    ///
    /// Blocks: never with a cache (short lock if changes of the shape are pending), disk otherwise.
    fn metadata(&self, handle: &str) -> Result<Option<Metadata>>;

    /// Returns the handle of the live shape with this key.
    ///
    /// Blocks: as [`metadata`](Self::metadata), and disk with a cache whose look-ups are on disk.
    fn handle_for(&self, key: &Key) -> Result<Option<Handle>>;

    /// Returns the entry of a live shape.
    ///
    /// Its snapshot state is that of the layer which holds the entry. A layer above may have accepted a mark
    /// that is not in it yet; [`metadata`](Self::metadata) returns the current state.
    ///
    /// Blocks: as [`metadata`](Self::metadata).
    fn entry(&self, handle: &str) -> Result<Option<Arc<Entry>>>;

    /// Returns a live shape with its definition.
    ///
    /// Blocks: disk, unless the record is pending or in a definition cache.
    fn record(&self, handle: &str) -> Result<Option<Arc<Record>>>;

    /// Returns the handles of the live shapes that read at least one of these relations, each once, in no
    /// particular order. Without relations the result is empty.
    ///
    /// Blocks: as [`metadata`](Self::metadata), and disk with a cache whose look-ups are on disk.
    fn handles_for_relations(&self, relations: &[Relation]) -> Result<Vec<Handle>>;

    /// Returns how many shapes are live. O(1).
    ///
    /// Blocks: short lock with a buffer, never with a cache, disk otherwise.
    fn counts(&self) -> Result<Counts>;

    /// Returns an iterator over all live shapes with their definitions, in order of creation.
    ///
    /// A durable store reads them from disk. Drop the iterator soon: an open scan holds a connection and
    /// keeps SQLite from resetting its WAL.
    ///
    /// Blocks: disk, for each page.
    fn scan(&self) -> Result<Scan<'_>>;

    /// Records that a shape was read at this moment. Returns whether the shape is live. A time that is later
    /// than now counts as now wherever times are compared.
    ///
    /// Without a buffer, it also returns `false` while a shape that was not read since a given time is being
    /// removed: the removal is decided, and other reads show the shape until it is committed. See
    /// [`Mutation::RemoveUnread`](crate::Mutation::RemoveUnread).
    ///
    /// Writes nothing to the disk: times are saved later. Takes no lock if the shape is cached.
    ///
    /// Blocks: as [`metadata`](Self::metadata).
    fn touch(&self, handle: &str, at: Timestamp) -> Result<bool>;

    /// Returns up to `n` shapes that are not in `excluded`, the least recently read first. Shapes that were
    /// never read are left out. Touches that happen during this read count or not, each on its own.
    ///
    /// Blocks: never with a cache whose look-ups are in memory, but takes about 1 ms for each 100,000 shapes;
    /// disk otherwise.
    fn least_recently_used(&self, n: usize, excluded: &HandleSet) -> Result<LeastRecentlyUsed>;

    /// Returns the sequence number of the latest mutation that reads show.
    ///
    /// Blocks: never with a buffer, disk otherwise: it waits for the commit in progress.
    fn last_seq(&self) -> Result<Seq>;
}

/// The least recently used shapes, the least recently read first.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LeastRecentlyUsed {
    /// The handles, each with the time of its last read.
    pub shapes: Vec<(Handle, Timestamp)>,
}

impl LeastRecentlyUsed {
    /// Returns the last-read time of the most recently read of them. All shapes that are not listed were read
    /// later, or never.
    pub fn most_recent(&self) -> Option<Timestamp> {
        self.shapes.last().map(|(_, at)| *at)
    }

    /// Returns the time since [`most_recent`](Self::most_recent). If it is short, these shapes are in use,
    /// and evicting them makes clients fetch them again.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        self.most_recent().map(|at| at.age_at(now))
    }
}
