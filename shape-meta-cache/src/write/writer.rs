use std::sync::Arc;

use shape_meta_core::{Entry, PublishStats};

use crate::table::{Table, Totals};

/// The state that only the writer uses.
pub(crate) struct Writer {
    pub(crate) table: Table,
    pub(crate) totals: Totals,
    /// Whether the store below may have committed a batch that the mirror does not show. Set before each
    /// apply, and cleared when its outcome is known.
    pub(crate) outcome_unknown: bool,
    /// The entries that this batch adds. They are those of the layer above, which records reads in them.
    pub(crate) uncertain_adds: Vec<Arc<Entry>>,
    /// Whether the store below was replaced by a repair and the mirror was not reloaded from it yet.
    pub(crate) needs_full_reload: bool,
    /// The line of history below on which the mirror was last loaded: see [`ChangeLog::line`].
    ///
    /// [`ChangeLog::line`]: shape_meta_core::ChangeLog::line
    pub(crate) line: u64,
    /// The number of changes that the side of the table which readers do not see lacks.
    pub(crate) unsynced_changes: usize,
}

/// The work that remains after an update is published.
#[must_use = "removed entries stay in memory until `Writer::clean_up`"]
pub(crate) struct Cleanup {
    pub(super) removed: usize,
    pub(super) vacated: Vec<u64>,
    pub(crate) published: PublishStats,
}

impl Writer {
    pub(crate) fn new(table: Table, totals: Totals, line: u64) -> Self {
        Self {
            table,
            totals,
            line,
            outcome_unknown: false,
            uncertain_adds: Vec::new(),
            needs_full_reload: false,
            unsynced_changes: 0,
        }
    }

    /// Frees the removed entries, and drops the slots that the update has left empty.
    ///
    /// The other side of the table keeps removed entries until the next publish, which may be a long time
    /// away. This therefore publishes once more, without a visible change. Only now is it known which slots
    /// are empty.
    pub(crate) fn clean_up(&mut self, Cleanup { removed, mut vacated, .. }: Cleanup) {
        if removed == 0 && vacated.is_empty() {
            return;
        }
        vacated.sort_unstable();
        vacated.dedup();
        for id in vacated {
            if self.table.is_empty_slot(id) {
                self.table.drop_slot(id);
            }
        }
        self.sync_sides();
    }

    /// Records that the outcome of the latest commit is known.
    pub(crate) fn outcome_known(&mut self) {
        self.outcome_unknown = false;
        self.uncertain_adds.clear();
    }

    /// Applies the last published changes to the other side of the table, without a visible change. The next
    /// publish would do it otherwise; it then takes half as long.
    pub(crate) fn sync_sides(&mut self) {
        self.table.publish();
        self.unsynced_changes = 0;
    }
}
