//! Which stored data has no shape, and which shapes have no stored data.

use std::cell::Cell;

use shape_meta_core::{
    Handle, MemoryStore, MutateShapesExt, ReadShapesExt, Wait,
    conformance::{handle, shape},
};

use crate::compositions::direct;

#[test]
fn c11_orphans_and_shapes_without_data_are_told_apart() {
    let store = direct(MemoryStore::new());
    for number in [3, 1, 2, 4] {
        store.add(shape(number), Wait::No).expect("new");
    }
    store.remove(&handle(4), Wait::No).expect("it is live");
    let mut orphans = Vec::new();
    let stored = [handle(4), handle(2), handle(9), handle(2)];
    let missing = store.orphans(stored, |orphan| orphans.push(orphan)).expect("memory does not fail");
    assert_eq!(orphans, [handle(4), handle(9)]);
    assert_eq!(missing, [handle(3), handle(1)], "in the order of creation");
}

/// Its data may be on its way.
#[test]
fn c11_a_shape_that_is_added_meanwhile_does_not_lack_data() {
    let store = direct(MemoryStore::new());
    store.add(shape(1), Wait::No).expect("new");
    let added = Cell::new(0);
    let on_orphan = |_: Handle| {
        added.set(added.get() + 1);
        store.add(shape(2), Wait::No).expect("new");
    };
    let missing = store.orphans([handle(9)], on_orphan).expect("memory does not fail");
    assert_eq!((missing, added.get()), (vec![handle(1)], 1));
    assert_eq!(store.orphans([handle(1), handle(2)], |_: Handle| ()).expect("memory does not fail").len(), 0);
}
