use std::sync::Arc;

use crate::{Batch, Change, Delta, Entry, Error, Handle, Seq, SnapshotState};

/// One change of the list of shapes, as a feed gives it.
///
/// Applying a change twice equals applying it once (I6). [`ShapeList`](super::ShapeList) applies them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FeedChange {
    /// The sequence number that the list has reached with this change: that of the mutation.
    ///
    /// Changes that are [caught up](super::FeedOptions::after) from the change log, and those of a refresh of
    /// a standby, are net changes: all of them have the sequence number that they reach together. A
    /// [rejection](FeedEvent::Rejected) has the one that the feed has reached without it.
    pub seq: Seq,
    /// The change.
    pub event: FeedEvent,
}

/// What changes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FeedEvent {
    /// A shape was added.
    Added {
        /// The shape.
        entry: Arc<Entry>,
        /// Its snapshot state: pending, unless it was caught up.
        state: SnapshotState,
    },
    /// A shape was removed.
    Removed(ChangedShape),
    /// The snapshot of a shape has started.
    Started(ChangedShape),
    /// The snapshot of a shape is complete.
    Completed(ChangedShape),
    /// The store rejected a change that reads had shown, for good, and it was undone (C8): an add, a removal,
    /// a mark, or a change that depended on one of them.
    ///
    /// Only over a write buffer. A feed of durable changes has not given that change, but a list may have.
    Rejected {
        /// The shape.
        entry: Arc<Entry>,
        /// The snapshot state that the shape has now; `None` if it is not live.
        state: Option<SnapshotState>,
        /// The reason.
        error: Error,
    },
    /// All shapes that were created up to this sequence number were removed.
    Reset {
        /// The sequence number.
        through: Seq,
    },
}

/// The shape of a removal or of a mark.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChangedShape {
    /// The sequence number of its add, which is its id: [`Metadata::created`](crate::Metadata::created).
    pub created: Seq,
    /// The shape. `None` for some of the changes that are caught up from the change log, which keeps no more
    /// than the id.
    pub entry: Option<Arc<Entry>>,
}

impl ChangedShape {
    /// Returns the handle, where the feed has it; see [`entry`](Self::entry).
    pub fn handle(&self) -> Option<&Handle> {
        self.entry.as_ref().map(|entry| entry.handle())
    }
}

impl From<&Arc<Entry>> for ChangedShape {
    fn from(entry: &Arc<Entry>) -> Self {
        Self { created: entry.created(), entry: Some(Arc::clone(entry)) }
    }
}

impl FeedChange {
    /// Returns the change with this sequence number and event.
    pub fn new(seq: Seq, event: FeedEvent) -> Self {
        Self { seq, event }
    }

    /// Returns a change of a store as a feed gives it. `None` for one that does not change the list.
    pub fn of(seq: Seq, change: &Change) -> Option<Self> {
        let event = match change {
            Change::Add { record, state } => {
                FeedEvent::Added { entry: Arc::clone(&record.entry), state: *state }
            }
            Change::Remove { entry } => FeedEvent::Removed(entry.into()),
            Change::Mark { entry, state } => mark(entry.into(), *state)?,
            Change::Discard { .. } => return None,
            Change::Reset => FeedEvent::Reset { through: seq },
        };
        Some(Self { seq, event })
    }

    /// Returns the changes of a batch that has one change for each sequence number, the last one being
    /// [`Batch::through`].
    pub fn of_batch(batch: &Batch) -> Vec<Self> {
        let first = batch.through.get() - batch.changes.len() as u64 + 1;
        let numbered = (first..).map(Seq::new).zip(&batch.changes);
        numbered.filter_map(|(seq, change)| Self::of(seq, change)).collect()
    }

    /// Returns the changes of a delta. `entry_of` looks up a shape by its id, for the changes of which the
    /// delta has no more.
    pub fn of_delta(delta: &Delta, entry_of: impl Fn(Seq) -> Option<Arc<Entry>>) -> Vec<Self> {
        let shape = |created: &Seq| ChangedShape { created: *created, entry: entry_of(*created) };
        let reset = delta.reset.map(|through| FeedEvent::Reset { through });
        let removed = delta.removed.iter().map(|created| FeedEvent::Removed(shape(created)));
        let is_added = |created| delta.added.binary_search_by_key(created, |entry| entry.created()).is_ok();
        let marked = delta
            .marked
            .iter()
            .filter(|(created, _)| !is_added(created))
            .filter_map(|(created, state)| mark(shape(created), *state));
        let added = delta.added.iter().map(|entry| FeedEvent::Added {
            entry: entry_of(entry.created()).unwrap_or_else(|| Arc::clone(entry)),
            state: entry.state(),
        });
        let events = reset.into_iter().chain(removed).chain(marked).chain(added);
        events.map(|event| Self { seq: delta.through, event }).collect()
    }

    /// Whether it corrects what was shown before.
    pub(super) fn is_rejection(&self) -> bool {
        matches!(self.event, FeedEvent::Rejected { .. })
    }
}

fn mark(shape: ChangedShape, state: SnapshotState) -> Option<FeedEvent> {
    match state {
        SnapshotState::Pending => None,
        SnapshotState::Started => Some(FeedEvent::Started(shape)),
        SnapshotState::Complete => Some(FeedEvent::Completed(shape)),
    }
}
