//! The power goes at one of the calls that change the disk, each in its turn. What is left must be what the
//! table of [`Durability`] promises.

use std::{fs, path::Path, sync::Arc};

use fastrand::Rng;
use shape_meta::{
    Durability, ErrorKind, Inspector, Limits, Mode, MutateError, MutateShapes, MutateShapesExt, Mutation,
    NoopCleaner, NoopObserver, ReadShapes, ShapeMeta, SqliteOptions, SqliteStore, StoreControl, Timestamp,
};
use shape_meta_core::{
    Direct, MemoryStore, ShapeStore,
    conformance::{View, handle, shape},
};
use shape_meta_faults::{Cut, Disk, Failure, Op, When};
use tempfile::TempDir;

use super::{
    honest::{failing, honest},
    life::{mutation, small, sound, timeless},
};
use shape_meta_harness::compositions::{
    Composition, DIRECT, Flushing, PATIENT, PRODUCT, WAIT, directory, sqlite,
};

/// How many moments of a life are tried, spread over all of it.
const MOMENTS: u64 = 12;

/// What was acknowledged before the lights went out.
struct Told {
    /// Every state that there was, in order.
    history: Vec<View>,
    /// All up to this one was said to be durable.
    durable: usize,
}

impl Told {
    fn is(&mut self, model: &Direct<MemoryStore>) {
        self.history.push(timeless(View::of(model)));
    }

    /// It was not acknowledged, and may be there all the same.
    fn may_be(&mut self, model: &Direct<MemoryStore>, mutation: &Mutation) {
        let _ = model.try_mutate(mutation);
        self.is(model);
    }

    fn is_durable(&mut self) {
        self.durable = self.history.len() - 1;
    }
}

/// Works until the power goes or the script is over. A fault of the disk before that is ridden out.
fn until_dark(composition: Composition, options: &SqliteOptions, disk: &Disk, directory: &Path) -> Told {
    let composition = composition.flushing(Flushing::Stepped);
    let mut random = Rng::with_seed(7);
    let model = Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver)).expect("memory");
    let mut told = Told { history: vec![timeless(View::of(&model))], durable: 0 };
    for generation in 1..=3 {
        model.inner().reopen(Timestamp::from_micros(generation));
        told.is(&model);
        let builder = || composition.stacked_by(ShapeMeta::builder(NoopCleaner).sqlite(options.clone()));
        let Some(store) = again(disk, || builder().open(directory)) else { return told };
        told.is_durable();
        for _ in 0..3 {
            for _ in 0..6 {
                if !mutate(composition, &store, &model, &mutation(&mut random), disk, &mut told) {
                    return told;
                }
            }
            let flushed = again(disk, || store.flush(PATIENT).map_err(|_| failing(&store)));
            if flushed.is_none() {
                return told;
            }
            told.is_durable();
        }
        let _ = store.database().expect("it has one").maintain();
        if !store.close(PATIENT).is_complete() {
            return told;
        }
    }
    told
}

/// Does it again while the disk fails; nothing once it is dark.
fn again<T>(disk: &Disk, mut attempt: impl FnMut() -> shape_meta::Result<T>) -> Option<T> {
    for _ in 0..100 {
        match attempt() {
            Ok(value) => return Some(value),
            Err(_) if disk.is_off() => return None,
            Err(error) => honest(&error),
        }
    }
    panic!("the disk fails for ever");
}

/// One mutation, and what is told of it. Says whether there is light.
fn mutate(
    composition: Composition,
    store: &ShapeMeta,
    model: &Direct<MemoryStore>,
    mutation: &Mutation,
    disk: &Disk,
    told: &mut Told,
) -> bool {
    let before = model.last_seq().expect("memory");
    loop {
        match store.try_mutate(mutation) {
            Err(MutateError::Failed(_)) if disk.is_off() => {
                told.may_be(model, mutation);
                return false;
            }
            Err(MutateError::Failed(error)) => {
                honest(&error);
                if composition.buffer.is_some() {
                    continue;
                }
                let Some(last) = again(disk, || store.last_seq()) else {
                    // It went out while that was asked.
                    told.may_be(model, mutation);
                    return false;
                };
                if last == before {
                    continue;
                }
                // It is there, although it failed. Who asks for the same finds it, and may be told that
                // it is durable.
                model.try_mutate(mutation).expect("it was accepted below");
                told.is(model);
                if let Mutation::Add(shape) = mutation
                    && let Some(found) = store.try_get_or_add(shape).ok()
                {
                    assert!(!found.added);
                    if found.receipt.is_durable() {
                        told.is_durable();
                    }
                }
                return !disk.is_off();
            }
            outcome => {
                assert_eq!(outcome.is_ok(), model.try_mutate(mutation).is_ok(), "C5: {mutation:?}");
                told.is(model);
                if outcome.is_ok_and(|receipt| receipt.is_durable()) {
                    told.is_durable();
                }
                return true;
            }
        }
    }
}

/// What an image holds, before anybody recovers it. `None` if it was damaged, which may be.
fn left(image: &Path, may_be_damaged: bool) -> Option<View> {
    let before = fs::read_dir(image).expect("it is there").count();
    let store = match SqliteStore::open(image, sqlite(), Arc::new(NoopObserver)) {
        Ok(store) if store.report().quarantined.is_none() => store,
        other => {
            assert!(may_be_damaged, "C6: a power cut damaged the database: {other:?}");
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
        sound(image);
    }
    Some(view)
}

/// Damage that is not found when a database is opened is found when it is read, and told.
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

/// Pages that are whole each, and of different moments, are found by verifying alone.
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

/// A page that is not there any more reads like a disk that fails.
fn is_damage(error: &shape_meta::Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Io)
}

/// Compares what is left with what was told. Says whether the image was whole.
#[track_caller]
fn promised(durability: Durability, mode: Mode, cut: Cut, disk: &Disk, told: &Told, at: &str) -> bool {
    let image = directory_of(disk, cut);
    // The first column of the table is a cut that keeps everything: the process is killed, the power stays.
    let (loses, damages) = match (cut, durability) {
        (Cut::Everything, _) | (_, Durability::PowerLossDurable) => (false, false),
        (_, Durability::PowerLossConsistent) => (mode == Mode::Wal, false),
        (_, Durability::ProcessCrash) => (true, true),
    };
    let Some(view) = left(image.path(), damages) else { return false };
    let least = if loses { 0 } else { told.durable };
    let found = told.history.iter().rposition(|state| *state == view);
    assert!(damages || found.is_some(), "C6: {at}, {cut:?}: no state that there ever was: {view:#?}");
    assert!(
        found.is_none_or(|found| found >= least),
        "C6: {at}, {cut:?}: state {found:?}, but {least} was durable of {}: {view:#?}",
        told.history.len()
    );
    found.is_some()
}

fn cuts(random: &mut Rng) -> [Cut; 5] {
    let mut seed = || random.u64(..);
    [Cut::Synced, Cut::Everything, Cut::Prefix(seed()), Cut::Any(seed()), Cut::Torn(seed())]
}

fn keeps_the_promise(composition: Composition, durability: Durability, mode: Mode) {
    let options = small().durability(durability).mode(mode);
    let seed = fastrand::u64(..);
    let mut random = Rng::with_seed(seed);
    let changes = {
        let directory = directory();
        let disk = Disk::over(directory.path()).expect("it is there");
        until_dark(composition, &options, &disk, directory.path());
        disk.changes()
    };
    let mut images = [0; 2];
    let step = changes.div_ceil(MOMENTS);
    for change in (random.u64(1..=step)..=changes).step_by(step as usize) {
        let directory = directory();
        let disk = Disk::over(directory.path()).expect("it is there");
        disk.power_off_at(change);
        let told = until_dark(composition, &options, &disk, directory.path());
        let at = format!("seed {seed}, change {change} of {changes}");
        for cut in cuts(&mut random) {
            images[usize::from(promised(durability, mode, cut, &disk, &told, &at))] += 1;
        }
    }
    eprintln!(
        "{durability:?} {mode:?} {composition:?}: {changes} changes, {images:?} images damaged and whole"
    );
}

/// A sync fails, and what it was for is lost although later syncs succeed; and then the power goes.
fn keeps_the_promise_after_a_failed_sync(composition: Composition, mode: Mode) {
    let options = small().durability(Durability::PowerLossDurable).mode(mode);
    let seed = fastrand::u64(..);
    let mut random = Rng::with_seed(seed);
    let (changes, syncs) = {
        let directory = directory();
        let disk = Disk::over(directory.path()).expect("it is there");
        until_dark(composition, &options, &disk, directory.path());
        (disk.changes(), disk.calls(Op::Sync))
    };
    let step = syncs.div_ceil(MOMENTS);
    for sync in (random.u64(1..=step)..=syncs).step_by(step as usize) {
        for _ in 0..2 {
            let directory = directory();
            let disk = Disk::over(directory.path()).expect("it is there");
            disk.fail(Op::Sync, When::Nth(sync), Failure::Io);
            // Somewhere after the sync, and soon.
            let off = random.u64(1..=changes + 10);
            disk.power_off_at(off);
            let told = until_dark(composition, &options, &disk, directory.path());
            disk.power_off();
            let at = format!("seed {seed}, sync {sync} of {syncs} failed, off at {off} of {changes}");
            for cut in cuts(&mut random) {
                promised(Durability::PowerLossDurable, mode, cut, &disk, &told, &at);
            }
        }
    }
}

macro_rules! each {
    ($($name:ident: $composition:ident, $durability:ident, $mode:ident;)*) => {
        $(
            #[test]
            fn $name() {
                keeps_the_promise($composition, Durability::$durability, Mode::$mode);
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
    c6_only_the_process: PRODUCT, ProcessCrash, Wal;
    c6_only_the_process_in_exclusive_mode: PRODUCT, ProcessCrash, Exclusive;
}

#[test]
fn c6_durable_after_a_failed_sync() {
    keeps_the_promise_after_a_failed_sync(PRODUCT, Mode::Wal);
}

#[test]
fn c6_durable_after_a_failed_sync_in_exclusive_mode() {
    keeps_the_promise_after_a_failed_sync(PRODUCT, Mode::Exclusive);
}

#[test]
fn c6_durable_after_a_failed_sync_directly() {
    keeps_the_promise_after_a_failed_sync(DIRECT, Mode::Wal);
}

#[test]
fn c6_durable_after_a_failed_sync_directly_in_exclusive_mode() {
    keeps_the_promise_after_a_failed_sync(DIRECT, Mode::Exclusive);
}

/// A sync of the log fails, and the process dies before it can make sure of the log. The next owner sees in
/// memory what the disk has lost; what it commits behind that must not be lost with it.
#[test]
fn c6_what_is_committed_behind_a_failed_sync_is_durable() {
    let (directory, options) = (directory(), small().durability(Durability::PowerLossDurable));
    let options = options.wal_autocheckpoint_bytes(16 << 20);
    let disk = Disk::over(directory.path()).expect("it is there");
    let open = || {
        let builder = DIRECT.stacked_by(ShapeMeta::builder(NoopCleaner).sqlite(options.clone()));
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
        let view = left(image.path(), false).expect("it is whole");
        for number in [1, 2, 3, 5] {
            assert!(view.get(&handle(number)).is_some(), "C6: {cut:?}: {number} is lost: {view:#?}");
        }
    }
}

fn directory_of(disk: &Disk, cut: Cut) -> TempDir {
    let image = directory();
    disk.image(image.path(), cut).expect("it can be written");
    image
}
