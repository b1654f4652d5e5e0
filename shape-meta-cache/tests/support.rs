use std::sync::Arc;

use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    ApplyChanges, Batch, Change, DefinitionHash, Entry, Handle, Key, NewShape, Record, Relation, Seq, Silent,
    SnapshotState,
};

/// A shape made of a number: handle, key and hash are its own; it reads relation 1000 + number % 10.
pub(crate) fn shape(number: u64) -> NewShape {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    NewShape {
        handle: Handle::new(format!("{number:08}-1768476874000000")).expect("valid"),
        key: Key::new(key),
        hash: DefinitionHash::new(number.wrapping_mul(31)),
        relations: [relation(number % 10)].into_iter().collect(),
        dependencies: [].into(),
        indexed: number.is_multiple_of(2),
        definition: format!("definition {number}").into_bytes().into(),
    }
}

pub(crate) fn relation(number: u64) -> Relation {
    Relation::new(1000 + number as u32)
}

pub(crate) fn handle(number: u64) -> Handle {
    shape(number).handle
}

/// The record of [`shape`] with this number, created at this place.
pub(crate) fn record(number: u64, created: u64) -> Arc<Record> {
    let NewShape { handle, key, hash, relations, dependencies, indexed, definition } = shape(number);
    let entry = Entry::new(Seq::new(created), handle, key, hash, relations, indexed);
    Arc::new(Record { entry: Arc::new(entry), dependencies, definition })
}

pub(crate) fn add(record: &Arc<Record>) -> Change {
    Change::Add { record: Arc::clone(record), state: SnapshotState::Pending }
}

pub(crate) fn remove(record: &Arc<Record>) -> Change {
    Change::Remove { entry: Arc::clone(&record.entry) }
}

pub(crate) fn batch(through: u64, changes: impl IntoIterator<Item = Change>) -> Batch {
    Batch { changes: changes.into_iter().collect(), through: Seq::new(through) }
}

pub(crate) fn cached<S: ApplyChanges>(inner: S, options: CacheOptions) -> Cached<S> {
    Cached::open(inner, options, Arc::new(Silent)).expect("the store can be read")
}
