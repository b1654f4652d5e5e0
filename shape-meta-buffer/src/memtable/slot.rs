use std::sync::Arc;

use shape_meta_core::{Entry, Handle, Record, SnapshotState};

/// What one generation knows of one handle.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) handle: Handle,
    /// The hash of the handle.
    pub(crate) hash: u64,
    /// The shape with this handle that is live below this generation, if there is one.
    pub(crate) base: Option<Arc<Entry>>,
    /// What has become of the handle.
    pub(crate) now: Now,
}

#[derive(Clone, Debug)]
pub(crate) enum Now {
    /// Added in this generation, with this state.
    Here(Arc<Record>, SnapshotState),
    /// The base is still live, with its snapshot advanced.
    Marked(SnapshotState),
    /// No shape has the handle. With a base, that has to be removed below; without, the shape came and
    /// went within this generation, and the disk never hears of it.
    Gone,
}

impl Slot {
    /// The base, if the generation removes it.
    pub(crate) fn removed(&self) -> Option<&Arc<Entry>> {
        match self.now {
            Now::Marked(_) => None,
            Now::Here(..) | Now::Gone => self.base.as_ref(),
        }
    }

    /// The shape that the generation adds.
    pub(crate) fn added(&self) -> Option<&Arc<Record>> {
        match &self.now {
            Now::Here(record, _) => Some(record),
            Now::Marked(_) | Now::Gone => None,
        }
    }

    /// Whether the disk has to hear of it.
    pub(crate) fn is_change(&self) -> bool {
        self.base.is_some() || self.added().is_some()
    }
}
