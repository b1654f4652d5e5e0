use std::sync::Arc;

use shape_meta_core::{Change, Counts, Seq, SnapshotState, Timestamp};

use crate::{
    BufferOptions,
    memtable::Overlay,
    memtable::{Generation, Hashes},
    tests::memory,
};

/// Returns a hash that is spread over the filters and the same in each run.
fn hash(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn insert(overlay: &Overlay, change: Change, handle: u64) {
    let mut state = overlay.write();
    state.last = state.last.next();
    let (hashes, seq) = (Hashes { handle, key: handle }, state.last);
    state.active.insert(change, hashes, seq);
    overlay.active_filter(&state).set(handle);
    overlay.announce();
    overlay.acknowledge(&state);
}

fn flush(overlay: &Overlay) {
    let sealed = overlay.seal(Generation::default()).expect("something is pending");
    overlay.mark_committed();
    overlay.drop_committed(&sealed, |_| ());
}

/// Most reads are of shapes without pending changes. Taking the lock for them would be correct, but slow.
#[test]
fn the_filters_forget_a_generation_when_it_is_dropped() {
    let overlay = Overlay::new(Counts::default(), Seq::ZERO, &BufferOptions::default(), Arc::default());
    let records = memory::records(&[1]);
    let changes = memory::adds(&records).chain([Change::Reset]);
    for (change, number) in changes.zip(1..).step_by(250) {
        let (pending, other) = (hash(2 * number), hash(2 * number + 1));
        assert!(overlay.is_empty() && !overlay.may_contain(pending));
        insert(&overlay, change, pending);
        assert!(!overlay.is_empty() && overlay.may_contain(pending) && !overlay.may_contain(other));

        // While it is being committed, another shape changes.
        let sealed = overlay.seal(Generation::default()).expect("something is pending");
        let next = Change::Add { record: records[1].clone(), state: SnapshotState::Pending };
        insert(&overlay, next, other);
        overlay.mark_committed();
        assert!(overlay.may_contain(pending) && overlay.may_contain(other));
        overlay.drop_committed(&sealed, |_| ());
        assert!(!overlay.is_empty() && !overlay.may_contain(pending) && overlay.may_contain(other));
        flush(&overlay);
    }
    assert!(overlay.is_empty());
}

/// The least recently used shapes are found without a walk of pending changes, if none of those was read
/// early.
#[test]
fn the_earliest_touch_of_pending_shapes_is_known() {
    let overlay = Overlay::new(Counts::default(), Seq::ZERO, &BufferOptions::default(), Arc::default());
    let at = Timestamp::from_micros;
    assert!(!overlay.may_be_touched_by(at(100)));
    overlay.record_touch(at(50));
    overlay.record_touch(at(70));
    assert!(!overlay.may_be_touched_by(at(49)) && overlay.may_be_touched_by(at(50)));
    overlay.record_touch(at(40));
    assert!(!overlay.may_be_touched_by(at(39)) && overlay.may_be_touched_by(at(40)));
}
