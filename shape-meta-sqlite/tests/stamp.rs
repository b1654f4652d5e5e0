//! The stamp of the application: a database with another one is kept, refused, emptied or re-keyed.

use std::{
    convert::Infallible,
    env, fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use shape_meta_core::{
    Definition, Error, ErrorKind, Key, OnOtherStamp, ReadShapes, Record, Rekey, Relation, ScanItem, Seq,
    ShapeStoreExt, SnapshotState, Stamp, StampCheck, StampOutcome, Timestamp,
    conformance::{self, SecondVersion},
};
use shape_meta_sqlite::{DiskIndexes, Inspector, SqliteOptions, SqliteStandby, SqliteStore};

use crate::support;

fn check(version: u64, reaction: OnOtherStamp) -> StampCheck {
    StampCheck::new(Stamp::new(version, "main")).on_other_version(reaction)
}

fn stamped(version: u64, reaction: OnOtherStamp) -> SqliteOptions {
    support::options().stamp(check(version, reaction))
}

fn outcome(store: &SqliteStore) -> StampOutcome {
    store.report().stamp.clone()
}

/// Creates a database of version 1 with these complete shapes.
fn filled(shapes: u64) -> tempfile::TempDir {
    let directory = support::directory();
    let store = support::open(directory.path(), stamped(1, OnOtherStamp::Refuse));
    assert_eq!(outcome(&store), StampOutcome::Recorded);
    support::fill(&store, 1..=shapes);
    store.close().expect("closes");
    directory
}

fn keys(store: &SqliteStore) -> Vec<Key> {
    let scan = store.scan().expect("the scan opens");
    scan.map(|item| *item.expect("reads").record.key()).collect()
}

#[test]
fn c4_a_database_with_another_stamp_is_refused_and_keeps_its_shapes() {
    let directory = filled(5);
    let path = directory.path().join("shape-meta.sqlite3");
    let before = fs::read(&path).expect("reads");
    let error = support::open_error(directory.path(), stamped(2, OnOtherStamp::Refuse));
    assert_eq!(error.kind(), ErrorKind::OtherStamp);
    insta::assert_snapshot!(error.to_string());
    let other_source = StampCheck::new(Stamp::new(1, "other")).on_other_version(OnOtherStamp::Keep);
    let error = support::open_error(directory.path(), support::options().stamp(other_source));
    assert_eq!(error.kind(), ErrorKind::OtherStamp);
    assert!(fs::read(&path).expect("reads") == before, "no byte changes");
    // The same stamp, and no stamp, open it.
    for options in [stamped(1, OnOtherStamp::Refuse), support::options()] {
        let store = support::open(directory.path(), options);
        assert_eq!(outcome(&store), StampOutcome::Unchanged);
        assert_eq!(support::live(&store), [1, 2, 3, 4, 5]);
    }
}

#[test]
fn a_kept_database_gets_the_new_stamp() {
    let directory = filled(5);
    let store = support::open(directory.path(), stamped(2, OnOtherStamp::Keep));
    assert_eq!(outcome(&store), StampOutcome::Kept { found: Stamp::new(1, "main") });
    assert_eq!(support::live(&store).len(), 5);
    drop(store);
    let store = support::open(directory.path(), stamped(2, OnOtherStamp::Refuse));
    assert_eq!(outcome(&store), StampOutcome::Unchanged);
    drop(store);
    let summary = Inspector::open(directory.path()).and_then(|one| one.summary(1)).expect("reads");
    assert_eq!((summary.stamp, summary.rekeyed_to), (Some(Stamp::new(2, "main")), None));
}

#[test]
fn c12_the_shapes_of_another_stamp_are_handed_to_the_cleaner() {
    for disk_indexes in [DiskIndexes::Maintained, DiskIndexes::Omitted] {
        let directory = filled(5);
        let options = stamped(2, OnOtherStamp::RemoveAll).disk_indexes(disk_indexes);
        let standby = SqliteStandby::open(directory.path(), support::options(), support_observer());
        let standby = standby.expect("the standby opens");
        let store = support::open(directory.path(), options.clone());
        assert_eq!(outcome(&store), StampOutcome::RemovedAll { found: Stamp::new(1, "main"), removed: 5 });
        assert_eq!(store.report().counts.total, 0);
        assert_eq!(support::live(&store), [0; 0]);
        let handles: Vec<_> = (1..=5).map(conformance::handle).collect();
        assert_eq!(support::recovered_tasks(&store), handles);
        let delta = standby.changes_since(Seq::new(5)).expect("reads").expect("it is of the line");
        assert_eq!((delta.reset, delta.counts.total), (Some(Seq::new(5)), 0));
        drop(store);
        assert_eq!(outcome(&support::open(directory.path(), options)), StampOutcome::Unchanged);
    }
}

fn support_observer() -> Arc<dyn shape_meta_core::Observer> {
    Arc::new(shape_meta_core::NoopObserver)
}

#[test]
fn c2_a_rekey_computes_anew_and_keeps_what_is_of_the_shape() {
    for disk_indexes in [DiskIndexes::Maintained, DiskIndexes::Omitted] {
        let directory = filled(9);
        let store = support::open(directory.path(), support::options().disk_indexes(disk_indexes));
        let read = Timestamp::from_micros(1_768_476_874_000_000);
        store.save_reads(&[(Seq::new(4), read)]).expect("saves");
        support::apply(&store, 10, [support::add(10, SnapshotState::Started)]);
        store.close().expect("closes");
        let standby = SqliteStandby::open(
            directory.path(),
            support::options().disk_indexes(disk_indexes),
            support_observer(),
        );
        let standby = standby.expect("the standby opens");

        // Number 3 is dropped, and number 7 gets the key of number 6.
        let rekey = Rekey::new(|found: &Stamp, record: &Record| {
            assert_eq!(found, &Stamp::new(1, "main"));
            let SecondVersion(number) = SecondVersion::of(record);
            Ok::<_, Infallible>((number != 3).then_some(SecondVersion(if number == 7 { 6 } else { number })))
        });
        let options = stamped(2, OnOtherStamp::Rekey(rekey)).disk_indexes(disk_indexes);
        let store = support::open(directory.path(), options);
        let found = Stamp::new(1, "main");
        assert_eq!(outcome(&store), StampOutcome::Rekeyed { found, rekeyed: 8, dropped: 1, merged: 1 });
        assert_eq!(store.report().last_seq, Seq::new(18));
        let kept = [1, 2, 4, 5, 6, 8, 9, 10];
        let scan: Vec<_> = store.scan().expect("opens").map(|item| item.expect("reads")).collect();
        assert_eq!(scan.len(), kept.len());
        for (item, number) in scan.iter().zip(kept) {
            let (entry, new) = (&item.record.entry, SecondVersion(number));
            assert_eq!(entry.handle(), &conformance::handle(number));
            assert_eq!(entry.created_at(), conformance::shape(number).created_at);
            let state = if number == 10 { SnapshotState::Started } else { SnapshotState::Complete };
            assert_eq!(entry.state(), state);
            assert_eq!((entry.key(), entry.hash()), (&new.key(), new.key().definition_hash()));
            assert_eq!((entry.relations(), entry.is_indexed()), (&new.relations()[..], true));
            assert_eq!(*item.record.definition, *new.encode());
            let last_read = item.metadata.last_read.expect("it counts as read when it was found first");
            assert_eq!(last_read == read, number == 4);
        }
        assert_eq!(store.report().counts.indexed, 8);
        if disk_indexes == DiskIndexes::Maintained {
            assert_eq!(
                store.handle_for(&SecondVersion(6).key()).expect("reads"),
                Some(conformance::handle(6))
            );
            assert_eq!(store.handle_for(&conformance::key(6)).expect("reads"), None);
            let relation = [Relation::new(100)];
            assert_eq!(store.handles_for_relations(&relation).expect("reads").len(), 2);
        }
        // A standby follows it as removals and adds.
        let delta = standby.changes_since(Seq::new(10)).expect("reads").expect("it is of the line");
        assert_eq!((delta.removed.len(), delta.added.len(), delta.counts.total), (10, 8, 8));
        store.recover().expect("the recovery succeeds");
        let tasks = store.cleanup_tasks(None, usize::MAX).expect("reads");
        let handles: Vec<_> = tasks.iter().map(|task| task.handle().clone()).collect();
        assert_eq!(handles, [3, 7, 10].map(conformance::handle), "live data is not handed over");
        store.close().expect("closes");
        let inspector = Inspector::open(directory.path()).expect("opens");
        inspector.verify(None, &mut |problem| panic!("{problem}")).expect("reads");
    }
}

/// Several transactions, each of which is interrupted once, by a re-key that fails.
#[test]
fn c6_an_interrupted_rekey_goes_on() {
    const SHAPES: u64 = 11_000;
    let whole = filled(SHAPES);
    let whole = support::open(whole.path(), stamped(2, SecondVersion::rekey()));
    let directory = filled(SHAPES);
    let (mut done, mut crashes) = (0, 0);
    for fails_at in [4_000, 3_000, 6_000] {
        let calls = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&calls);
        let failing = Rekey::new(move |_: &Stamp, record: &Record| {
            match counted.fetch_add(1, Ordering::Relaxed) == fails_at {
                true => Err("the power failed"),
                false => Ok(Some(SecondVersion::of(record))),
            }
        });
        let error = support::open_error(directory.path(), stamped(2, OnOtherStamp::Rekey(failing)));
        assert_eq!(error.kind(), ErrorKind::OtherStamp);
        crashes += 1;
        let summary = Inspector::open(directory.path()).and_then(|one| one.summary(1)).expect("reads");
        assert_eq!((summary.counts.total, summary.damaged_rows), (SHAPES, 0), "nothing is lost");
        let begun = fails_at > 5_000;
        assert_eq!(summary.rekeyed_to.is_some(), begun, "after {crashes} crashes");
        done += if begun { 5_000 } else { 0 };
    }
    // No one else opens what is half done.
    for options in [support::options(), stamped(1, OnOtherStamp::Refuse), stamped(3, SecondVersion::rekey())]
    {
        let error = support::open_error(directory.path(), options);
        assert_eq!(error.kind(), ErrorKind::OtherStamp);
        assert!(error.to_string().contains("was interrupted"), "{error}");
    }
    let store = support::open(directory.path(), stamped(2, SecondVersion::rekey()));
    let found = Stamp::new(1, "main");
    let rekeyed = SHAPES - done;
    assert_eq!(outcome(&store), StampOutcome::Rekeyed { found, rekeyed, dropped: 0, merged: 0 });
    assert_eq!(support::live(&store), support::live(&whole));
    assert_eq!(keys(&store), keys(&whole));
    drop(store);
    assert_eq!(
        outcome(&support::open(directory.path(), stamped(2, SecondVersion::rekey()))),
        StampOutcome::Unchanged
    );
}

/// The directory of the database that a child process re-keys, and the call at which it dies.
#[cfg(unix)]
const CHILD: [&str; 2] = ["SHAPE_META_REKEY_DIRECTORY", "SHAPE_META_REKEY_DIES_AT"];

/// Runs in a process of its own, which is killed between two transactions of a re-key, or within one. What is
/// found then has one encoding or the other, and the next open ends with the second one, exactly once.
#[cfg(unix)]
#[test]
fn c6_a_process_that_is_killed_in_a_rekey_loses_nothing() {
    use std::os::unix::process::ExitStatusExt;

    const SHAPES: u64 = 11_000;
    if let [Some(directory), Some(dies_at)] = CHILD.map(env::var_os) {
        let dies_at = dies_at.to_str().and_then(|at| at.parse().ok()).expect("a number");
        return die_in_a_rekey(Path::new(&directory), dies_at);
    }
    let directory = filled(SHAPES);
    let mut done = 0;
    // Between the first two transactions, within the second one, and between the last two.
    for (dies_at, then_done) in [(5_000, 5_000), (2_500, 5_000), (5_000, 10_000)] {
        let status = Command::new(env::current_exe().expect("it is known"))
            .args(["--exact", "stamp::c6_a_process_that_is_killed_in_a_rekey_loses_nothing"])
            .env(CHILD[0], directory.path())
            .env(CHILD[1], dies_at.to_string())
            .status();
        assert_eq!(status.expect("it starts").signal(), Some(9));
        done = then_done;
        let inspector = Inspector::open(directory.path()).expect("opens");
        inspector.verify(None, &mut |problem| panic!("{problem}")).expect("reads");
        let mut second = 0;
        let count = |item: Result<ScanItem, Error>| {
            second += u64::from(item.expect("reads").record.definition.starts_with(b"second "));
            true
        };
        inspector.scan(count).expect("reads");
        assert_eq!((inspector.summary(1).expect("reads").counts.total, second), (SHAPES, done));
    }
    let store = support::open(directory.path(), stamped(2, SecondVersion::rekey()));
    let (found, rekeyed) = (Stamp::new(1, "main"), SHAPES - done);
    assert_eq!(outcome(&store), StampOutcome::Rekeyed { found, rekeyed, dropped: 0, merged: 0 });
    assert_eq!(store.report().last_seq, Seq::new(2 * SHAPES));
    let scan = store.scan().expect("opens").map(|item| item.expect("reads").record);
    let (mut number, mut seq) = (0, SHAPES);
    for record in scan {
        (number, seq) = (number + 1, seq + 1);
        assert_eq!(record.entry.created(), Seq::new(seq));
        assert_eq!(record.handle(), &conformance::handle(number));
        assert_eq!(record.key(), &SecondVersion(number).key());
        assert_eq!(*record.definition, *SecondVersion(number).encode());
    }
    assert_eq!(number, SHAPES);
    assert!(support::recovered_tasks(&store).is_empty(), "live data is not handed over");
}

#[cfg(unix)]
fn die_in_a_rekey(directory: &Path, dies_at: u64) {
    let calls = AtomicU64::new(0);
    let dying = Rekey::new(move |_: &Stamp, record: &Record| {
        if calls.fetch_add(1, Ordering::Relaxed) == dies_at {
            let killed = Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status();
            unreachable!("the process is killed: {killed:?}");
        }
        Ok::<_, Infallible>(Some(SecondVersion::of(record)))
    });
    support::open_error(directory, stamped(2, OnOtherStamp::Rekey(dying)));
}

#[test]
fn c2_a_key_that_an_earlier_run_has_given_is_not_given_again() {
    let directory = filled(6_000);
    let calls = Arc::new(AtomicU64::new(0));
    // All shapes of the second transaction get the keys of the first one.
    let merge = |record: &Record| SecondVersion(SecondVersion::of(record).0 % 5_000);
    let failing =
        Rekey::new(move |_: &Stamp, record: &Record| match calls.fetch_add(1, Ordering::Relaxed) == 5_500 {
            true => Err("the power failed"),
            false => Ok(Some(merge(record))),
        });
    support::open_error(directory.path(), stamped(2, OnOtherStamp::Rekey(failing)));
    let rekey = Rekey::new(move |_: &Stamp, record: &Record| Ok::<_, Infallible>(Some(merge(record))));
    let store = support::open(directory.path(), stamped(2, OnOtherStamp::Rekey(rekey)));
    let found = Stamp::new(1, "main");
    assert_eq!(outcome(&store), StampOutcome::Rekeyed { found, rekeyed: 0, dropped: 0, merged: 1_000 });
    assert_eq!(store.counts().expect("reads").total, 5_000);
}

#[test]
fn c12_what_a_rekey_has_left_half_done_can_be_removed() {
    let directory = filled(6_000);
    let calls = AtomicU64::new(0);
    let failing =
        Rekey::new(move |_: &Stamp, record: &Record| match calls.fetch_add(1, Ordering::Relaxed) == 5_500 {
            true => Err("the power failed"),
            false => Ok(Some(SecondVersion::of(record))),
        });
    support::open_error(directory.path(), stamped(2, OnOtherStamp::Rekey(failing)));
    let store = support::open(directory.path(), stamped(3, OnOtherStamp::RemoveAll));
    assert_eq!(store.counts().expect("reads").total, 0);
    assert_eq!(support::recovered_tasks(&store).len(), 6_000);
}

#[test]
fn c11_a_rebuilt_database_keeps_its_stamp() {
    let directory = filled(50);
    let store = support::open(directory.path(), stamped(1, OnOtherStamp::Refuse));
    store.rebuild_from(shape_meta_core::TrustedState::default()).expect("the repair succeeds");
    drop(store);
    let error = support::open_error(directory.path(), stamped(2, OnOtherStamp::Refuse));
    assert_eq!(error.kind(), ErrorKind::OtherStamp);
}

/// Once, the repair dropped it, and the next open took all shapes for its own.
#[test]
fn c11_a_damaged_stamp_is_not_lost_silently() {
    for damage in ["checksum = checksum + 1", "source = 7"] {
        let directory = filled(50);
        drop(support::open(directory.path(), stamped(1, OnOtherStamp::Refuse)));
        let file = rusqlite::Connection::open(directory.path().join("shape-meta.sqlite3")).expect("a file");
        let damaged = file.execute(&format!("UPDATE stamp SET {damage}"), []);
        assert_eq!(damaged.expect("no one else writes"), 1);
        drop(file);
        let error = support::open_error(directory.path(), stamped(1, OnOtherStamp::Refuse));
        assert_eq!(error.kind(), ErrorKind::OtherStamp, "{damage}: {error}");
        assert!(error.to_string().contains("unknown, because a repair"), "{error}");
        let keep = check(1, OnOtherStamp::Keep).on_other_source(OnOtherStamp::Keep);
        let kept = support::open(directory.path(), support::options().stamp(keep));
        assert_eq!(kept.counts().expect("the repair has kept them").total, 50);
        drop(kept);
        drop(support::open(directory.path(), stamped(1, OnOtherStamp::Refuse)));
    }
}

#[test]
fn a_database_in_memory_gets_a_stamp() {
    let observer = support_observer();
    let store = SqliteStore::open_in_memory(stamped(1, OnOtherStamp::Refuse), observer).expect("opens");
    assert_eq!(outcome(&store), StampOutcome::Recorded);
}
