//! One call fails while a database is opened: each call in turn.

use shape_meta::{IntegrityCheck, Mode, MutateShapesExt, NoopCleaner, ReadShapes, ShapeMeta, StoreControl};
use shape_meta_core::conformance::shape;
use shape_meta_faults::{Disk, Failure, Op, VFS, When};

use super::assertions::{assert_disk_fault, assert_nothing_quarantined};
use shape_meta_harness::compositions::{DIRECT, PRODUCT, TIMEOUT, WAIT, directory, sqlite};

/// SQLite reports an unreadable page during the integrity check with the same text as corruption, and an
/// intact database was quarantined.
#[test]
fn c11_a_failed_call_during_open_is_not_taken_for_corruption() {
    for mode in [Mode::Wal, Mode::Exclusive] {
        let directory = directory();
        let composition = if mode == Mode::Wal { PRODUCT } else { DIRECT };
        let options = sqlite().mode(mode).vfs(VFS).integrity_check(IntegrityCheck::Everything);
        let builder = || composition.apply_to(ShapeMeta::builder(NoopCleaner).sqlite(options.clone()));
        let disk = Disk::mount(directory.path()).expect("it is there");
        let store = builder().open(directory.path()).expect("nothing fails");
        for number in 1..=40 {
            store.add(shape(number), WAIT).expect("it is new");
            store.mark_snapshot_complete(&shape(number).handle, WAIT).expect("it is live");
        }
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        for op in Op::ALL {
            for call in 1.. {
                let failed = disk.failed();
                disk.fail(op, When::Nth(call), Failure::Io);
                let opened = builder().open(directory.path());
                disk.heal();
                assert_nothing_quarantined(directory.path());
                let has_failed = disk.failed() > failed;
                let store = opened.unwrap_or_else(|error| {
                    assert!(has_failed, "{error:?}");
                    assert_disk_fault(&error);
                    builder().open(directory.path()).expect("the disk works again")
                });
                assert_eq!(store.counts().expect("it reads").total, 40, "{mode:?}: {op:?} {call}");
                if !has_failed {
                    break;
                }
            }
        }
    }
}
