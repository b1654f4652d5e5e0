//! The power fails at one of the calls that change the disk: each call in turn. What survives must match the
//! table of [`Durability`].

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use fastrand::Rng;
use shape_meta::{
    BoxError, Durability, ErrorKind, Handle, Inspector, Limits, Mode, MutateError, MutateShapes,
    MutateShapesExt, Mutation, NoopCleaner, NoopObserver, ReadShapes, ShapeCleaner, ShapeMeta, SqliteOptions,
    SqliteStore, StoreControl, Timestamp,
};
use shape_meta_core::{
    Direct, MemoryStore, ShapeStore,
    conformance::{View, handle, shape},
};
use shape_meta_faults::{Cut, Disk, Failure, Op, When};
use tempfile::TempDir;

use super::{
    assertions::{assert_disk_fault, retry_error},
    lifecycle::{assert_integrity, mutation, small_caches, timeless},
};
use shape_meta_harness::compositions::{
    Composition, DIRECT, FlushSchedule, PRODUCT, TIMEOUT, WAIT, directory, sqlite,
};

/// The number of power cuts in one life, spread over all of it.
const MOMENTS: u64 = 12;

/// The states that were acknowledged before the power failed.
struct Acknowledged {
    /// Every state of the model, in order.
    history: Vec<View>,
    /// The index of the latest state that was reported as durable.
    durable: usize,
}

impl Acknowledged {
    fn push(&mut self, model: &Direct<MemoryStore>) {
        self.history.push(timeless(View::of(model)));
    }

    /// Records the state after a mutation that was not acknowledged. It may be there or not.
    fn push_unacknowledged(&mut self, model: &Direct<MemoryStore>, mutation: &Mutation) {
        let _ = model.try_mutate(mutation);
        self.push(model);
    }

    fn mark_durable(&mut self) {
        self.durable = self.history.len() - 1;
    }
}

/// Plays the script until the power fails or the script ends. Other faults of the disk are retried.
fn run_until_power_loss(
    composition: Composition,
    options: &SqliteOptions,
    disk: &Disk,
    directory: &Path,
) -> Acknowledged {
    let composition = composition.with_flush_schedule(FlushSchedule::Manual);
    let mut random = Rng::with_seed(7);
    let model = Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver)).expect("memory");
    let mut acknowledged = Acknowledged { history: vec![timeless(View::of(&model))], durable: 0 };
    for generation in 1..=3 {
        model.inner().reopen(Timestamp::from_micros(generation));
        acknowledged.push(&model);
        let builder = || composition.apply_to(ShapeMeta::builder(NoopCleaner).sqlite(options.clone()));
        let Some(store) = retry_until_off(disk, || builder().open(directory)) else { return acknowledged };
        acknowledged.mark_durable();
        for _ in 0..3 {
            for _ in 0..6 {
                if !mutate(composition, &store, &model, &mutation(&mut random), disk, &mut acknowledged) {
                    return acknowledged;
                }
            }
            let flushed = retry_until_off(disk, || store.flush(TIMEOUT).map_err(|_| retry_error(&store)));
            if flushed.is_none() {
                return acknowledged;
            }
            acknowledged.mark_durable();
        }
        let _ = store.database().expect("it has one").maintain();
        if !store.close(TIMEOUT).is_complete() {
            return acknowledged;
        }
    }
    acknowledged
}

/// Retries an attempt while the disk fails. Returns `None` once the power is off.
fn retry_until_off<T>(disk: &Disk, mut attempt: impl FnMut() -> shape_meta::Result<T>) -> Option<T> {
    for _ in 0..100 {
        match attempt() {
            Ok(value) => return Some(value),
            Err(_) if disk.is_off() => return None,
            Err(error) => assert_disk_fault(&error),
        }
    }
    panic!("the disk fails for ever");
}

/// Applies one mutation and records what was acknowledged. Returns whether the power is still on.
fn mutate(
    composition: Composition,
    store: &ShapeMeta,
    model: &Direct<MemoryStore>,
    mutation: &Mutation,
    disk: &Disk,
    acknowledged: &mut Acknowledged,
) -> bool {
    let before = model.last_seq().expect("memory");
    loop {
        match store.try_mutate(mutation) {
            Err(MutateError::Failed(_)) if disk.is_off() => {
                acknowledged.push_unacknowledged(model, mutation);
                return false;
            }
            Err(MutateError::Failed(error)) => {
                assert_disk_fault(&error);
                if composition.buffer.is_some() {
                    continue;
                }
                let Some(last) = retry_until_off(disk, || store.last_seq()) else {
                    // The power failed during this read.
                    acknowledged.push_unacknowledged(model, mutation);
                    return false;
                };
                if last == before {
                    continue;
                }
                // The mutation failed but was committed. A `get_or_add` of the same shape finds it, and may
                // report it as durable.
                model.try_mutate(mutation).expect("the store accepted it");
                acknowledged.push(model);
                if let Mutation::Add(shape) = mutation
                    && let Some(found) = store.try_get_or_add(shape).ok()
                {
                    assert!(!found.added);
                    if found.receipt.is_durable() {
                        acknowledged.mark_durable();
                    }
                }
                return !disk.is_off();
            }
            outcome => {
                assert_eq!(outcome.is_ok(), model.try_mutate(mutation).is_ok(), "C5: {mutation:?}");
                acknowledged.push(model);
                if outcome.is_ok_and(|receipt| receipt.is_durable()) {
                    acknowledged.mark_durable();
                }
                return true;
            }
        }
    }
}

/// Returns the content of an image before recovery. `None` if the image is damaged, which `may_be_damaged`
/// permits.
fn recovered(image: &Path, may_be_damaged: bool, context: &str) -> Option<View> {
    let before = fs::read_dir(image).expect("it is there").count();
    let store = match SqliteStore::open(image, sqlite(), Arc::new(NoopObserver)) {
        Ok(store) if store.report().quarantined.is_none() => store,
        other => {
            assert!(may_be_damaged, "C6: {context}: a power cut damaged the database: {other:?}");
            let after = fs::read_dir(image).expect("it is there").count();
            assert!(after >= before, "C11: nothing is deleted");
            return None;
        }
    };
    if may_be_damaged && !(is_readable(&store) && verifies(image)) {
        return None;
    }
    let view = timeless(View::of(&store));
    drop(store);
    if !may_be_damaged {
        assert_integrity(image);
    }
    Some(view)
}

/// Returns whether every read of an image succeeds. Damage that is not found when a database is opened must
/// be reported by the reads.
fn is_readable(store: &SqliteStore) -> bool {
    let read = store.scan().and_then(|scan| scan.map(|shape| shape.map(drop)).collect::<Result<Vec<_>, _>>());
    let loaded = store.load(&mut |_| {});
    let counted = store.counts();
    for error in [read.as_ref().err(), loaded.as_ref().err(), counted.as_ref().err()].into_iter().flatten() {
        assert!(is_damage(error), "{error:?}");
    }
    let agree = |shapes: &Vec<()>| counted.as_ref().is_ok_and(|counts| counts.total == shapes.len() as u64);
    loaded.is_ok() && read.as_ref().is_ok_and(agree)
}

/// Returns whether verification finds no problem. Only verification detects intact pages of different
/// moments.
fn verifies(image: &Path) -> bool {
    let verified = Inspector::open(image).and_then(|inspector| inspector.verify(None, &mut |_| {}));
    match verified {
        Ok(verified) => verified.problems == 0,
        Err(error) => {
            assert!(is_damage(&error), "{error:?}");
            false
        }
    }
}

/// A page that is missing reads like a failure of the disk.
fn is_damage(error: &shape_meta::Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Io)
}

/// Compares an image with what was acknowledged. Returns whether the image was undamaged.
#[track_caller]
fn check_image(
    durability: Durability,
    mode: Mode,
    cut: Cut,
    disk: &Disk,
    acknowledged: &Acknowledged,
    context: &str,
) -> bool {
    let image = directory_of(disk, cut);
    let context = &format!("{context}, {cut:?}");
    // With `Cut::Everything` the process is killed and the power stays on: the first column of the table.
    let (loses, damages) = match (cut, durability) {
        (Cut::Everything, _) | (_, Durability::PowerLossDurable) => (false, false),
        (_, Durability::PowerLossConsistent) => (mode == Mode::Wal, false),
        (_, Durability::ProcessCrash) => (true, true),
    };
    let Some(view) = recovered(image.path(), damages, context) else { return false };
    let least = if loses { 0 } else { acknowledged.durable };
    let found = acknowledged.history.iter().rposition(|state| *state == view);
    assert!(damages || found.is_some(), "C6: {context}: not a state of the history: {view:#?}");
    assert!(
        found.is_none_or(|found| found >= least),
        "C6: {context}: state {found:?}, but {least} was durable of {}: {view:#?}",
        acknowledged.history.len()
    );
    found.is_some()
}

fn cuts(random: &mut Rng) -> [Cut; 5] {
    let mut seed = || random.u64(..);
    [Cut::Synced, Cut::Everything, Cut::Prefix(seed()), Cut::Any(seed()), Cut::Torn(seed())]
}

fn check_durability(composition: Composition, durability: Durability, mode: Mode) {
    let options = small_caches().durability(durability).mode(mode);
    let seed = fastrand::u64(..);
    let mut random = Rng::with_seed(seed);
    let changes = {
        let directory = directory();
        let disk = Disk::mount(directory.path()).expect("it is there");
        run_until_power_loss(composition, &options, &disk, directory.path());
        disk.changes()
    };
    let mut images = [0; 2];
    let step = changes.div_ceil(MOMENTS);
    for change in (random.u64(1..=step)..=changes).step_by(step as usize) {
        let directory = directory();
        let disk = Disk::mount(directory.path()).expect("it is there");
        disk.power_off_at(change);
        let acknowledged = run_until_power_loss(composition, &options, &disk, directory.path());
        let context = format!("seed {seed}, change {change} of {changes}");
        for cut in cuts(&mut random) {
            images[usize::from(check_image(durability, mode, cut, &disk, &acknowledged, &context))] += 1;
        }
    }
    eprintln!(
        "{durability:?} {mode:?} {composition:?}: {changes} changes, {images:?} images damaged and undamaged"
    );
}

/// A sync fails and loses its writes although later syncs succeed, and then the power fails.
fn check_durability_after_a_failed_sync(composition: Composition, durability: Durability, mode: Mode) {
    let options = small_caches().durability(durability).mode(mode);
    let seed = fastrand::u64(..);
    let mut random = Rng::with_seed(seed);
    let (changes, syncs) = {
        let directory = directory();
        let disk = Disk::mount(directory.path()).expect("it is there");
        run_until_power_loss(composition, &options, &disk, directory.path());
        (disk.changes(), disk.calls(Op::Sync))
    };
    let step = syncs.div_ceil(MOMENTS);
    for sync in (random.u64(1..=step)..=syncs).step_by(step as usize) {
        for _ in 0..2 {
            let directory = directory();
            let disk = Disk::mount(directory.path()).expect("it is there");
            disk.fail(Op::Sync, When::Nth(sync), Failure::Io);
            // A random moment in this life, which may be before or after the sync.
            let off = random.u64(1..=changes + 10);
            disk.power_off_at(off);
            let acknowledged = run_until_power_loss(composition, &options, &disk, directory.path());
            disk.power_off();
            let context = format!("seed {seed}, sync {sync} of {syncs} failed, off at {off} of {changes}");
            for cut in cuts(&mut random) {
                check_image(durability, mode, cut, &disk, &acknowledged, &context);
            }
        }
    }
}

macro_rules! each {
    ($($name:ident: $composition:ident, $durability:ident, $mode:ident;)*) => {
        $(
            #[test]
            fn $name() {
                check_durability($composition, Durability::$durability, Mode::$mode);
            }
        )*
    };
}

each! {
    c6_durable: PRODUCT, PowerLossDurable, Wal;
    c6_durable_in_exclusive_mode: PRODUCT, PowerLossDurable, Exclusive;
    c6_durable_directly: DIRECT, PowerLossDurable, Wal;
    c6_durable_directly_in_exclusive_mode: DIRECT, PowerLossDurable, Exclusive;
    c6_consistent: PRODUCT, PowerLossConsistent, Wal;
    c6_consistent_in_exclusive_mode: PRODUCT, PowerLossConsistent, Exclusive;
    c6_consistent_directly: DIRECT, PowerLossConsistent, Wal;
    c6_process_crash: PRODUCT, ProcessCrash, Wal;
    c6_process_crash_in_exclusive_mode: PRODUCT, ProcessCrash, Exclusive;
}

macro_rules! each_after_a_failed_sync {
    ($($name:ident: $composition:ident, $durability:ident, $mode:ident;)*) => {
        $(
            #[test]
            fn $name() {
                check_durability_after_a_failed_sync($composition, Durability::$durability, Mode::$mode);
            }
        )*
    };
}

each_after_a_failed_sync! {
    c6_durable_after_a_failed_sync: PRODUCT, PowerLossDurable, Wal;
    c6_durable_after_a_failed_sync_in_exclusive_mode: PRODUCT, PowerLossDurable, Exclusive;
    c6_durable_after_a_failed_sync_directly: DIRECT, PowerLossDurable, Wal;
    c6_durable_after_a_failed_sync_directly_in_exclusive_mode: DIRECT, PowerLossDurable, Exclusive;
    c6_consistent_after_a_failed_sync_in_exclusive_mode: PRODUCT, PowerLossConsistent, Exclusive;
}

/// A sync of the WAL fails, and the process ends before it can reset the WAL. The next owner reads cached
/// pages that the disk has lost. What it commits after them must be durable.
#[test]
fn c6_a_commit_after_a_failed_sync_is_durable() {
    let (directory, options) = (directory(), small_caches().durability(Durability::PowerLossDurable));
    let options = options.wal_autocheckpoint_bytes(16 << 20);
    let disk = Disk::mount(directory.path()).expect("it is there");
    let open = || {
        let builder = DIRECT.apply_to(ShapeMeta::builder(NoopCleaner).sqlite(options.clone()));
        builder.open(directory.path()).expect("nothing fails")
    };
    let store = open();
    for number in 1..=3 {
        store.add(shape(number), WAIT).expect("it is new");
        store.mark_snapshot_complete(&handle(number), WAIT).expect("it is live");
    }
    disk.fail(Op::Sync, When::Next, Failure::Io);
    store.add(shape(4), WAIT).expect_err("its sync fails");
    disk.lose_open_files();
    drop(store);
    let store = open();
    store.add(shape(5), WAIT).expect("it is new");
    disk.power_off();
    for cut in cuts(&mut Rng::with_seed(1)) {
        let image = directory_of(&disk, cut);
        let view = recovered(image.path(), false, &format!("{cut:?}")).expect("it is undamaged");
        for number in [1, 2, 3, 5] {
            assert!(view.get(&handle(number)).is_some(), "C6: {cut:?}: shape {number} is lost: {view:#?}");
        }
    }
}

/// Exclusive locking ends a journal by overwriting its header. If that is not synced, the journal is back
/// after a power loss, and must not be mixed with the journal of the next transaction.
#[test]
fn c6_a_journal_whose_end_is_lost_is_not_overwritten() {
    let options = small_caches().durability(Durability::PowerLossDurable).mode(Mode::Exclusive);
    // The power fails at each of the changes after the failed sync.
    for after in 1.. {
        let directory = directory();
        let disk = Disk::mount(directory.path()).expect("it is there");
        let builder = DIRECT.apply_to(ShapeMeta::builder(NoopCleaner).sqlite(options.clone()));
        let store = builder.open(directory.path()).expect("nothing fails");
        store.add(shape(1), WAIT).expect("it is new");
        let before = disk.calls(Op::Sync);
        store.add(shape(2), WAIT).expect("it is new");
        disk.fail(Op::Sync, When::Nth(disk.calls(Op::Sync) - before), Failure::Io);
        store.add(shape(3), WAIT).expect_err("the end of its journal is not synced");
        disk.power_off_at(disk.changes() + after);
        let added = store.add(shape(4), WAIT);
        disk.power_off();
        let cuts = (0..12).map(Cut::Torn).chain([Cut::Synced, Cut::Everything]);
        for cut in cuts {
            let image = directory_of(&disk, cut);
            let view = recovered(image.path(), false, &format!("off at {after}, {cut:?}"));
            let view = view.expect("it is undamaged");
            for number in 1..=if added.is_ok() { 4 } else { 2 } {
                assert!(number == 3 || view.get(&handle(number)).is_some(), "C6: {cut:?}: {view:#?}");
            }
        }
        if added.is_ok() {
            break;
        }
    }
}

/// After a commit that failed the connection cannot be used, so an open that has met one fails as a whole.
#[test]
fn c6_an_open_with_a_failed_sync_fails() {
    for mode in [Mode::Wal, Mode::Exclusive] {
        // No commit is followed by a checkpoint, whose failure would fail no commit.
        let options = small_caches().mode(mode).wal_autocheckpoint_bytes(16 << 20);
        let open = |directory: &TempDir| {
            let builder = DIRECT.apply_to(ShapeMeta::builder(NoopCleaner).sqlite(options.clone()));
            builder.open(directory.path())
        };
        for is_new in [true, false] {
            for sync in 1.. {
                let directory = directory();
                let disk = Disk::mount(directory.path()).expect("it is there");
                if !is_new {
                    let store = open(&directory).expect("nothing fails");
                    for number in 1..=3 {
                        store.add(shape(number), WAIT).expect("it is new");
                    }
                }
                let before = disk.calls(Op::Sync);
                disk.fail(Op::Sync, When::Nth(sync), Failure::Io);
                let opened = open(&directory);
                if disk.failed() == 0 {
                    assert!(disk.calls(Op::Sync) - before < sync);
                    break;
                }
                assert!(opened.is_err(), "C6: {mode:?}, new {is_new}: sync {sync} failed unnoticed");
            }
        }
    }
}

/// Deletes the data of every shape that it is handed, and remembers which.
#[derive(Clone, Default)]
struct Deleting(Arc<Mutex<Vec<Handle>>>);

impl ShapeCleaner for Deleting {
    fn clean(&self, handles: &[Handle]) -> Result<(), BoxError> {
        self.0.lock().expect("no panic").extend_from_slice(handles);
        Ok(())
    }
}

/// Once, the commit that was to sync the removals wrote nothing, and the shape was back without its data.
#[test]
fn c12_a_power_cut_brings_back_no_shape_without_its_data() {
    for composition in [DIRECT, PRODUCT] {
        // A handle of a flush that is not published yet is not free, and a cleaner leaves it.
        let composition = composition.with_flush_schedule(FlushSchedule::Manual);
        let options = small_caches().durability(Durability::PowerLossConsistent);
        let (directory, cleaner) = (directory(), Deleting::default());
        let disk = Disk::mount(directory.path()).expect("it is there");
        let builder = ShapeMeta::builder(cleaner.clone()).sqlite(options).background_cleanup(false);
        let store = composition.apply_to(builder).open(directory.path()).expect("nothing fails");
        store.add(shape(1), WAIT).expect("it is new");
        store.mark_snapshot_complete(&handle(1), WAIT).expect("it is live");
        store.flush(TIMEOUT).expect("the disk works");
        store.database().expect("SQLite").close_idle();
        store.remove(&handle(1), WAIT).expect("it is live");
        store.flush(TIMEOUT).expect("the disk works");
        while store.clean_once().expect("the disk works") {}
        assert_eq!(*cleaner.0.lock().expect("no panic"), [handle(1)]);
        disk.power_off();
        for cut in cuts(&mut Rng::with_seed(1)) {
            let image = directory_of(&disk, cut);
            let view = recovered(image.path(), false, &format!("{cut:?}")).expect("it is undamaged");
            assert!(view.get(&handle(1)).is_none(), "C12: {composition:?}, {cut:?}: it is back: {view:#?}");
        }
    }
}

fn directory_of(disk: &Disk, cut: Cut) -> TempDir {
    let image = directory();
    disk.image(image.path(), cut).expect("it can be written");
    image
}
