use std::{collections::HashMap, sync::Arc};

use shape_meta_core::{Record, Result, Scan, ScanItem, Seq, ShapeStore, SnapshotState};

use super::Seen;
use crate::{
    Buffered,
    memtable::{Generation, PART, ReadInParts, Slot, SlotState},
};

/// The slots of the active generation.
#[derive(Default)]
struct ActiveSlots(Vec<Slot>);

impl ReadInParts for ActiveSlots {
    fn clear(&mut self) {
        self.0.clear();
    }

    fn read(&mut self, active: &Generation) -> bool {
        let part = active.slots().from(self.0.len()).take(PART);
        let before = self.0.len();
        self.0.extend(part.cloned());
        self.0.len() > before
    }

    fn read_again(&mut self, active: &Generation, slot: u32) {
        let at = slot as usize;
        match self.0.get_mut(at) {
            Some(read) => *read = active.slots()[at].clone(),
            // Slots are created in this sequence.
            None => {
                let before = self.0.len();
                self.0.extend(active.slots().from(before).take(at + 1 - before).cloned());
            }
        }
    }
}

/// What the overlay changes about the list of all shapes.
#[derive(Default)]
struct ScanView {
    /// What becomes of shapes that the store below lists, by id.
    overrides: HashMap<Seq, Override>,
    added: Vec<ScanItem>,
}

enum Override {
    /// It is not listed: the shape is removed, or listed from the overlay.
    Hidden,
    /// It is listed in at least this state.
    Marked(SnapshotState),
}

impl ScanView {
    /// Reads the changes of a generation. Newer ones must have been read before. O(changes).
    fn read<'a>(&mut self, slots: impl Iterator<Item = &'a Slot>) {
        for slot in slots {
            if let Some(base) = slot.removed() {
                self.overrides.insert(base.created(), Override::Hidden);
            }
            match (&slot.state, &slot.base) {
                (SlotState::Added(record, state), _) => self.add(record, *state),
                (SlotState::Marked(state), Some(base)) => {
                    // The newer generation came first, and a snapshot only advances.
                    self.overrides.entry(base.created()).or_insert(Override::Marked(*state));
                }
                (SlotState::Marked(_), None) | (SlotState::Tombstone | SlotState::Discarded(_), _) => {}
            }
        }
    }

    fn add(&mut self, record: &Arc<Record>, state: SnapshotState) {
        let created = record.entry.created();
        // A newer generation may have removed or marked the shape. The store below may list it already, or
        // not.
        let state = match self.overrides.insert(created, Override::Hidden) {
            Some(Override::Hidden) => return,
            Some(Override::Marked(newer)) => newer.max(state),
            None => state,
        };
        let metadata = record.entry.metadata_in(state);
        self.added.push(ScanItem { record: Arc::clone(record), metadata });
    }
}

impl<S: ShapeStore + 'static> Buffered<S> {
    pub(super) fn merge_scan(&self) -> Result<Scan<'_>> {
        let read_below = || self.shared.store.scan();
        let (seen, below) = self.at_one_moment(read_below, |_| ActiveSlots::default(), || ())?;
        let Seen { active: ActiveSlots(active), is_reset, older } = seen;
        let mut view = ScanView::default();
        view.read(active.iter());
        for generation in &older {
            view.read(generation.slots().iter());
        }
        let ScanView { overrides, mut added } = view;
        let below = (!is_reset).then_some(below);
        added.sort_by_key(|item| item.metadata.created);
        let below = below.into_iter().flatten().filter_map(move |item| match item {
            Err(error) => Some(Err(error)),
            Ok(mut item) => match overrides.get(&item.metadata.created) {
                None => Some(Ok(item)),
                Some(Override::Hidden) => None,
                Some(Override::Marked(state)) => {
                    item.metadata.state = item.metadata.state.max(*state);
                    Some(Ok(item))
                }
            },
        });
        // Pending shapes were added after those of the store below, so the list is in the order of creation.
        Ok(Box::new(below.chain(added.into_iter().map(Ok))))
    }
}
