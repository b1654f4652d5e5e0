use std::sync::Arc;

use shape_meta_core::{Entry, Handle, Record, Seq, SnapshotState};

/// What one generation changes about one handle.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) handle: Handle,
    /// The hash of the handle.
    pub(crate) hash: u64,
    /// The shape that has this handle below the generation, if there is one.
    pub(crate) base: Option<Arc<Entry>>,
    pub(crate) state: SlotState,
}

/// The state of a handle after the changes of the generation.
#[derive(Clone, Debug)]
pub(crate) enum SlotState {
    /// The generation added this shape, in this snapshot state.
    Added(Arc<Record>, SnapshotState),
    /// The base is still live, with its snapshot advanced to this state.
    Marked(SnapshotState),
    /// No shape has the handle. A base is to be removed below.
    Tombstone,
    /// The same, and the generation had added this shape, and removed it again. It was acknowledged and is
    /// never committed, so it costs the disk no row but that of its cleanup task.
    Discarded(Seq),
}

impl Slot {
    /// Returns the base, if the generation removes it.
    pub(crate) fn removed(&self) -> Option<&Arc<Entry>> {
        match self.state {
            SlotState::Marked(_) => None,
            SlotState::Added(..) | SlotState::Tombstone | SlotState::Discarded(_) => self.base.as_ref(),
        }
    }

    /// Returns the shape that the generation adds.
    pub(crate) fn added(&self) -> Option<&Arc<Record>> {
        match &self.state {
            SlotState::Added(record, _) => Some(record),
            SlotState::Marked(_) | SlotState::Tombstone | SlotState::Discarded(_) => None,
        }
    }

    /// Returns the id of the shape that the generation added, whether or not it has removed it again.
    pub(crate) fn acknowledged(&self) -> Option<Seq> {
        match &self.state {
            SlotState::Added(record, _) => Some(record.entry.created()),
            SlotState::Discarded(created) => Some(*created),
            SlotState::Marked(_) | SlotState::Tombstone => None,
        }
    }

    /// Whether the slot costs the disk anything.
    pub(crate) fn is_change(&self) -> bool {
        self.base.is_some() || self.added().is_some()
    }
}
