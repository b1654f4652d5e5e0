//! A disk without room: of the faulty kind, a real one, and a limit on the size of files.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use shape_meta::{
    BufferOptions, CacheOptions, ErrorKind, HealthState, MutateError, MutateShapesExt, NewShape, NoopCleaner,
    ReadShapes, ReadShapesExt, Refusal, ShapeMeta, SqliteOptions, StoreControl, Wait,
};
use shape_meta_core::conformance::{handle, shape};
use shape_meta_faults::{Disk, VFS};

use super::honest::{failing, nothing_was_moved_aside};
use shape_meta_harness::compositions::{PATIENT, directory, sqlite};

/// How many shapes may be pending.
const BOUND: usize = 60;

fn large(number: u64) -> NewShape {
    NewShape { definition: vec![7; 8_000].into(), ..shape(number) }
}

fn open(directory: &Path, options: SqliteOptions) -> ShapeMeta {
    ShapeMeta::builder(NoopCleaner)
        .sqlite(options)
        .cached(CacheOptions::default())
        .buffered(BufferOptions::default().max_pending_shapes(BOUND).background_flush(false))
        .open(directory)
        .expect("there is room for an empty database")
}

/// Adds until the bound is reached, because nothing can be written any more; gives back how many are there.
fn fill(store: &ShapeMeta) -> u64 {
    let mut added = 0;
    loop {
        match store.add(large(added), Wait::No) {
            Ok(_) => added += 1,
            Err(MutateError::Refused(Refusal::Overloaded { .. })) if store.flush(PATIENT).is_err() => {
                return added;
            }
            Err(MutateError::Refused(Refusal::Overloaded { .. })) => {}
            Err(other) => panic!("{other:?}"),
        }
        assert!(added < 100_000, "there is always room");
        if added % 20 == 0 {
            // It may fail from here on.
            let _ = store.flush(PATIENT);
        }
    }
}

/// C7 and C9 while there is no room: the bound holds, health says why, reads go on.
fn is_full(store: &ShapeMeta, added: u64, kind: ErrorKind) {
    assert_eq!(failing(store).kind(), kind);
    assert_eq!(store.pending().shapes, BOUND, "C7: all that may be pending is");
    assert!(matches!(
        store.add(large(added), Wait::No),
        Err(MutateError::Refused(Refusal::Overloaded { .. }))
    ));
    assert_eq!(store.counts().expect("reads go on").total, added);
    assert!((0..added).all(|number| store.has_handle(&handle(number)).expect("reads go on")));
}

/// And when there is room again.
fn goes_on(store: ShapeMeta, added: u64, directory: &Path) {
    store.flush(PATIENT).expect("there is room again");
    assert!(matches!(store.health().state, HealthState::Ready));
    store.add(large(added), Wait::No).expect("and here too");
    assert!(store.close(PATIENT).is_complete());
    drop(store);
    nothing_was_moved_aside(directory);
    assert_eq!(shape_meta_harness::rows::Rows::of(directory).count("shape") as u64, added + 1);
}

#[test]
fn c7_c9_a_full_disk_bounds_what_is_pending_and_is_ridden_out() {
    let directory = directory();
    let disk = Disk::over(directory.path()).expect("it is there");
    let store = open(directory.path(), sqlite().vfs(VFS));
    disk.leave_room(300_000);
    let added = fill(&store);
    assert!(added > BOUND as u64);
    is_full(&store, added, ErrorKind::StorageFull);
    disk.leave_room(10_000_000);
    goes_on(store, added, directory.path());
}

/// A file system of two megabytes. Unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "shape-meta-test"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }

    fn remount(&self, options: &str) {
        let remounted =
            Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(remounted.expect("it could be mounted").success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Whatever is left goes with the machine.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn c7_c9_a_real_full_disk_bounds_what_is_pending_and_is_ridden_out() {
    let directory = directory();
    let Some(small) = Small::mount(directory.path()) else {
        eprintln!("SKIPPED: nothing may be mounted here; a limit on the size of files is tested instead");
        return;
    };
    let store = open(directory.path(), sqlite());
    let added = fill(&store);
    is_full(&store, added, ErrorKind::StorageFull);
    small.remount("size=64m");
    goes_on(store, added, directory.path());
}

#[test]
#[cfg(target_os = "linux")]
fn c9_c11_a_file_system_that_is_mounted_read_only_is_told_and_nothing_changes() {
    let directory = directory();
    let Some(small) = Small::mount(directory.path()) else {
        eprintln!("SKIPPED: nothing may be mounted here");
        return;
    };
    let store = open(directory.path(), sqlite());
    store.add(shape(1), Wait::No).expect("it is new");
    store.mark_snapshot_complete(&handle(1), Wait::No).expect("it is live");
    assert!(store.close(PATIENT).is_complete());
    drop(store);
    small.remount("ro");
    let builder = ShapeMeta::builder(NoopCleaner).sqlite(sqlite()).cached(CacheOptions::default());
    let error = builder.open(directory.path()).expect_err("it must not be written");
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error:?}");
    nothing_was_moved_aside(directory.path());
    small.remount("rw");
    let store = open(directory.path(), sqlite());
    assert_eq!(store.counts().expect("it reads").total, 1);
}

const LIMITED: &str = "SHAPE_META_LIMITED_DIRECTORY";

/// A process whose files must not grow beyond a limit: what it had flushed is there for the next one.
#[test]
#[cfg(unix)]
fn c7_c9_a_limit_on_the_size_of_files_bounds_what_is_pending_and_loses_nothing() {
    let directory = directory();
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1000; exec \"$0\" faults::full::limited --exact --ignored"])
        .arg(env::current_exe().expect("a test has a file"))
        .env(LIMITED, directory.path())
        .stdout(Stdio::null())
        .status()
        .expect("a test can be run again");
    assert!(status.success(), "{status}");
    nothing_was_moved_aside(directory.path());
    let flushed = shape_meta_harness::rows::Rows::of(directory.path()).count("shape");
    assert!(flushed > 0, "what had room is there");
}

#[test]
#[ignore = "the child of the test of a limit; by itself it does nothing"]
fn limited() {
    let Some(directory) = env::var_os(LIMITED) else { return };
    let store = open(Path::new(&directory), sqlite());
    let added = fill(&store);
    is_full(&store, added, failing(&store).kind());
    let before = store.counts().expect("reads go on").total - store.pending().shapes as u64;
    let report = store.close(std::time::Duration::from_millis(10));
    assert_eq!((report.is_complete(), report.lost.len()), (false, BOUND), "C10: {report:?}");
    assert_eq!(shape_meta_harness::rows::Rows::of(Path::new(&directory)).count("shape") as u64, before);
}
