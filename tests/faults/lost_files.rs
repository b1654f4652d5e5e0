//! Open files that are lost, as with a stale mount, and a disk that is read-only for a while.

use shape_meta::{
    ErrorKind, HealthState, Mode, MutateShapesExt, NoopCleaner, ReadShapesExt, ShapeMeta, StoreControl,
};
use shape_meta_core::conformance::{View, handle, shape};
use shape_meta_faults::{Disk, Failure, Op, VFS, When};

use super::{
    assertions::{assert_disk_fault, assert_nothing_quarantined, retry_error},
    lifecycle::{assert_integrity, small_caches, timeless},
    retrying_reader::RetryingReader,
};
use shape_meta_harness::compositions::{BUFFERED, FlushSchedule, PRODUCT, TIMEOUT, WAIT, directory, sqlite};

#[test]
fn c9_lost_files_are_opened_again() {
    for (composition, mode) in [(PRODUCT, Mode::Wal), (BUFFERED, Mode::Wal), (PRODUCT, Mode::Exclusive)] {
        let directory = directory();
        let disk = Disk::mount(directory.path()).expect("it is there");
        let builder = composition
            .with_flush_schedule(FlushSchedule::Manual)
            .apply_to(ShapeMeta::builder(NoopCleaner).sqlite(small_caches().mode(mode)));
        let store = builder.open(directory.path()).expect("nothing fails");
        for number in 0..6 {
            let added = (0..100).find_map(|_| match store.add(shape(number), WAIT) {
                Ok(receipt) => Some(receipt),
                // A composition without a cache has to read from the disk.
                Err(shape_meta::MutateError::Failed(error)) => {
                    assert_disk_fault(&error);
                    None
                }
                Err(refused) => panic!("{refused:?}"),
            });
            let receipt = added.expect("new files work");
            disk.lose_open_files();
            let view = timeless(View::of(&RetryingReader(&store)));
            assert_eq!(view.counts.total, number + 1, "reads are served");
            let flushed = (0..100).any(|_| {
                let done = store.flush(TIMEOUT).is_ok();
                if !done {
                    assert_disk_fault(&retry_error(&store));
                }
                done
            });
            assert!(flushed && receipt.is_durable(), "writing resumes: {:?}", store.health());
            assert!(matches!(store.health().state, HealthState::Ready));
            assert_eq!(timeless(View::of(&RetryingReader(&store))), view);
        }
        assert!(store.close(TIMEOUT).is_complete());
        drop(store);
        assert_integrity(directory.path());
        assert_nothing_quarantined(directory.path());
    }
}

#[test]
fn c9_a_read_only_disk_is_reported_until_it_is_writable() {
    for composition in [PRODUCT, BUFFERED] {
        let directory = directory();
        let disk = Disk::mount(directory.path()).expect("it is there");
        let builder = ShapeMeta::builder(NoopCleaner).sqlite(sqlite().vfs(VFS));
        let builder = composition.with_flush_schedule(FlushSchedule::Manual).apply_to(builder);
        let store = builder.open(directory.path()).expect("nothing fails");
        store.add(shape(1), WAIT).expect("it is new");
        store.flush(TIMEOUT).expect("nothing fails");
        for op in [Op::Write, Op::Truncate, Op::Delete] {
            disk.fail(op, When::Always, Failure::ReadOnly);
        }
        let receipt = store.add(shape(2), WAIT).expect("it is accepted");
        assert!(store.flush(TIMEOUT).is_err());
        assert_eq!(retry_error(&store).kind(), ErrorKind::ReadOnly);
        assert!(store.has_handle(&handle(2)).expect("reads are served") && !receipt.is_durable());
        disk.heal();
        store.flush(TIMEOUT).expect("the disk is writable again");
        assert!(receipt.is_durable());
        assert!(matches!(store.health().state, HealthState::Ready));
    }
}
