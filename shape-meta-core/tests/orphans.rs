//! Orphaned data and shapes with missing data.

use std::cell::Cell;

use shape_meta_core::{
    Handle, MemoryStore, MutateShapesExt, ReadShapesExt, Wait,
    conformance::{handle, shape},
};

use crate::conformance::direct;

#[test]
fn c11_orphans_and_missing_data_are_found() {
    let store = direct(MemoryStore::new());
    for number in [3, 1, 2, 4] {
        store.add(shape(number), Wait::No).expect("the shape is new");
    }
    store.remove(&handle(4), Wait::No).expect("the shape is live");
    let mut orphans = Vec::new();
    let stored = [handle(4), handle(2), handle(9), handle(2)];
    let missing = store.orphans(stored, |orphan| orphans.push(orphan)).expect("memory does not fail");
    assert_eq!(orphans, [handle(4), handle(9)]);
    assert_eq!(missing, [handle(3), handle(1)], "in creation order");
}

/// Its data may not be written yet.
#[test]
fn c11_a_shape_added_meanwhile_is_not_reported_as_missing() {
    let store = direct(MemoryStore::new());
    store.add(shape(1), Wait::No).expect("the shape is new");
    let added = Cell::new(0);
    let on_orphan = |_: Handle| {
        added.set(added.get() + 1);
        store.add(shape(2), Wait::No).expect("the shape is new");
    };
    let missing = store.orphans([handle(9)], on_orphan).expect("memory does not fail");
    assert_eq!((missing, added.get()), (vec![handle(1)], 1));
    assert_eq!(store.orphans([handle(1), handle(2)], |_: Handle| ()).expect("memory does not fail").len(), 0);
}
