use std::{collections::HashSet, sync::Arc, time::Duration};

use crate::{Counts, Entry, Handle, Key, Metadata, Record, Relation, Result, ScanItem, Seq, Timestamp};

/// A scan whose state was fixed when it was made: whatever changes afterwards, it shows what was live
/// then, in the order of creation.
pub type Scan<'a> = Box<dyn Iterator<Item = Result<ScanItem>> + Send + 'a>;

/// Handles to be passed over.
pub type HandleSet = HashSet<Handle>;

/// What can be asked: for implementors of stores and layers. Callers will want
/// [`ReadShapesExt`](crate::ReadShapesExt) too.
///
/// Every read returns what was so at one moment between its call and its return (C1). Handles are given
/// as text: one that could not even be a handle is simply not live.
pub trait ReadShapes: Send + Sync {
    /// The small facts about a live shape.
    ///
    /// # Errors
    ///
    /// If the store must ask the disk, and that fails. So with all methods here.
    fn metadata(&self, handle: &str) -> Result<Option<Metadata>>;

    /// The handle of the live shape with this key.
    fn handle_for(&self, key: &Key) -> Result<Option<Handle>>;

    /// The entry of a live shape. Its state is that of the layer that holds it; ask
    /// [`metadata`](Self::metadata) for the state.
    fn entry(&self, handle: &str) -> Result<Option<Arc<Entry>>>;

    /// A live shape with its definition.
    fn record(&self, handle: &str) -> Result<Option<Arc<Record>>>;

    /// The handles of the live shapes that read any of these relations: each once, in no order. Nothing
    /// in, nothing out.
    fn handles_for_relations(&self, relations: &[Relation]) -> Result<Vec<Handle>>;

    /// How many shapes are live. Costs no scan.
    fn counts(&self) -> Result<Counts>;

    /// All live shapes with their definitions, in the order of creation. Reads from disk where there is
    /// one; drop it soon, since an open scan keeps a connection and stops SQLite's log from being reset.
    fn scan(&self) -> Result<Scan<'_>>;

    /// Notes that a shape was read at this moment, and says whether it is live. In memory only, no lock
    /// where the shape is cached.
    fn touch(&self, handle: &str, at: Timestamp) -> Result<bool>;

    /// Up to `n` of the shapes that were read at least once and are not excluded, those first whose last
    /// read is longest ago. A shape that was only just created and never read is not among them.
    fn least_recently_used(&self, n: usize, excluded: &HandleSet) -> Result<LeastRecentlyUsed>;

    /// The place of the latest mutation that reads see.
    fn last_seq(&self) -> Result<Seq>;
}

/// The shapes that were not read for longest, the stalest first.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LeastRecentlyUsed {
    /// Handles and the time of their last read.
    pub shapes: Vec<(Handle, Timestamp)>,
}

impl LeastRecentlyUsed {
    /// The last read of the most recent of them: all shapes that are not listed were read later, or
    /// never.
    pub fn most_recent(&self) -> Option<Timestamp> {
        self.shapes.last().map(|(_, at)| *at)
    }

    /// How long ago that was: if it is not long, evicting these shapes hurts somebody.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        self.most_recent().map(|at| at.age_at(now))
    }
}
