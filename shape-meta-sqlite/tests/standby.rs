//! A standby: reads what the owner commits, and is promoted to owner.

use std::{
    fs,
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use shape_meta_core::{
    Change, Error, ErrorKind, NoopObserver, ReadShapes, Seq, ShapeStore, ShapeStoreExt, SnapshotState,
    Timestamp, TrustedState,
    conformance::{handle, key},
};
use shape_meta_sqlite::{
    DiskIndexes, Inspector, Mode, OnLiveOwner, SqliteOptions, SqliteStandby, SqliteStore,
};

use crate::support::{self, add, batch, record};

fn standby(directory: &Path, options: SqliteOptions) -> Result<SqliteStandby, Error> {
    SqliteStandby::open(directory, options, Arc::new(NoopObserver))
}

fn open_standby(directory: &Path) -> SqliteStandby {
    standby(directory, support::options()).expect("the standby opens")
}

fn live(store: &impl ReadShapes) -> Vec<u64> {
    let scan = store.scan().expect("the scan opens");
    scan.map(|item| item.expect("reads").metadata.created.get()).collect()
}

#[test]
fn a_standby_reads_what_is_committed_and_writes_nothing() {
    let directory = support::directory();
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=20);
    let standby = open_standby(directory.path());
    assert_eq!(standby.report().epoch, owner.report().epoch);
    assert_eq!(live(&standby), (1..=20).collect::<Vec<_>>());
    support::fill(&owner, 21..=25);
    assert_eq!(standby.counts().expect("reads").total, 25);
    assert_eq!(standby.last_seq().expect("reads"), Seq::new(25));
    assert_eq!(standby.handle_for(&key(23)).expect("reads"), Some(handle(23)));
    let record = standby.record(&handle(23)).expect("reads").expect("the shape is live");
    assert_eq!(record.definition, support::record(23).definition);
    assert!(standby.touch(&handle(3), Timestamp::now()).expect("reads"));

    let outcomes = [
        standby.apply(&batch(26, [add(26, SnapshotState::Pending)])),
        standby.save_reads(&[(Seq::new(1), Timestamp::now())]),
        standby.rebuild_from(TrustedState::default()).map(drop),
    ];
    for outcome in outcomes {
        assert_eq!(outcome.expect_err("a standby does not write").kind(), ErrorKind::Standby);
    }
    assert_eq!(live(&owner).len(), 25);
}

#[test]
fn c11_a_standby_is_promoted_once_the_owner_has_closed() {
    let directory = support::directory();
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=3);
    owner.apply(&batch(4, [add(4, SnapshotState::Started)])).expect("the batch applies");
    let standby = open_standby(directory.path());
    let read = Timestamp::from_micros(Timestamp::now().as_micros() + 5_000_000);
    standby.touch(&handle(2), read).expect("reads");

    assert_eq!(
        standby.promote(OnLiveOwner::Fail).expect_err("the owner is alive").kind(),
        ErrorKind::AlreadyOpen
    );
    let wait = OnLiveOwner::Wait(Duration::from_millis(10));
    assert_eq!(standby.promote(wait).expect_err("the owner is alive").kind(), ErrorKind::AlreadyOpen);
    assert!(standby.owner().is_none());
    assert_eq!(live(&standby), [1, 2, 3, 4], "a failed promotion leaves a standby");

    let scan = standby.scan().expect("the scan opens");
    owner.close().expect("closes");
    let promoted = standby.promote(OnLiveOwner::Fail).expect("no owner is alive");
    assert_eq!(promoted.report().epoch, owner.report().epoch + 1);
    assert_eq!(scan.count(), 4, "an open scan goes on");
    assert_eq!(promoted.recover().expect("the recovery succeeds").removed, [handle(4)]);
    standby.apply(&batch(6, [add(6, SnapshotState::Complete)])).expect("the store is the owner");
    assert_eq!(live(&standby), [1, 2, 3, 6]);
    let by_last_read = standby.least_recently_used(10, &Default::default()).expect("reads").shapes;
    // The time in the future counts as now, which is later than the opening that has found the others.
    let (last, at) = by_last_read.last().expect("all were read");
    assert_eq!(*last, handle(2), "reads recorded by the standby are kept");
    assert!(*at <= Timestamp::now() && by_last_read.iter().filter(|(_, other)| other == at).count() == 1);
    assert!(std::ptr::eq(standby.promote(OnLiveOwner::Fail).expect("the standby is promoted"), promoted));

    let error = support::open_error(directory.path(), support::options());
    assert_eq!(error.kind(), ErrorKind::AlreadyOpen);
    drop(standby);
    assert_eq!(live(&support::open(directory.path(), support::options())), [1, 2, 3, 6]);
}

#[test]
fn c11_a_takeover_fences_the_live_owner() {
    let directory = support::directory();
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=3);
    let standby = open_standby(directory.path());
    let promoted = standby.promote(OnLiveOwner::Fence).expect("the standby takes over");

    let late = owner.apply(&batch(4, [add(4, SnapshotState::Complete)]));
    assert_eq!(late.expect_err("the store is fenced").kind(), ErrorKind::Fenced);
    assert_eq!(
        owner.rebuild_from(TrustedState::default()).expect_err("every write is fenced").kind(),
        ErrorKind::Fenced
    );
    assert_eq!(owner.save_reads(&[]).expect_err("every write is fenced").kind(), ErrorKind::Fenced);
    assert_eq!(owner.recover().expect_err("every write is fenced").kind(), ErrorKind::Fenced);
    assert_eq!(live(&owner), [1, 2, 3], "reads go on");

    support::fill(promoted, 4..=6);
    assert_eq!(live(&owner), [1, 2, 3, 4, 5, 6]);
    drop(owner);
    support::fill(promoted, 7..=8);
    let error = support::open_error(directory.path(), support::options());
    assert_eq!(error.kind(), ErrorKind::AlreadyOpen, "the new owner holds the lock");
    drop(standby);
    assert_eq!(live(&support::open(directory.path(), support::options())).len(), 8);
}

#[test]
fn c11_of_several_takeovers_the_last_one_owns() {
    let directory = support::directory();
    let options = || support::options().on_live_owner(OnLiveOwner::Fence);
    let mut owners = vec![support::open(directory.path(), options())];
    support::fill(&owners[0], 1..=3);
    for number in 4..=8 {
        owners.push(support::open(directory.path(), options()));
        for (at, owner) in owners.iter().enumerate() {
            let outcome = owner.apply(&batch(number, [add(number, SnapshotState::Complete)]));
            match outcome {
                Ok(()) => assert_eq!(at + 1, owners.len()),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Fenced),
            }
        }
    }
    let last = owners.pop().expect("owners is not empty");
    drop(owners);
    assert_eq!(support::open_error(directory.path(), support::options()).kind(), ErrorKind::AlreadyOpen);
    assert_eq!(live(&last).len(), 8);
}

#[test]
fn c11_a_takeover_of_a_damaged_database_is_refused() {
    let directory = support::directory();
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=3);
    support::raw_connection(directory.path())
        .execute("UPDATE meta SET total = 7", [])
        .expect("the statement runs");
    let options = support::options().on_live_owner(OnLiveOwner::Fence);
    let error = support::open_error(directory.path(), options);
    insta::assert_snapshot!(support::text(&error, directory.path()));
    assert_eq!(fs::read_dir(directory.path()).expect("reads").count(), 4, "no file is created or removed");
    owner.rebuild_from(TrustedState::default()).expect("the live owner can repair it");
    assert_eq!(live(&owner), [1, 2, 3]);
}

#[test]
fn a_standby_survives_a_repair_and_a_migration() {
    let directory = support::directory();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1.sqlite3");
    fs::copy(fixture, directory.path().join("shape-meta.sqlite3")).expect("copies");
    let options = || support::options().disk_indexes(DiskIndexes::Omitted);
    let standby = standby(directory.path(), options()).expect("a standby reads schema version 1");
    let mut entries = Vec::new();
    standby.load(&mut |entry| entries.push(entry)).expect("reads");
    assert_eq!(entries.len(), 19);
    assert_eq!(live(&standby).len(), 19);
    assert!(standby.changes_since(Seq::new(1)).expect("reads").is_none(), "version 1 has no change log");
    standby.saved_reads(&mut |_, _| panic!("version 1 has no saved reads")).expect("reads");

    let owner = support::open(directory.path(), options());
    assert_eq!(owner.report().migrated_from, Some(1));
    let last = owner.last_seq().expect("reads");
    support::fill(&owner, 101..=103);
    let delta = standby.changes_since(last).expect("reads");
    assert!(delta.is_none(), "the change log does not reach back to its creation");
    support::fill(&owner, 104..=105);
    owner
        .apply(&batch(106, [Change::Remove { entry: record(104).entry.clone() }]))
        .expect("the batch applies");
    let delta = standby.changes_since(Seq::new(103)).expect("reads").expect("the change log has it");
    assert_eq!((delta.added.len(), delta.removed.len()), (1, 1));

    owner.rebuild_from(TrustedState::default()).expect("the repair succeeds");
    support::fill(&owner, 107..=110);
    assert!(standby.changes_since(Seq::new(106)).expect("reads").is_none(), "the repair replaced the file");
    let mut created = Vec::new();
    let last = standby.load(&mut |entry| created.push(entry.created().get())).expect("reads");
    assert_eq!((last, created.len()), (Seq::new(110), 19 + 4 + 4));
    assert_eq!(live(&standby), created);
}

#[test]
fn an_unreadable_database_is_refused_with_a_reason() {
    let none = support::directory();
    let exclusive = support::directory();
    let omitted = support::directory();
    drop(support::open(omitted.path(), support::options().disk_indexes(DiskIndexes::Omitted)));
    let foreign = support::directory();
    support::raw_connection(foreign.path()).execute_batch("CREATE TABLE t (x)").expect("writes");
    let newer = support::directory();
    drop(support::open(newer.path(), support::options()));
    support::raw_connection(newer.path()).execute_batch("PRAGMA user_version = 99").expect("writes");
    let noise = support::directory();
    fs::write(noise.path().join("shape-meta.sqlite3"), [7; 9_000]).expect("writes");
    let cases = [
        ("missing", &none, support::options(), ErrorKind::NotFound),
        ("exclusive", &exclusive, support::options().mode(Mode::Exclusive), ErrorKind::Configuration),
        ("no disk indexes", &omitted, support::options(), ErrorKind::Configuration),
        ("foreign", &foreign, support::options(), ErrorKind::NotADatabase),
        ("newer", &newer, support::options(), ErrorKind::UnsupportedSchema),
        ("noise", &noise, support::options(), ErrorKind::NotADatabase),
    ];
    let mut texts = String::new();
    for (name, directory, options, kind) in cases {
        let error = standby(directory.path(), options).expect_err(name);
        assert_eq!(error.kind(), kind, "{name}");
        texts += &format!("{name}: {}\n", support::text(&error, directory.path()));
    }
    insta::assert_snapshot!(texts);
    assert!(!none.path().join("shape-meta.sqlite3").exists());
}

/// A standby reads commits that a killed owner left in the WAL, and leaves them there for the next owner.
#[test]
fn a_standby_reads_a_database_without_an_owner() {
    let directory = support::directory();
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=9);
    let crashed = support::directory();
    for suffix in ["", "-wal"] {
        let name = format!("shape-meta.sqlite3{suffix}");
        fs::copy(directory.path().join(&name), crashed.path().join(&name)).expect("copies");
    }
    assert!(crashed.path().join("shape-meta.sqlite3-wal").metadata().expect("the file exists").len() > 0);
    let standby = open_standby(crashed.path());
    assert_eq!(live(&standby).len(), 9);
    let promoted = standby.promote(OnLiveOwner::Fail).expect("no owner is alive");
    support::fill(promoted, 10..=12);
    assert_eq!(live(&standby).len(), 12);
}

/// A process that closes a file gives up all its POSIX locks on it, and other processes then take it for
/// unused.
#[cfg(target_os = "linux")]
#[test]
fn c11_an_inspector_keeps_the_locks_of_the_owner() {
    use std::os::unix::fs::MetadataExt;

    let directory = support::directory();
    let database = directory.path().join("shape-meta.sqlite3");
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=3);
    let is_locked = || {
        let inode = format!(":{} ", database.metadata().expect("the file exists").ino());
        // Locks that come and go meanwhile can hide a lock from one read of the list.
        (0..100).any(|_| {
            let locks = fs::read_to_string("/proc/locks").expect("/proc/locks is readable");
            locks.lines().any(|line| line.contains("POSIX") && line.contains(&inode))
        })
    };
    let inspect = || {
        let inspector = Inspector::open(directory.path()).expect("opens");
        assert_eq!(inspector.summary(1).expect("reads").counts.total, 3);
        inspector.finish().expect("the database is unchanged");
        assert!(is_locked());
    };
    assert!(is_locked());
    inspect();
    let standby = open_standby(directory.path());
    inspect();
    assert_eq!(support::open_error(directory.path(), support::options()).kind(), ErrorKind::AlreadyOpen);
    assert!(is_locked());
    drop(owner);
    standby.promote(OnLiveOwner::Fail).expect("no owner is alive");
    assert!(is_locked());
}

fn move_database(directory: &Path, to: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let name = format!("shape-meta.sqlite3{suffix}");
        let _ = fs::rename(directory.join(&name), to.join(&name));
    }
}

#[test]
fn c9_a_moved_database_fails_commits_until_it_is_back() {
    let directory = support::directory();
    let aside = support::directory();
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=3);
    move_database(directory.path(), aside.path());
    let batch = |number| batch(number, [add(number, SnapshotState::Complete)]);
    for _ in 0..3 {
        let error = owner.apply(&batch(4)).expect_err("the file has lost its name");
        assert_eq!(error.kind(), ErrorKind::Io);
    }
    assert!(!directory.path().join("shape-meta.sqlite3").exists(), "no new file is created");
    move_database(aside.path(), directory.path());
    owner.apply(&batch(4)).expect("the database is back");
    owner.apply(&batch(5)).expect("the database is back");
    assert_eq!(live(&owner), [1, 2, 3, 4, 5]);
    drop(owner);
    assert_eq!(live(&support::open(directory.path(), support::options())), [1, 2, 3, 4, 5]);
}

#[test]
fn c9_an_older_copy_in_its_place_is_refused() {
    for is_idle in [false, true] {
        let (directory, copy, aside) = (support::directory(), support::directory(), support::directory());
        let owner = support::open(directory.path(), support::options());
        support::fill(&owner, 1..=3);
        Inspector::open(directory.path())
            .expect("opens")
            .backup(copy.path(), |_, _| {})
            .expect("the backup succeeds");
        support::fill(&owner, 4..=6);
        if is_idle {
            owner.close_idle();
        }
        move_database(directory.path(), aside.path());
        move_database(copy.path(), directory.path());
        let before = fs::read(directory.path().join("shape-meta.sqlite3")).expect("reads");
        let error = owner
            .apply(&batch(7, [add(7, SnapshotState::Complete)]))
            .expect_err("another database is in its place");
        assert_eq!(error.kind(), ErrorKind::Io);
        // The open file has the batch, but the commit is not confirmed: the file has lost its name.
        let error = owner
            .apply(&batch(7, [add(7, SnapshotState::Complete)]))
            .expect_err("another database is in its place");
        insta::allow_duplicates!(insta::assert_snapshot!(error));
        let after = fs::read(directory.path().join("shape-meta.sqlite3")).expect("reads");
        assert!(before == after, "the copy stays unchanged");
        drop(owner);
        let moved = live(&support::open(aside.path(), support::options())).len();
        assert_eq!(moved, if is_idle { 6 } else { 7 });
        assert_eq!(live(&support::open(directory.path(), support::options())).len(), 3);
    }
}

/// The same content under the same name is the same database.
#[test]
fn a_database_replaced_by_an_equal_copy_goes_on() {
    let directory = support::directory();
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=3);
    owner.close_idle();
    let path = directory.path().join("shape-meta.sqlite3");
    fs::copy(&path, directory.path().join("copy")).expect("copies");
    fs::rename(directory.path().join("copy"), &path).expect("renames");
    support::fill(&owner, 4..=6);
    drop::<SqliteStore>(owner);
    assert_eq!(live(&support::open(directory.path(), support::options())).len(), 6);
}

/// The time of a promotion is that of its work.
#[test]
fn c11_a_promotion_does_not_count_the_wait_for_the_owner() {
    const WAIT: Duration = Duration::from_millis(50);
    let directory = support::directory();
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=3);
    let standby = open_standby(directory.path());
    let (sender, begun) = mpsc::channel();
    thread::scope(|scope| {
        let promoting = scope.spawn(|| {
            let started_at = Instant::now();
            sender.send(started_at).expect("the test waits");
            let took =
                standby.promote(OnLiveOwner::Wait(Duration::from_secs(60))).map(|new| new.report().took);
            (took.expect("the owner ends"), started_at.elapsed())
        });
        let started_at = begun.recv().expect("it begins");
        while started_at.elapsed() < WAIT {
            thread::yield_now();
        }
        owner.close().expect("closes");
        drop(owner);
        let (took, all) = promoting.join().expect("no panic");
        assert!(took + WAIT <= all, "{took:?} of {all:?}");
    });
}

#[test]
fn c11_a_callback_of_an_inspector_may_read_on() {
    let (directory, other) = (support::directory(), support::directory());
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=3);
    let inspector = Inspector::open(directory.path()).expect("opens");
    let read = || {
        inspector.scan(|item| item.is_ok()).expect("scans");
        inspector.summary(1).expect("reads");
        inspector.orphans([], |_| {}).expect("reads");
        inspector.verify(None, &mut |problem| panic!("{problem}")).expect("reads");
    };
    let mut calls = 0;
    let scanned = inspector.scan(|item| {
        calls += 1;
        read();
        item.is_ok()
    });
    scanned.expect("an inner read is no damage");
    inspector.backup(&other.path().join("to"), |_, _| read()).expect("copies");
    inspector
        .backup(&other.path().join("again"), |_, _| {})
        .expect("the transaction of the outer call has ended");
    assert_eq!(calls, 3);
}
