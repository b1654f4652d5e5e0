use std::sync::Arc;

use crate::{Batch, Change, NewShape, Record, Seq, ShapeStore, SnapshotState};

/// Returns the record of a shape with this sequence number.
pub fn record(shape: &NewShape, created: u64) -> Arc<Record> {
    Arc::new(shape.record(Seq::new(created)))
}

/// Returns an add, as validation makes it.
pub fn added(record: &Arc<Record>) -> Change {
    Change::Add { record: Arc::clone(record), state: SnapshotState::Pending }
}

/// Returns a removal, as validation makes it.
pub fn removed(record: &Arc<Record>) -> Change {
    Change::Remove { entry: Arc::clone(&record.entry) }
}

/// Returns a mark, as validation makes it.
pub fn marked(record: &Arc<Record>, state: SnapshotState) -> Change {
    Change::Mark { entry: Arc::clone(&record.entry), state }
}

/// Applies changes as one batch.
///
/// # Panics
///
/// If the apply fails.
#[track_caller]
pub fn apply<S: ShapeStore>(store: &S, through: u64, changes: impl IntoIterator<Item = Change>) {
    let batch = Batch { changes: changes.into_iter().collect(), through: Seq::new(through) };
    if let Err(error) = store.apply(&batch) {
        panic!("a batch should be applied: {error:?}");
    }
}
