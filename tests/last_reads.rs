//! The times of last reads, which memory has first and the flusher saves at intervals. No fault below loses
//! them meanwhile.

use std::sync::Arc;

use shape_meta::{MutateShapesExt, ReadShapes, StoreControl, Timestamp};
use shape_meta_core::conformance::{FailingStore, Faults, Side, handle, shape};

use shape_meta_harness::compositions::{
    ALL, BUFFERED, FlushSchedule, PRODUCT, PRODUCT_DISK_LOOKUPS, TIMEOUT, WAIT, directory,
};

const AT: Timestamp = Timestamp::from_micros(7);

/// A scan returns the shapes that were live when it began, with their last reads, even if a shape is removed
/// before the scan reaches it.
#[test]
fn c1_a_scan_keeps_the_last_read_of_a_shape_removed_meanwhile() {
    for composition in ALL {
        let directory = directory();
        let store = composition.open(directory.path());
        for number in 1..=2 {
            store.add(shape(number), WAIT).expect("it is new");
            assert!(store.touch(&handle(number), AT).expect("it reads"));
        }
        store.flush(TIMEOUT).expect("nothing fails");
        let scan = store.scan().expect("it scans");
        store.remove(&handle(2), WAIT).expect("it is live");
        store.flush(TIMEOUT).expect("nothing fails");
        let times: Vec<_> = scan.map(|listed| listed.expect("it reads").metadata.last_read).collect();
        assert_eq!(times, [Some(AT); 2], "{composition:?}");
    }
}

/// A batch is committed, but a panic hides the result. The retry finds the shapes of the batch on disk, and
/// must keep their last reads from memory.
#[test]
fn c9_a_commit_with_unknown_outcome_keeps_last_reads() {
    for composition in [BUFFERED, PRODUCT, PRODUCT_DISK_LOOKUPS] {
        let (directory, faults) = (directory(), Faults::default());
        let composition = composition.with_flush_schedule(FlushSchedule::Manual);
        let below = Arc::new(composition.open_sqlite(directory.path()));
        let store = composition.over(FailingStore::with(below, faults.clone()));
        store.add(shape(1), WAIT).expect("it is new");
        assert!(store.touch(&handle(1), AT).expect("it reads"));
        faults.panic_applies(1, Side::After);
        while store.flush(TIMEOUT).is_err() {}
        let metadata = store.metadata(&handle(1)).expect("it reads").expect("it is live");
        assert_eq!(metadata.last_read, Some(AT), "{composition:?}");
    }
}
