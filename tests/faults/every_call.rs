//! One call of a whole life of a database fails, or a few in succession: each call in turn.

use std::env;

use shape_meta::Mode;
use shape_meta_faults::{Failure, Op, When};

use super::lifecycle::{Lifecycle, assert_integrity};
use shape_meta_harness::compositions::{BUFFERED, Composition, DIRECT, DIRECT_CACHED, PRODUCT};

/// The number of lives that one test plays, unless [`ALL_LIVES`] is set: then it plays all of them.
const LIVES: u64 = 12;
const ALL_LIVES: &str = "SHAPE_META_ALL_LIVES";

/// Plays a life for each call of this operation, in which that call and the `times - 1` calls after it fail.
/// If there are more calls than lives, a random sample is played, and printed.
fn fail_each_call(composition: Composition, mode: Mode, op: Op, failure: Failure, times: u64) {
    let calls = {
        let life = Lifecycle::new(composition, mode);
        life.play();
        life.disk.calls(op)
    };
    let step = if env::var_os(ALL_LIVES).is_some() { 1 } else { calls.div_ceil(LIVES).max(1) };
    let first = fastrand::u64(1..=step);
    eprintln!("{op:?} {failure:?} of {composition:?} {mode:?}: {calls} calls, every {step}th from {first}");
    for call in (first..=calls).step_by(step as usize) {
        let life = Lifecycle::new(composition, mode);
        life.disk.fail(op, When::Times(call, times), failure);
        eprintln!("call {call}");
        life.play();
        assert!(life.disk.failed() > 0, "the call was made");
        assert_integrity(life.directory.path());
    }
}

macro_rules! fail_each_call {
    ($($name:ident: $composition:ident, $mode:ident, $op:ident, $failure:ident, $times:literal;)*) => {
        $(
            #[test]
            fn $name() {
                fail_each_call($composition, Mode::$mode, Op::$op, Failure::$failure, $times);
            }
        )*
    };
}

fail_each_call! {
    c9_a_write_fails: PRODUCT, Wal, Write, Io, 1;
    c9_some_writes_fail: PRODUCT, Wal, Write, Io, 4;
    c9_a_write_finds_the_disk_full: PRODUCT, Wal, Write, Full, 3;
    c9_a_write_is_not_allowed: PRODUCT, Wal, Write, ReadOnly, 2;
    c9_a_sync_fails: PRODUCT, Wal, Sync, Io, 1;
    c9_a_read_fails: PRODUCT, Wal, Read, Io, 1;
    c9_some_reads_fail: PRODUCT, Wal, Read, Io, 4;
    c9_a_lock_fails: PRODUCT, Wal, Lock, Io, 1;
    c9_a_lock_is_busy: PRODUCT, Wal, Lock, Busy, 1;
    c9_a_wal_lock_fails: PRODUCT, Wal, ShmLock, Io, 1;
    c9_a_wal_lock_is_busy: PRODUCT, Wal, ShmLock, Busy, 1;
    c9_shared_memory_fails: PRODUCT, Wal, ShmMap, Io, 1;
    c9_an_opening_fails: PRODUCT, Wal, Open, Io, 1;
    c9_a_truncation_fails: PRODUCT, Wal, Truncate, Io, 1;
    c9_a_deletion_fails: PRODUCT, Wal, Delete, Io, 1;
    c9_reading_a_file_size_fails: PRODUCT, Wal, Size, Io, 1;
    c9_checking_a_file_fails: PRODUCT, Wal, Access, Io, 1;

    c9_a_write_fails_without_a_cache: BUFFERED, Wal, Write, Io, 1;
    c9_a_read_fails_without_a_cache: BUFFERED, Wal, Read, Io, 1;
    c9_a_wal_lock_fails_without_a_cache: BUFFERED, Wal, ShmLock, Io, 1;

    c9_a_write_fails_directly: DIRECT, Wal, Write, Io, 1;
    c9_a_sync_fails_directly: DIRECT, Wal, Sync, Io, 1;
    c9_a_read_fails_directly: DIRECT, Wal, Read, Io, 1;
    c9_a_write_fails_below_a_cache: DIRECT_CACHED, Wal, Write, Io, 1;
    c9_a_read_fails_below_a_cache: DIRECT_CACHED, Wal, Read, Io, 1;

    c9_a_write_fails_in_exclusive_mode: PRODUCT, Exclusive, Write, Io, 1;
    c9_some_writes_fail_in_exclusive_mode: PRODUCT, Exclusive, Write, Io, 4;
    c9_a_full_disk_in_exclusive_mode: PRODUCT, Exclusive, Write, Full, 3;
    c9_a_sync_fails_in_exclusive_mode: PRODUCT, Exclusive, Sync, Io, 1;
    c9_a_read_fails_in_exclusive_mode: BUFFERED, Exclusive, Read, Io, 1;
    c9_a_lock_fails_in_exclusive_mode: PRODUCT, Exclusive, Lock, Io, 1;
    c9_a_truncation_fails_in_exclusive_mode: DIRECT, Exclusive, Truncate, Io, 1;
    c9_a_deletion_fails_in_exclusive_mode: DIRECT, Exclusive, Delete, Io, 1;
    c9_a_write_fails_directly_in_exclusive_mode: DIRECT, Exclusive, Write, Io, 1;
}
