//! Files that are taken away from those who have them open: a connection that is killed, a mount that went
//! stale. And a disk that may only be read for a while.

use shape_meta::{
    ErrorKind, HealthState, Mode, MutateShapesExt, NoopCleaner, ReadShapesExt, ShapeMeta, StoreControl,
};
use shape_meta_core::conformance::{View, handle, shape};
use shape_meta_faults::{Disk, Failure, Op, VFS, When};

use super::{
    honest::{failing, honest, nothing_was_moved_aside},
    life::{small, sound, timeless},
    patient::Patient,
};
use shape_meta_harness::compositions::{BUFFERED, Flushing, PATIENT, PRODUCT, WAIT, directory, sqlite};

#[test]
fn c9_lost_files_are_opened_again() {
    for (composition, mode) in [(PRODUCT, Mode::Wal), (BUFFERED, Mode::Wal), (PRODUCT, Mode::Exclusive)] {
        let directory = directory();
        let disk = Disk::over(directory.path()).expect("it is there");
        let builder = composition
            .flushing(Flushing::Stepped)
            .stacked_by(ShapeMeta::builder(NoopCleaner).sqlite(small().mode(mode)));
        let store = builder.open(directory.path()).expect("nothing fails");
        for number in 0..6 {
            let added = (0..100).find_map(|_| match store.add(shape(number), WAIT) {
                Ok(receipt) => Some(receipt),
                // A composition without a cache has to ask the disk.
                Err(shape_meta::MutateError::Failed(error)) => {
                    honest(&error);
                    None
                }
                Err(refused) => panic!("{refused:?}"),
            });
            let receipt = added.expect("new files are fine");
            disk.lose_open_files();
            let view = timeless(View::of(&Patient(&store)));
            assert_eq!(view.counts.total, number + 1, "reads go on");
            let flushed = (0..100).any(|_| {
                let done = store.flush(PATIENT).is_ok();
                if !done {
                    honest(&failing(&store));
                }
                done
            });
            assert!(flushed && receipt.is_durable(), "writes go on: {:?}", store.health());
            assert!(matches!(store.health().state, HealthState::Ready));
            assert_eq!(timeless(View::of(&Patient(&store))), view);
        }
        assert!(store.close(PATIENT).is_complete());
        drop(store);
        sound(directory.path());
        nothing_was_moved_aside(directory.path());
    }
}

#[test]
fn c9_a_disk_that_may_only_be_read_is_told_and_ridden_out() {
    for composition in [PRODUCT, BUFFERED] {
        let directory = directory();
        let disk = Disk::over(directory.path()).expect("it is there");
        let builder = ShapeMeta::builder(NoopCleaner).sqlite(sqlite().vfs(VFS));
        let builder = composition.flushing(Flushing::Stepped).stacked_by(builder);
        let store = builder.open(directory.path()).expect("nothing fails");
        store.add(shape(1), WAIT).expect("it is new");
        store.flush(PATIENT).expect("nothing fails");
        for op in [Op::Write, Op::Truncate, Op::Delete] {
            disk.fail(op, When::Always, Failure::ReadOnly);
        }
        let receipt = store.add(shape(2), WAIT).expect("it is accepted");
        assert!(store.flush(PATIENT).is_err());
        assert_eq!(failing(&store).kind(), ErrorKind::ReadOnly);
        assert!(store.has_handle(&handle(2)).expect("reads go on") && !receipt.is_durable());
        disk.heal();
        store.flush(PATIENT).expect("it may be written again");
        assert!(receipt.is_durable());
        assert!(matches!(store.health().state, HealthState::Ready));
    }
}
