use shape_meta_core::{Change, Counts, Seq, SnapshotState, Timestamp};

use crate::{
    BufferOptions,
    memtable::Overlay,
    memtable::{Generation, Hashes},
    tests::memory,
};

/// Spread over the filters, and the same in each run.
fn hash(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn put(overlay: &Overlay, change: Change, handle: u64) {
    let mut state = overlay.write();
    state.last = state.last.next();
    let (hashes, seq) = (Hashes { handle, key: handle }, state.last);
    state.active.put(change, hashes, seq);
    overlay.filter(&state).set(handle);
    overlay.acknowledge(&state);
}

fn flush(overlay: &Overlay) {
    overlay.seal(Generation::default()).expect("something is pending");
    overlay.committed();
    overlay.drop_committed(|_| ());
}

/// Most reads are of shapes that have nothing pending. Taking the lock for them would be right too, and slow.
#[test]
fn the_lock_is_not_taken_for_what_has_nothing_pending() {
    let overlay = Overlay::new(Counts::default(), Seq::ZERO, &BufferOptions::default());
    let records = memory::records(&[1]);
    let changes = memory::adds(&records).chain([Change::Reset]);
    for (change, number) in changes.zip(1..).step_by(250) {
        let (pending, other) = (hash(2 * number), hash(2 * number + 1));
        assert!(overlay.is_quiet() && !overlay.may_know(pending));
        put(&overlay, change, pending);
        assert!(!overlay.is_quiet() && overlay.may_know(pending) && !overlay.may_know(other));

        // And while it is being written something else is changed.
        overlay.seal(Generation::default()).expect("something is pending");
        let next = Change::Add { record: records[1].clone(), state: SnapshotState::Pending };
        put(&overlay, next, other);
        overlay.committed();
        assert!(overlay.may_know(pending) && overlay.may_know(other));
        overlay.drop_committed(|_| ());
        assert!(!overlay.is_quiet() && !overlay.may_know(pending) && overlay.may_know(other));
        flush(&overlay);
    }
    assert!(overlay.is_quiet());
}

/// Nor is what is pending gone through for who was not read for longest, if none of it was read so early.
#[test]
fn who_was_read_late_is_not_looked_for_among_those_read_early() {
    let overlay = Overlay::new(Counts::default(), Seq::ZERO, &BufferOptions::default());
    let at = Timestamp::from_micros;
    assert!(!overlay.may_be_touched_by(at(100)));
    overlay.touched(at(50));
    overlay.touched(at(70));
    assert!(!overlay.may_be_touched_by(at(49)) && overlay.may_be_touched_by(at(50)));
    overlay.touched(at(40));
    assert!(!overlay.may_be_touched_by(at(39)) && overlay.may_be_touched_by(at(40)));
}
