//! A store that reads what somebody else writes, and becomes its owner.

use std::{fs, path::Path, sync::Arc, time::Duration};

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
    standby(directory, support::options()).expect("there is a database")
}

fn live(store: &impl ReadShapes) -> Vec<u64> {
    let scan = store.scan().expect("it scans");
    scan.map(|listed| listed.expect("it reads").metadata.created.get()).collect()
}

#[test]
fn reads_what_the_owner_has_committed_and_writes_nothing() {
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
    let record = standby.record(&handle(23)).expect("reads").expect("it is live");
    assert_eq!(record.definition, support::record(23).definition);
    assert!(standby.touch(&handle(3), Timestamp::now()).expect("reads"));

    let refused = [
        standby.apply(&batch(26, [add(26, SnapshotState::Pending)])),
        standby.save_reads(&[(Seq::new(1), Timestamp::now())]),
        standby.rebuild_from(TrustedState::default()).map(drop),
    ];
    for outcome in refused {
        assert_eq!(outcome.expect_err("it is a standby").kind(), ErrorKind::Standby);
    }
    assert_eq!(live(&owner).len(), 25);
}

#[test]
fn c11_becomes_the_owner_when_the_owner_has_closed() {
    let directory = support::directory();
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=3);
    owner.apply(&batch(4, [add(4, SnapshotState::Started)])).expect("nothing fails");
    let standby = open_standby(directory.path());
    let read = Timestamp::from_micros(Timestamp::now().as_micros() + 5_000_000);
    standby.touch(&handle(2), read).expect("reads");

    assert_eq!(standby.promote(OnLiveOwner::Fail).expect_err("it is alive").kind(), ErrorKind::AlreadyOpen);
    let wait = OnLiveOwner::Wait(Duration::from_millis(10));
    assert_eq!(standby.promote(wait).expect_err("it is alive").kind(), ErrorKind::AlreadyOpen);
    assert!(standby.owner().is_none());
    assert_eq!(live(&standby), [1, 2, 3, 4], "it is a standby as before");

    let scan = standby.scan().expect("it scans");
    owner.close().expect("closes");
    let promoted = standby.promote(OnLiveOwner::Fail).expect("nobody owns it");
    assert_eq!(promoted.report().epoch, owner.report().epoch + 1);
    assert_eq!(scan.count(), 4, "what was begun goes on");
    assert_eq!(promoted.recover().expect("recovers").removed, [handle(4)]);
    standby.apply(&batch(6, [add(6, SnapshotState::Complete)])).expect("it is the owner");
    assert_eq!(live(&standby), [1, 2, 3, 6]);
    let stalest = standby.least_recently_used(10, &Default::default()).expect("reads").shapes;
    assert_eq!(stalest.last(), Some(&(handle(2), read)), "what the standby has noted is not forgotten");
    assert!(std::ptr::eq(standby.promote(OnLiveOwner::Fail).expect("it is one"), promoted));

    let again = support::refused(directory.path(), support::options());
    assert_eq!(again.kind(), ErrorKind::AlreadyOpen);
    drop(standby);
    assert_eq!(live(&support::open(directory.path(), support::options())), [1, 2, 3, 6]);
}

#[test]
fn c11_takes_over_from_a_live_owner_which_writes_nothing_more() {
    let directory = support::directory();
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=3);
    let standby = open_standby(directory.path());
    let promoted = standby.promote(OnLiveOwner::Fence).expect("it takes over");

    let late = owner.apply(&batch(4, [add(4, SnapshotState::Complete)]));
    assert_eq!(late.expect_err("it has lost its turn").kind(), ErrorKind::Fenced);
    assert_eq!(owner.rebuild_from(TrustedState::default()).expect_err("nor this").kind(), ErrorKind::Fenced);
    assert_eq!(owner.save_reads(&[]).expect_err("nor this").kind(), ErrorKind::Fenced);
    assert_eq!(owner.recover().expect_err("nor this").kind(), ErrorKind::Fenced);
    assert_eq!(live(&owner), [1, 2, 3], "reads go on");

    support::fill(promoted, 4..=6);
    assert_eq!(live(&owner), [1, 2, 3, 4, 5, 6]);
    drop(owner);
    support::fill(promoted, 7..=8);
    let error = support::refused(directory.path(), support::options());
    assert_eq!(error.kind(), ErrorKind::AlreadyOpen, "the new owner is the one that is seen");
    drop(standby);
    assert_eq!(live(&support::open(directory.path(), support::options())).len(), 8);
}

#[test]
fn c11_of_several_that_take_over_the_last_one_owns() {
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
    let last = owners.pop().expect("there is one");
    drop(owners);
    assert_eq!(support::refused(directory.path(), support::options()).kind(), ErrorKind::AlreadyOpen);
    assert_eq!(live(&last).len(), 8);
}

#[test]
fn c11_nothing_is_moved_aside_under_a_live_owner() {
    let directory = support::directory();
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=3);
    support::stranger(directory.path()).execute("UPDATE meta SET total = 7", []).expect("the stranger may");
    let options = support::options().on_live_owner(OnLiveOwner::Fence);
    let error = support::refused(directory.path(), options);
    insta::assert_snapshot!(support::text(&error, directory.path()));
    assert_eq!(fs::read_dir(directory.path()).expect("it is there").count(), 4, "nothing came, nothing went");
    owner.rebuild_from(TrustedState::default()).expect("its owner can repair it");
    assert_eq!(live(&owner), [1, 2, 3]);
}

#[test]
fn follows_a_repair_and_a_migration() {
    let directory = support::directory();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1.sqlite3");
    fs::copy(fixture, directory.path().join("shape-meta.sqlite3")).expect("there is room");
    let options = || support::options().disk_indexes(DiskIndexes::Omitted);
    let standby = standby(directory.path(), options()).expect("a database of version 1 can be read");
    let mut entries = Vec::new();
    standby.load(&mut |entry| entries.push(entry)).expect("reads");
    assert_eq!(entries.len(), 19);
    assert_eq!(live(&standby).len(), 19);
    assert!(standby.changes_since(Seq::new(1)).expect("reads").is_none(), "version 1 does not know");
    standby.saved_reads(&mut |_, _| panic!("nor this")).expect("reads");

    let owner = support::open(directory.path(), options());
    assert_eq!(owner.report().migrated_from, Some(1));
    let last = owner.last_seq().expect("reads");
    support::fill(&owner, 101..=103);
    let delta = standby.changes_since(last).expect("reads");
    assert!(delta.is_none(), "nothing is known of what came before the log");
    support::fill(&owner, 104..=105);
    owner.apply(&batch(106, [Change::Remove { entry: record(104).entry.clone() }])).expect("nothing fails");
    let delta = standby.changes_since(Seq::new(103)).expect("reads").expect("it is known now");
    assert_eq!((delta.added.len(), delta.removed.len()), (1, 1));

    owner.rebuild_from(TrustedState::default()).expect("it repairs");
    support::fill(&owner, 107..=110);
    assert!(standby.changes_since(Seq::new(106)).expect("reads").is_none(), "it is another file");
    let mut created = Vec::new();
    let last = standby.load(&mut |entry| created.push(entry.created().get())).expect("reads");
    assert_eq!((last, created.len()), (Seq::new(110), 19 + 4 + 4));
    assert_eq!(live(&standby), created);
}

#[test]
fn what_cannot_be_read_is_told() {
    let none = support::directory();
    let exclusive = support::directory();
    let mirrored = support::directory();
    drop(support::open(mirrored.path(), support::options().disk_indexes(DiskIndexes::Omitted)));
    let foreign = support::directory();
    support::stranger(foreign.path()).execute_batch("CREATE TABLE t (x)").expect("writes");
    let newer = support::directory();
    drop(support::open(newer.path(), support::options()));
    support::stranger(newer.path()).execute_batch("PRAGMA user_version = 99").expect("writes");
    let noise = support::directory();
    fs::write(noise.path().join("shape-meta.sqlite3"), [7; 9_000]).expect("writes");
    let cases = [
        ("there is none", &none, support::options(), ErrorKind::NotFound),
        ("exclusive", &exclusive, support::options().mode(Mode::Exclusive), ErrorKind::Configuration),
        ("no look-ups", &mirrored, support::options(), ErrorKind::Configuration),
        ("foreign", &foreign, support::options(), ErrorKind::NotADatabase),
        ("newer", &newer, support::options(), ErrorKind::UnsupportedSchema),
        ("noise", &noise, support::options(), ErrorKind::NotADatabase),
    ];
    let mut told = String::new();
    for (name, directory, options, kind) in cases {
        let error = standby(directory.path(), options).expect_err(name);
        assert_eq!(error.kind(), kind, "{name}");
        told += &format!("{name}: {}\n", support::text(&error, directory.path()));
    }
    insta::assert_snapshot!(told);
    assert!(!none.path().join("shape-meta.sqlite3").exists());
}

/// What a killed owner has left in its log is read, and stays there for the next owner.
#[test]
fn reads_a_database_without_an_owner() {
    let directory = support::directory();
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=9);
    let dead = support::directory();
    for suffix in ["", "-wal"] {
        let name = format!("shape-meta.sqlite3{suffix}");
        fs::copy(directory.path().join(&name), dead.path().join(&name)).expect("there is room");
    }
    assert!(dead.path().join("shape-meta.sqlite3-wal").metadata().expect("it is there").len() > 0);
    let standby = open_standby(dead.path());
    assert_eq!(live(&standby).len(), 9);
    let promoted = standby.promote(OnLiveOwner::Fail).expect("nobody owns it");
    support::fill(promoted, 10..=12);
    assert_eq!(live(&standby).len(), 12);
}

/// A process that closes a file gives up all its locks on it, and others may take it for one that nobody uses.
#[cfg(target_os = "linux")]
#[test]
fn c11_who_looks_at_a_database_does_not_give_up_the_locks_of_its_owner() {
    use std::os::unix::fs::MetadataExt;

    let directory = support::directory();
    let database = directory.path().join("shape-meta.sqlite3");
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=3);
    let is_locked = || {
        let inode = format!(":{} ", database.metadata().expect("it is there").ino());
        // What has come and gone meanwhile can hide a lock from one reading of the list.
        (0..100).any(|_| {
            let locks = fs::read_to_string("/proc/locks").expect("the kernel says");
            locks.lines().any(|line| line.contains("POSIX") && line.contains(&inode))
        })
    };
    let look = || {
        let inspector = Inspector::open(directory.path()).expect("it opens");
        assert_eq!(inspector.summary(1).expect("reads").counts.total, 3);
        inspector.finish().expect("nothing has changed");
        assert!(is_locked());
    };
    assert!(is_locked());
    look();
    let standby = open_standby(directory.path());
    look();
    assert_eq!(support::refused(directory.path(), support::options()).kind(), ErrorKind::AlreadyOpen);
    assert!(is_locked());
    drop(owner);
    standby.promote(OnLiveOwner::Fail).expect("nobody owns it");
    assert!(is_locked());
}

fn moves(directory: &Path, to: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let name = format!("shape-meta.sqlite3{suffix}");
        let _ = fs::rename(directory.join(&name), to.join(&name));
    }
}

#[test]
fn c9_a_database_that_is_moved_away_is_missed_and_found_again() {
    let directory = support::directory();
    let aside = support::directory();
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=3);
    moves(directory.path(), aside.path());
    let batch = |number| batch(number, [add(number, SnapshotState::Complete)]);
    for _ in 0..3 {
        let error = owner.apply(&batch(4)).expect_err("nobody would find it");
        assert_eq!(error.kind(), ErrorKind::Io);
    }
    assert!(!directory.path().join("shape-meta.sqlite3").exists(), "and nothing is put in its place");
    moves(aside.path(), directory.path());
    owner.apply(&batch(4)).expect("it is back");
    owner.apply(&batch(5)).expect("it is back");
    assert_eq!(live(&owner), [1, 2, 3, 4, 5]);
    drop(owner);
    assert_eq!(live(&support::open(directory.path(), support::options())), [1, 2, 3, 4, 5]);
}

#[test]
fn c9_an_older_copy_is_not_taken_for_the_database() {
    for rests in [false, true] {
        let (directory, copy, aside) = (support::directory(), support::directory(), support::directory());
        let owner = support::open(directory.path(), support::options());
        support::fill(&owner, 1..=3);
        Inspector::open(directory.path()).expect("opens").backup(copy.path(), |_, _| {}).expect("it copies");
        support::fill(&owner, 4..=6);
        if rests {
            owner.close_idle();
        }
        moves(directory.path(), aside.path());
        moves(copy.path(), directory.path());
        let before = fs::read(directory.path().join("shape-meta.sqlite3")).expect("reads");
        let error = owner.apply(&batch(7, [add(7, SnapshotState::Complete)])).expect_err("it is another one");
        assert_eq!(error.kind(), ErrorKind::Io);
        // What it had open has the batch; but that is not told, since nobody would find it there.
        let error = owner.apply(&batch(7, [add(7, SnapshotState::Complete)])).expect_err("it is another one");
        insta::allow_duplicates!(insta::assert_snapshot!(error));
        let after = fs::read(directory.path().join("shape-meta.sqlite3")).expect("reads");
        assert!(before == after, "it is left as it is");
        drop(owner);
        let moved = live(&support::open(aside.path(), support::options())).len();
        assert_eq!(moved, if rests { 6 } else { 7 });
        assert_eq!(live(&support::open(directory.path(), support::options())).len(), 3);
    }
}

/// The same content under the same name is the same database.
#[test]
fn a_database_that_is_written_anew_by_a_copy_goes_on() {
    let directory = support::directory();
    let owner = support::open(directory.path(), support::options());
    support::fill(&owner, 1..=3);
    owner.close_idle();
    let path = directory.path().join("shape-meta.sqlite3");
    fs::copy(&path, directory.path().join("copy")).expect("there is room");
    fs::rename(directory.path().join("copy"), &path).expect("it can");
    support::fill(&owner, 4..=6);
    drop::<SqliteStore>(owner);
    assert_eq!(live(&support::open(directory.path(), support::options())).len(), 6);
}
