//! One call fails while a database is opened: each call in its turn.

use shape_meta::{IntegrityCheck, Mode, MutateShapesExt, NoopCleaner, ReadShapes, ShapeMeta, StoreControl};
use shape_meta_core::conformance::shape;
use shape_meta_faults::{Disk, Failure, Op, VFS, When};

use super::honest::{honest, nothing_was_moved_aside};
use shape_meta_harness::compositions::{DIRECT, PATIENT, PRODUCT, WAIT, directory, sqlite};

/// A disk that does not give a page while the database is checked: SQLite tells of that in the same words as
/// of damage, and a good database was moved aside.
#[test]
fn c11_a_call_that_fails_while_a_database_is_opened_is_no_damage() {
    for mode in [Mode::Wal, Mode::Exclusive] {
        let directory = directory();
        let composition = if mode == Mode::Wal { PRODUCT } else { DIRECT };
        let options = sqlite().mode(mode).vfs(VFS).integrity_check(IntegrityCheck::Everything);
        let builder = || composition.stacked_by(ShapeMeta::builder(NoopCleaner).sqlite(options.clone()));
        let disk = Disk::over(directory.path()).expect("it is there");
        let store = builder().open(directory.path()).expect("nothing fails");
        for number in 1..=40 {
            store.add(shape(number), WAIT).expect("it is new");
            store.mark_snapshot_complete(&shape(number).handle, WAIT).expect("it is live");
        }
        assert!(store.close(PATIENT).is_complete());
        drop(store);
        for op in Op::ALL {
            for call in 1.. {
                let failed = disk.failed();
                disk.fail(op, When::Nth(call), Failure::Io);
                let opened = builder().open(directory.path());
                disk.heal();
                nothing_was_moved_aside(directory.path());
                let met = disk.failed() > failed;
                let store = opened.unwrap_or_else(|error| {
                    assert!(met, "{error:?}");
                    honest(&error);
                    builder().open(directory.path()).expect("the disk works again")
                });
                assert_eq!(store.counts().expect("it reads").total, 40, "{mode:?}: {op:?} {call}");
                if !met {
                    break;
                }
            }
        }
    }
}
