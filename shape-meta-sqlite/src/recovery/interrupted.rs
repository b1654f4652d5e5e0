//! Repairs whose file operations fail, or after which the process ends.

use std::{fs, io, ops::RangeInclusive, path::Path, sync::Arc};

use shape_meta_core::{
    Batch, Change, NoopObserver, ReadShapes, Record, Seq, ShapeStore, ShapeStoreExt, SnapshotState,
    TrustedState, conformance,
};

use crate::{
    Durability, SqliteOptions, SqliteStore,
    format::files::{COMPANIONS, FailingFiles, Files},
};

const SHAPES: u64 = 100;

fn record(number: u64) -> Arc<Record> {
    Arc::new(conformance::shape(number).record(Seq::new(number)))
}

fn files(directory: &Path) -> Files {
    Files::new(directory).expect("an absolute path")
}

fn open(directory: &Path) -> shape_meta_core::Result<SqliteStore> {
    let options = SqliteOptions::default().durability(Durability::ProcessCrash).page_size(1024);
    SqliteStore::open(directory, options, Arc::new(NoopObserver))
}

/// Returns a directory with the files that a crash left: a database with a damaged page and half of the
/// shapes, and a WAL with the other half.
fn crashed() -> tempfile::TempDir {
    let [directory, crashed] = [(); 2].map(|()| tempfile::tempdir().expect("a temporary directory"));
    let store = open(directory.path()).expect("the store opens");
    fill(&store, 1..=SHAPES / 2);
    store.close().expect("closes");
    let store = open(directory.path()).expect("the store opens");
    fill(&store, SHAPES / 2 + 1..=SHAPES);
    let [from, to] = [&directory, &crashed].map(|directory| files(directory.path()));
    for suffix in ["", "-wal", "-shm"] {
        fs::copy(from.companion(suffix), to.companion(suffix)).expect("copies");
    }
    assert!(fs::metadata(to.companion("-wal")).expect("exists").len() > 10_000, "the WAL has rows");
    let mut bytes = fs::read(to.database()).expect("reads");
    // The root page of `trusted_storage`, which the WAL does not have.
    bytes[4 * 1024] ^= 0xff;
    fs::write(to.database(), bytes).expect("writes");
    crashed
}

fn fill(store: &SqliteStore, numbers: RangeInclusive<u64>) {
    let through = Seq::new(*numbers.end());
    let state = SnapshotState::Complete;
    let changes = numbers.map(|number| Change::Add { record: record(number), state }).collect();
    store.apply(&Batch { changes, through }).expect("the batch applies");
}

/// Every file in the directory, by content: what was damaged is kept byte for byte.
fn contents(directory: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(directory).expect("reads").map(|entry| entry.expect("reads").path());
    entries.map(|path| fs::read(path).expect("reads")).collect()
}

fn assert_all_there(directory: &Path, kept: &[Vec<u8>], context: &str) {
    let store = open(directory).unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let live = store.scan().expect("scans").filter(Result::is_ok).count();
    assert_eq!(live as u64, SHAPES, "{context}");
    store.close().expect("closes");
    let now = contents(directory);
    for bytes in kept {
        assert!(now.contains(bytes), "{context}: {} bytes are lost", bytes.len());
    }
    let files = files(directory);
    for suffix in COMPANIONS.into_iter().chain(["-salvaging", "-salvaged"]) {
        assert!(!files.companion(suffix).exists(), "{context}: {suffix} is left");
    }
}

/// The damaged bytes of a database and its WAL. The index of the WAL is not kept: SQLite makes a new one.
fn damaged(directory: &Path) -> Vec<Vec<u8>> {
    let files = files(directory);
    ["", "-wal"].map(|suffix| fs::read(files.companion(suffix)).expect("reads")).into()
}

const ERRORS: [io::ErrorKind; 3] =
    [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied, io::ErrorKind::CrossesDevices];

/// Each file operation of a repair fails once, and all later ones succeed; or it is the last one, as if the
/// process had been killed. In both cases the next open loses nothing.
#[test]
fn c11_a_repair_that_fails_at_any_step_loses_nothing() {
    for error in ERRORS {
        for failures in [1, u32::MAX] {
            for after in 0.. {
                let crashed = crashed();
                let kept = damaged(crashed.path());
                let context = format!("{error:?} {failures} times after {after}");
                let (opened, failed) =
                    FailingFiles { after, failures, error }.during(|| open(crashed.path()));
                assert_eq!(opened.is_err(), failed, "{context}: no failure is ignored");
                if let Err(error) = &opened {
                    assert_ne!(error.kind(), shape_meta_core::ErrorKind::Corrupt, "{context}");
                }
                drop(opened);
                if failed && failures == 1 {
                    let partial = files(crashed.path()).salvaging();
                    for suffix in COMPANIONS.into_iter().chain([""]) {
                        let left = crate::format::files::with_suffix(&partial, suffix);
                        assert!(!left.exists(), "{context}: {} is left", left.display());
                    }
                }
                assert_all_there(crashed.path(), &kept, &context);
                if !failed {
                    assert!(after >= 4, "a repair has at least four steps: {after}");
                    break;
                }
            }
        }
    }
}

/// A repair of a live store fails at any step. The next one still finds all rows, and none is lost.
#[test]
fn c11_a_second_live_repair_finds_what_the_first_moved() {
    for failures in [1, u32::MAX] {
        for after in 0.. {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let store = open(directory.path()).expect("opens");
            fill(&store, 1..=SHAPES);
            let failing = FailingFiles { after, failures, error: io::ErrorKind::NotFound };
            let (repaired, failed) = failing.during(|| store.rebuild_from(TrustedState::default()));
            assert_eq!(repaired.is_err(), failed, "{after}");
            let repaired = store.rebuild_from(TrustedState::default()).expect("the disk works again");
            assert_eq!((repaired.saved, repaired.missing()), (SHAPES, 0), "{failures} after {after}");
            assert_eq!(store.scan().expect("scans").count() as u64, SHAPES);
            if !failed {
                break;
            }
        }
    }
}
