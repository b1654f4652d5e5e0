//! C10: close writes pending changes, and reports what it could not write.

use std::{sync::Arc, time::Duration};

use shape_meta_buffer::BufferOptions;
use shape_meta_core::{
    ErrorKind, HealthState, MemoryStore, MutateError, MutateShapesExt, NotDurable, ReadShapesExt,
    StoreControl, Unwritten, Wait,
    conformance::{CompositionFixture, FailingStore, Side},
};

use crate::support::{LONG_TIMEOUT, OverFailing, add, below, buffered, handles, manual, shape};

#[test]
fn c10_close_writes_pending_changes_even_while_paused() {
    for fixture in [OverFailing::stepped(), OverFailing::threaded()] {
        let store = fixture.open();
        store.pause();
        add(&store, "h", 1);
        let report = store.close(LONG_TIMEOUT);
        assert!(report.is_complete() && report.error.is_none(), "{report:?}");
        assert_eq!(report.flushed, 1);
        assert_eq!(handles(below(&store)), ["h"]);
        assert!(store.has_handle("h").expect("reads go on"));
        let refused = store.add(shape("i", 2), Wait::UpTo(LONG_TIMEOUT));
        assert!(matches!(refused, Err(MutateError::Failed(error)) if error.kind() == ErrorKind::Closed));
        assert!(matches!(store.health().state, HealthState::Closed));
        assert_eq!(store.close(LONG_TIMEOUT).flushed, 1, "a second close returns the same report");
    }
}

#[test]
fn c10_close_reports_what_it_could_not_write() {
    let (store, faults) = manual();
    add(&store, "old", 1);
    add(&store, "marked", 2);
    store.flush_once().expect("flush");
    store.remove("old", Wait::No).expect("live");
    let receipt = add(&store, "new", 3);
    store.mark_snapshot_complete("marked", Wait::No).expect("live");
    faults.fail_applies(1_000, ErrorKind::StorageFull, Side::Before);
    let report = store.close(Duration::from_millis(10));
    assert_eq!(report.unwritten, 3);
    assert_eq!(report.error.as_ref().map(|error| error.kind()), Some(ErrorKind::StorageFull));
    let names: Vec<_> = report.lost.iter().map(|lost| format!("{lost:?}")).collect();
    assert_eq!(
        names,
        [
            "Removed(Handle(\"old\"))",
            "Added(Handle(\"new\"), Pending)",
            "Marked(Handle(\"marked\"), Complete)"
        ]
    );
    assert!(matches!(receipt.wait_durable(LONG_TIMEOUT), Err(NotDurable::Stopped(_))));
}

#[test]
fn c10_close_does_not_wait_for_a_write_that_hangs() {
    let store = OverFailing::threaded().open();
    let gate = store.inner().faults().block_apply(Side::Before);
    add(&store, "h", 1);
    gate.wait_until_blocked();
    let report = store.close(Duration::from_millis(10));
    assert_eq!(report.unwritten, 1);
    assert!(matches!(report.lost[..], [Unwritten::Added(..)]));
}

#[test]
fn c10_a_drop_of_the_store_flushes() {
    for options in [BufferOptions::default(), BufferOptions::default().background_flush(false)] {
        let memory = Arc::new(MemoryStore::new());
        let store = buffered(FailingStore::new(Arc::clone(&memory)), options);
        store.add(shape("h", 1), Wait::No).expect("below the bound");
        drop(store);
        assert_eq!(handles(&memory), ["h"]);
        assert_eq!(Arc::strong_count(&memory), 1, "the thread does not hold the store");
    }
}
