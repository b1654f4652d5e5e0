//! C13, one line of history, in whole compositions: what a restore, a swap or a second owner does to an owner
//! that goes on, to a standby, and to its promotion.

use std::{collections::HashSet, path::Path, process::Command, sync::Arc};

use shape_meta::{
    BufferOptions, CacheOptions, ErrorKind, HealthState, MutateShapesExt, NoopObserver, OnLiveOwner,
    ReadShapes, ReadShapesExt, ShapeMeta, Standby, StoreControl, Wait,
};
use shape_meta_buffer::Buffered;
use shape_meta_cache::Cached;
use shape_meta_core::conformance::{handle, key, shape};
use shape_meta_sqlite::{DiskIndexes, Inspector, SqliteOptions, SqliteStore};

use shape_meta_harness::compositions::{
    ALL, Composition, DIRECT_CACHED, FlushSchedule, PRODUCT, PRODUCT_DISK_LOOKUPS, TIMEOUT, WAIT, directory,
};

/// Runs a command in another process: a process that closes a file gives up all its locks on it.
fn shell(directory: &Path, command: &str) {
    let status = Command::new("sh").args(["-ec", command]).current_dir(directory).status();
    assert!(status.expect("there is a shell").success(), "{command}");
}

/// Adds complete shapes and waits until they are durable.
fn add(store: &ShapeMeta, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        store.add(shape(number), WAIT).expect("it is new");
        store.mark_snapshot_complete(&handle(number), WAIT).expect("it is live");
    }
    store.flush(TIMEOUT).expect("nothing fails");
}

/// Returns the shapes of a scan, and checks that no handle and no key is there twice (C2), and that the
/// look-ups agree.
fn shapes(store: &impl ReadShapes) -> HashSet<String> {
    let (mut handles, mut keys) = (HashSet::new(), HashSet::new());
    for item in store.scan().expect("it scans") {
        let record = item.expect("it reads").record;
        assert!(keys.insert(*record.key()), "C2: the key of {} is there twice", record.handle());
        assert_eq!(store.handle_for(record.key()).expect("reads").as_ref(), Some(record.handle()));
        assert!(store.has_handle(record.handle()).expect("reads"));
        assert!(handles.insert(record.handle().to_string()), "C2: {} is there twice", record.handle());
    }
    assert_eq!(store.counts().expect("reads").total, handles.len() as u64);
    handles
}

fn named(numbers: impl IntoIterator<Item = u64>) -> HashSet<String> {
    numbers.into_iter().map(|number| handle(number).to_string()).collect()
}

fn assert_sound(directory: &Path) {
    let mut problems = Vec::new();
    let inspector = Inspector::open(directory).expect("opens");
    inspector.verify(None, &mut |problem| problems.push(problem)).expect("reads");
    assert_eq!(problems, Vec::<String>::new());
}

/// Flushes until the state of the store is final: a moved file is noticed by one attempt, and the file that
/// is there now by the next.
fn flush_until_fenced(store: &ShapeMeta) {
    for _ in 0..5 {
        let _ = store.flush(TIMEOUT);
        if matches!(store.health().state, HealthState::Fenced { .. }) {
            return;
        }
    }
    panic!("C13: the state is {:?}", store.health().state);
}

#[test]
fn c13_no_durable_shape_is_lost_after_a_restore() {
    for composition in ALL.map(|one| one.with_flush_schedule(FlushSchedule::Manual)) {
        let top = directory();
        let live = top.path().join("live");
        let store = composition.open(&live);
        add(&store, 1..=5);
        store.close(TIMEOUT);
        drop(store);
        shell(top.path(), "cp -r live backup");

        let first = composition.open(&live);
        shell(top.path(), "rm -r live; cp -r backup live");
        let second = composition.open(&live);
        // The former owner removes a shape, and the new one adds others.
        let removed = first.remove(&handle(1), Wait::No);
        let is_durable = match &removed {
            Ok(receipt) => {
                let _ = first.flush(TIMEOUT);
                receipt.wait_durable(std::time::Duration::ZERO).is_ok()
            }
            Err(_) => false,
        };
        assert!(!is_durable, "{composition:?}: C13: the file at this path is not its own any more");
        add(&second, 6..=9);
        if composition.buffer.is_some() {
            flush_until_fenced(&first);
        }
        assert!(first.has_handle(&handle(2)).expect("reads go on"), "{composition:?}");
        add(&second, 10..=12);
        assert_eq!(shapes(&second), named(1..=12), "{composition:?}");
        first.close(TIMEOUT);
        drop((first, second));
        let store = composition.open(&live);
        assert_eq!(shapes(&store), named(1..=12), "{composition:?}");
        drop(store);
        assert_sound(&live);
    }
}

#[test]
fn c13_a_flush_never_goes_into_a_database_made_anew() {
    let composition = PRODUCT.with_flush_schedule(FlushSchedule::Manual);
    for command in ["mv d aside", "rm -r d"] {
        let top = directory();
        let path = top.path().join("d");
        let first = composition.open(&path);
        let pending = first.add(shape(1), Wait::No).expect("it is new");
        shell(top.path(), command);
        let second = composition.open(&path);
        let theirs = second.add(shape(2), Wait::No).expect("it is new");
        flush_until_fenced(&first);
        assert!(pending.wait_durable(TIMEOUT).is_err(), "{command}: what is not in the file is not durable");
        second.flush(TIMEOUT).expect("nothing fails");
        theirs.wait_durable(TIMEOUT).expect("it is its own");
        second.mark_snapshot_complete(&handle(2), WAIT).expect("it is live");
        second.close(TIMEOUT);
        first.close(TIMEOUT);
        drop((first, second));
        assert_eq!(shapes(&composition.open(&path)), named([2]));
    }
}

#[test]
fn c13_health_names_the_swap_and_memory_serves_reads() {
    let composition = PRODUCT.with_flush_schedule(FlushSchedule::Manual);
    let top = directory();
    let [one, two] = ["one", "two"].map(|name| composition.open(&top.path().join(name)));
    add(&one, 1..=5);
    add(&two, 101..=109);
    shell(top.path(), "mv one x; mv two one; mv x two");
    for (store, own, other) in [(&one, 1, 101), (&two, 101, 1)] {
        store.add(shape(own + 50), Wait::No).expect("it is pending");
        flush_until_fenced(store);
        let HealthState::Fenced { error } = store.health().state else { panic!("it was fenced") };
        assert!(error.to_string().contains("another database is at this path"), "{error}");
        assert!(!store.health().is_ready());
        for number in [own, own + 4] {
            assert!(store.has_handle(&handle(number)).expect("from memory"));
            assert_eq!(store.handle_for(&key(number)).expect("from memory"), Some(handle(number)));
        }
        assert!(!store.has_handle(&handle(other)).expect("from memory"));
        let refused = store.add(shape(own + 60), Wait::No).expect_err("writing has stopped");
        assert!(refused.to_string().contains("fenced"), "{refused}");
    }
    drop((one, two));
    shell(top.path(), "mv one x; mv two one; mv x two");
    for (name, numbers) in [("one", 1..=5), ("two", 101..=109)] {
        assert_eq!(shapes(&composition.open(&top.path().join(name))), named(numbers), "{name}");
    }
}

/// A standby that has refreshed, and copies of its database at earlier moments.
struct Scene {
    top: tempfile::TempDir,
    composition: Composition,
    standby: Standby,
}

impl Scene {
    fn new(composition: Composition) -> Self {
        let top = directory();
        let live = top.path().join("live");
        let owner = composition.open(&live);
        add(&owner, 1..=5);
        owner.close(TIMEOUT);
        drop(owner);
        shell(top.path(), "cp -r live at5");
        let owner = composition.open(&live);
        add(&owner, 6..=10);
        let standby = composition.builder().open_standby(&live).expect("the standby opens");
        owner.remove(&handle(2), WAIT).expect("it is live");
        add(&owner, 11..=12);
        let report = standby.refresh().expect("reads");
        assert!(!report.full, "the owner goes on");
        owner.close(TIMEOUT);
        drop(owner);
        assert_eq!(shapes(&standby), named((1..=12).filter(|number| *number != 2)));
        Self { top, composition, standby }
    }

    /// Puts the copy in place, and lets another owner write to it.
    fn restore(&self, numbers: std::ops::RangeInclusive<u64>) {
        shell(self.top.path(), "rm -r live; cp -r at5 live");
        let owner = self.composition.open(&self.top.path().join("live"));
        add(&owner, numbers);
        owner.close(TIMEOUT);
    }
}

#[test]
fn c13_a_refresh_across_a_restore_is_full_and_shows_no_ghost() {
    for composition in [PRODUCT, PRODUCT_DISK_LOOKUPS, DIRECT_CACHED] {
        // Behind what the standby has seen, and past it.
        for through in [101, 103, 104, 120] {
            let scene = Scene::new(composition);
            scene.restore(101..=through);
            let report = scene.standby.refresh().expect("reads");
            assert!(report.full, "{composition:?}: the sequence numbers are of another line");
            let expected = named((1..=5).chain(101..=through));
            assert_eq!(shapes(&scene.standby), expected, "{composition:?}: no ghost");
            // The next owner continues this line.
            let owner = composition.open(&scene.top.path().join("live"));
            add(&owner, 201..=203);
            let report = scene.standby.refresh().expect("reads");
            assert!(!report.full && report.added == 3, "{composition:?}: {report:?}");
        }
    }
}

#[test]
fn c13_a_promotion_across_a_restore_writes_no_key_twice() {
    for composition in [PRODUCT, PRODUCT_DISK_LOOKUPS, DIRECT_CACHED] {
        for through in [101, 104, 120] {
            let scene = Scene::new(composition);
            scene.restore(101..=through);
            let store = scene.standby.promote(OnLiveOwner::Fail).expect("no owner is alive");
            let expected = (1..=5).chain(101..=through);
            assert_eq!(shapes(&store), named(expected.clone()), "{composition:?}");
            // All shapes that were there before, or are there now, are added or found once.
            for number in (1..=12).chain(101..=through) {
                store.get_or_add(&shape(number), WAIT).expect("it is found or new");
                store.mark_snapshot_complete(&handle(number), WAIT).expect("it is live");
            }
            store.flush(TIMEOUT).expect("nothing fails");
            store.close(TIMEOUT);
            drop((store, scene.standby));
            let live = scene.top.path().join("live");
            assert_sound(&live);
            assert_eq!(shapes(&composition.open(&live)), named((1..=12).chain(101..=through)));
        }
    }
}

#[test]
fn c13_a_refresh_is_incremental_across_a_hand_over() {
    for composition in [PRODUCT, DIRECT_CACHED] {
        let directory = directory();
        let first = composition.open(directory.path());
        add(&first, 1..=5);
        let standby = composition.builder().open_standby(directory.path()).expect("the standby opens");
        add(&first, 6..=7);
        // One owner fences the other, and the next one opens after a close.
        let fence = || shape_meta_harness::compositions::sqlite().on_live_owner(OnLiveOwner::Fence);
        let builder = composition.apply_to(ShapeMeta::builder(shape_meta::NoopCleaner).sqlite(fence()));
        let second = builder.open(directory.path()).expect("it takes over");
        add(&second, 8..=9);
        let report = standby.refresh().expect("reads");
        assert!(!report.full && report.added == 4, "{composition:?}: {report:?}");
        second.close(TIMEOUT);
        drop(second);
        let third = composition.open(directory.path());
        third.remove(&handle(1), WAIT).expect("it is live");
        add(&third, 10..=10);
        let report = standby.refresh().expect("reads");
        assert!(!report.full && (report.added, report.removed) == (1, 1), "{composition:?}: {report:?}");
        third.close(TIMEOUT);
        drop((first, third));
        let store = standby.promote(OnLiveOwner::Fail).expect("no owner is alive");
        assert_eq!(shapes(&store), named(2..=10), "{composition:?}");
    }
}

#[test]
fn c13_a_fenced_owner_names_the_newer_one() {
    let composition = PRODUCT.with_flush_schedule(FlushSchedule::Manual);
    let directory = directory();
    let first = composition.open(directory.path());
    add(&first, 1..=3);
    let standby = composition.builder().open_standby(directory.path()).expect("the standby opens");
    let second = standby.promote(OnLiveOwner::Fence).expect("it takes over");
    first.add(shape(4), Wait::No).expect("it is pending");
    flush_until_fenced(&first);
    let HealthState::Fenced { error } = first.health().state else { panic!("it was fenced") };
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.to_string().contains("a newer owner opened the database"), "{error}");
    second.add(shape(5), WAIT).expect("it is the owner");
    assert!(!second.has_handle(&handle(4)).expect("reads"));
}

/// A reader that was open before shows what went into the lost file, and no layer may take it for committed.
#[test]
fn c13_no_shape_in_a_lost_wal_counts_as_durable() {
    for composition in ALL.map(|one| one.with_flush_schedule(FlushSchedule::Manual)) {
        let directory = directory();
        let store = composition.open(directory.path());
        add(&store, 1..=3);
        assert_eq!(shapes(&store).len(), 3, "a reader is open");
        shell(directory.path(), "rm shape-meta.sqlite3-wal");
        // The second call finds the shape if the first one has left it anywhere.
        for _ in 0..2 {
            let made = store.get_or_add(&shape(4), WAIT);
            let _ = store.flush(TIMEOUT);
            assert!(made.is_err() || made.is_ok_and(|made| !made.receipt.is_durable()), "{composition:?}");
        }
    }
}

/// The layers as they are composed without this crate.
#[test]
fn c13_a_flush_into_a_lost_wal_fails_over_a_cache_of_its_own() {
    let directory = directory();
    let options = SqliteOptions::default().disk_indexes(DiskIndexes::Omitted);
    let store = SqliteStore::open(directory.path(), options, Arc::new(NoopObserver)).expect("it opens");
    let cached = Cached::open(store, CacheOptions::default(), Arc::new(NoopObserver)).expect("it opens");
    let options = BufferOptions::default().background_flush(false);
    let store = Buffered::new(cached, options, Arc::new(NoopObserver)).expect("it opens");
    store.add(shape(1), WAIT).expect("it is new");
    store.flush(TIMEOUT).expect("nothing fails");
    shell(directory.path(), "rm shape-meta.sqlite3-wal");
    store.add(shape(2), WAIT).expect("it is new");
    for _ in 0..3 {
        store.flush(TIMEOUT).expect_err("the WAL has lost its name");
    }
    assert!(!store.close(TIMEOUT).is_complete());
}
