//! A disk without free space: the disk with faults, a real file system, and a limit on file sizes.

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

use super::assertions::{assert_nothing_quarantined, retry_error};
use shape_meta_harness::compositions::{TIMEOUT, directory, sqlite};

/// The bound on pending shapes.
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
        .expect("an empty database fits")
}

/// Adds until the bound is reached because writing fails, and returns the number of added shapes.
fn fill(store: &ShapeMeta) -> u64 {
    let mut added = 0;
    loop {
        match store.add(large(added), Wait::No) {
            Ok(_) => added += 1,
            Err(MutateError::Refused(Refusal::Overloaded { .. })) if store.flush(TIMEOUT).is_err() => {
                return added;
            }
            Err(MutateError::Refused(Refusal::Overloaded { .. })) => {}
            Err(other) => panic!("{other:?}"),
        }
        assert!(added < 100_000, "writing never fails");
        if added % 20 == 0 {
            // This fails once the disk is full.
            let _ = store.flush(TIMEOUT);
        }
    }
}

/// C7 and C9 while the disk is full: the bound holds, health reports the reason, and reads are served.
fn assert_full(store: &ShapeMeta, added: u64, kind: ErrorKind) {
    assert_eq!(retry_error(store).kind(), kind, "{:?}", retry_error(store));
    assert_eq!(store.pending().shapes, BOUND, "C7: the bound is reached");
    assert!(matches!(
        store.add(large(added), Wait::No),
        Err(MutateError::Refused(Refusal::Overloaded { .. }))
    ));
    assert_eq!(store.counts().expect("reads are served").total, added);
    assert!((0..added).all(|number| store.has_handle(&handle(number)).expect("reads are served")));
}

/// Checks that writing resumes when there is space again.
fn assert_recovers(store: ShapeMeta, added: u64, directory: &Path) {
    store.flush(TIMEOUT).expect("there is space again");
    assert!(matches!(store.health().state, HealthState::Ready));
    store.add(large(added), Wait::No).expect("there is capacity again");
    assert!(store.close(TIMEOUT).is_complete());
    drop(store);
    assert_nothing_quarantined(directory);
    assert_eq!(shape_meta_harness::rows::Rows::of(directory).count("shape") as u64, added + 1);
}

#[test]
fn c7_c9_a_full_disk_bounds_pending_changes_until_it_has_space() {
    let directory = directory();
    let disk = Disk::mount(directory.path()).expect("it is there");
    let store = open(directory.path(), sqlite().vfs(VFS));
    disk.limit_free_space(300_000);
    let added = fill(&store);
    assert!(added > BOUND as u64);
    assert_full(&store, added, ErrorKind::StorageFull);
    disk.limit_free_space(10_000_000);
    assert_recovers(store, added, directory.path());
}

/// A file system of 2 MB, which is unmounted when this is dropped.
struct SmallFileSystem(PathBuf);

impl SmallFileSystem {
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

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        // If this fails, the mount ends with the machine.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn c7_c9_a_real_full_disk_bounds_pending_changes_until_it_has_space() {
    let directory = directory();
    let Some(small) = SmallFileSystem::mount(directory.path()) else {
        eprintln!("SKIPPED: mounting is not permitted; the limit on file sizes is tested instead");
        return;
    };
    let store = open(directory.path(), sqlite());
    let added = fill(&store);
    assert_full(&store, added, ErrorKind::StorageFull);
    small.remount("size=64m");
    assert_recovers(store, added, directory.path());
}

#[test]
#[cfg(target_os = "linux")]
fn c9_c11_a_read_only_mount_is_reported_and_nothing_changes() {
    let directory = directory();
    let Some(small) = SmallFileSystem::mount(directory.path()) else {
        eprintln!("SKIPPED: mounting is not permitted");
        return;
    };
    let store = open(directory.path(), sqlite());
    store.add(shape(1), Wait::No).expect("it is new");
    store.mark_snapshot_complete(&handle(1), Wait::No).expect("it is live");
    assert!(store.close(TIMEOUT).is_complete());
    drop(store);
    small.remount("ro");
    let builder = ShapeMeta::builder(NoopCleaner).sqlite(sqlite()).cached(CacheOptions::default());
    let error = builder.open(directory.path()).expect_err("the file system is read-only");
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error:?}");
    assert_nothing_quarantined(directory.path());
    small.remount("rw");
    let store = open(directory.path(), sqlite());
    assert_eq!(store.counts().expect("it reads").total, 1);
}

const LIMITED: &str = "SHAPE_META_LIMITED_DIRECTORY";

/// In a process with a limit on file sizes, everything that was flushed is kept for the next process.
#[test]
#[cfg(unix)]
fn c7_c9_a_limit_on_file_sizes_bounds_pending_and_loses_nothing() {
    let directory = directory();
    let status = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 1000; exec \"$0\" faults::disk_full::limited --exact --ignored",
        ])
        .arg(env::current_exe().expect("a test has a file"))
        .env(LIMITED, directory.path())
        .stdout(Stdio::null())
        .status()
        .expect("a test can be run again");
    assert!(status.success(), "{status}");
    assert_nothing_quarantined(directory.path());
    let flushed = shape_meta_harness::rows::Rows::of(directory.path()).count("shape");
    assert!(flushed > 0, "the changes that fitted are kept");
}

#[test]
#[ignore = "the child process of the test above; it does nothing on its own"]
fn limited() {
    let Some(directory) = env::var_os(LIMITED) else { return };
    let store = open(Path::new(&directory), sqlite());
    let added = fill(&store);
    assert_full(&store, added, retry_error(&store).kind());
    let before = store.counts().expect("reads are served").total - store.pending().shapes as u64;
    let report = store.close(std::time::Duration::from_millis(10));
    assert_eq!((report.is_complete(), report.lost.len()), (false, BOUND), "C10: {report:?}");
    assert_eq!(shape_meta_harness::rows::Rows::of(Path::new(&directory)).count("shape") as u64, before);
}
