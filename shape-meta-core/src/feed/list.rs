use std::{collections::BTreeMap, sync::Arc};

use super::{FeedChange, FeedEvent};
use crate::{Entry, ReadShapes, Result, Seq, SnapshotState};

/// The list of shapes that a feed gives, for callers that keep one in memory.
///
/// It is as of the time at which it was [read](Self::of), and moves forward with each change that is
/// [applied](Self::apply). Changes that it has already are harmless.
#[derive(Clone, Debug, Default)]
pub struct ShapeList {
    shapes: BTreeMap<Seq, (Arc<Entry>, SnapshotState)>,
    read_through: Seq,
}

impl ShapeList {
    /// Reads the list of a store. Subscribe before: a change in between is then in the list and in the feed.
    ///
    /// One scan, which reads the disk of a durable store. The definitions are not kept.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn of<S: ReadShapes + ?Sized>(store: &S) -> Result<Self> {
        let shape = |item: crate::ScanItem| {
            (item.metadata.created, (Arc::clone(&item.record.entry), item.metadata.state))
        };
        let shapes = store.scan()?.map(|item| item.map(shape)).collect::<Result<_>>()?;
        // After the scan: it has nothing later.
        Ok(Self { shapes, read_through: store.last_seq()? })
    }

    /// Whether a feed that has ended at this [position](super::Feed::position) can be resumed for this list.
    ///
    /// Not while the feed is behind the list: the list may have a shape that the feed has not given yet, and
    /// that is gone when it is resumed. The change log does not name such a shape. List anew then.
    ///
    /// A caller with a list of its own reads [`last_seq`](ReadShapes::last_seq) after it has read the list,
    /// and resumes after positions that are not smaller.
    pub fn can_resume_after(&self, position: Seq) -> bool {
        position >= self.read_through
    }

    /// Applies a change. O(log n); O(n) for a reset.
    pub fn apply(&mut self, change: &FeedChange) {
        match &change.event {
            FeedEvent::Added { entry, state } => {
                self.shapes.entry(entry.created()).or_insert_with(|| (Arc::clone(entry), *state));
            }
            FeedEvent::Removed(shape) => drop(self.shapes.remove(&shape.created)),
            FeedEvent::Started(shape) => self.advance(shape.created, SnapshotState::Started),
            FeedEvent::Completed(shape) => self.advance(shape.created, SnapshotState::Complete),
            FeedEvent::Rejected { entry, state: Some(state), .. } => {
                self.shapes.insert(entry.created(), (Arc::clone(entry), *state));
            }
            FeedEvent::Rejected { entry, state: None, .. } => drop(self.shapes.remove(&entry.created())),
            FeedEvent::Reset { through } => self.shapes = self.shapes.split_off(&through.next()),
        }
    }

    fn advance(&mut self, created: Seq, state: SnapshotState) {
        if let Some((_, known)) = self.shapes.get_mut(&created) {
            *known = (*known).max(state);
        }
    }

    /// Returns the shape that was created with this sequence number, and its snapshot state.
    pub fn get(&self, created: Seq) -> Option<(&Arc<Entry>, SnapshotState)> {
        self.shapes.get(&created).map(|(entry, state)| (entry, *state))
    }

    /// Returns the shapes in order of creation, each with its snapshot state.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<Entry>, SnapshotState)> {
        self.shapes.values().map(|(entry, state)| (entry, *state))
    }

    /// Returns the number of shapes.
    pub fn len(&self) -> usize {
        self.shapes.len()
    }

    /// Returns whether there is no shape.
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }
}
