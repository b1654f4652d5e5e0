use std::{collections::HashMap, sync::Arc};

use shape_meta_core::{Record, Result, Scan, ScanItem, Seq, ShapeStore, SnapshotState};

use crate::{
    Buffered,
    memtable::{SlotState, State},
};

/// What the overlay changes about the list of all shapes.
#[derive(Default)]
struct ScanView {
    reset: bool,
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
    /// O(pending changes), under the overlay's lock: a scan is not for the hot path.
    fn of(state: &State) -> Self {
        let mut view = Self { reset: state.is_reset(), ..Self::default() };
        for generation in state.visible() {
            for slot in generation.slots() {
                if let Some(base) = slot.removed() {
                    view.overrides.insert(base.created(), Override::Hidden);
                }
                match (&slot.state, &slot.base) {
                    (SlotState::Added(record, state), _) => view.add(record, *state),
                    (SlotState::Marked(state), Some(base)) => {
                        // The newer generation came first, and a snapshot only advances.
                        view.overrides.entry(base.created()).or_insert(Override::Marked(*state));
                    }
                    (SlotState::Marked(_), None) | (SlotState::Tombstone, _) => {}
                }
            }
        }
        view
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
        let (view, below) = self.at_one_moment(ScanView::of, |view| {
            if view.reset { Ok(None) } else { self.shared.store.scan().map(Some) }
        })?;
        let ScanView { overrides, mut added, .. } = view;
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
