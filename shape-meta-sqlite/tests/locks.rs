//! The locks of SQLite, which a process would give up by closing a file of the database.

use std::{fs, os::unix::fs::MetadataExt, path::Path, sync::Arc};

use shape_meta_core::{
    NoopObserver, ReadShapes, ReadShapesExt, Seq, ShapeStore, ShapeStoreExt, SnapshotState, Timestamp,
    TrustedState,
};
use shape_meta_sqlite::{Inspector, OnLiveOwner, SqliteStandby, SqliteStore};

use crate::support::{add, batch, directory, fill, open, options, record};

/// Limit on reads of the kernel's list, which skips a lock if an earlier one is released meanwhile.
const MAX_READS: usize = 32;

/// Returns whether this process holds a POSIX lock on the file.
fn holds_lock(path: &Path) -> bool {
    let inode = format!(":{} ", path.metadata().expect("it is there").ino());
    let process = format!(" {} ", std::process::id());
    (0..MAX_READS).any(|_| {
        let locks = fs::read_to_string("/proc/locks").expect("the kernel lists locks");
        locks.lines().any(|line| line.contains(" POSIX ") && line.contains(&process) && line.contains(&inode))
    })
}

/// Asserts that the connections of this process still hold their locks on the database and on its WAL.
fn assert_locked(directory: &Path, after: &str) {
    for suffix in ["", "-shm"] {
        let path = directory.join(format!("shape-meta.sqlite3{suffix}"));
        assert!(holds_lock(&path), "after {after}, no lock is left on the database{suffix}");
    }
}

#[test]
fn c11_no_call_gives_up_the_locks_of_sqlite() {
    let (directory, other) = (directory(), directory());
    let path = directory.path();
    let store = open(path, options());
    fill(&store, 1..=20);
    let check = |after: &str| assert_locked(path, after);
    check("an open");

    // The owner.
    store.apply(&batch(21, [add(21, SnapshotState::Pending)])).expect("applies");
    store.has_handle("1").expect("reads");
    store.counts().expect("reads");
    store.scan().expect("reads").for_each(|item| drop(item.expect("reads")));
    store.load(&mut |_| {}).expect("reads");
    store.record_of(&record(1).entry).expect("reads");
    store.changes_since(Seq::new(1)).expect("reads");
    store.maintain().expect("maintains");
    store.query_plans().expect("reads");
    store.stats().expect("reads");
    store.resource_usage();
    check("the calls of an owner");
    store.recover().expect("recovers");
    let tasks = store.cleanup_tasks(None, usize::MAX).expect("reads");
    store.ack_cleanup(&tasks).expect("acknowledges");
    check("a recovery");
    SqliteStore::open(path, options(), Arc::new(NoopObserver)).expect_err("it is owned");
    check("an open that fails");

    // Tools in the same process.
    let inspector = Inspector::open(path).expect("opens");
    check("the open of an inspector");
    inspector.summary(3).expect("reads");
    inspector.owner().expect("reads");
    inspector.scan(|_| true).expect("reads");
    inspector.find("1").expect("reads");
    inspector.verify(None, &mut |problem| panic!("{problem}")).expect("reads");
    inspector.query_plans().expect("reads");
    inspector.orphans([], |_| {}).expect("reads");
    inspector.backup(&other.path().join("copy"), |_, _| {}).expect("copies");
    inspector.backup(path, |_, _| {}).expect_err("it holds a database");
    check("the calls of an inspector");
    inspector.finish().expect("nothing was replaced");
    check("the end of an inspector");

    // A standby in the same process, and its end.
    let standby = SqliteStandby::open(path, options(), Arc::new(NoopObserver)).expect("opens");
    standby.check_source().expect("reads");
    standby.changes_since(Seq::new(1)).expect("reads");
    standby.counts().expect("reads");
    standby.promote(OnLiveOwner::Fail).expect_err("the owner is alive");
    check("the calls of a standby");

    // A repair reads the damaged file without SQLite, while the standby and a scan have it open.
    let database = path.join("shape-meta.sqlite3");
    let mut scan = store.scan().expect("opens");
    scan.next().expect("a shape").expect("reads");
    let quarantined = store.rebuild_from(TrustedState::default()).expect("repairs").path;
    assert!(holds_lock(&quarantined), "the readers of the former file keep their locks");
    store.counts().expect("reads");
    assert!(holds_lock(&database), "the new file is locked");
    drop(scan);
    standby.check_source().expect("it opens the new file");
    drop(standby);
    fill(&store, 30..=40);
    check("a repair");
    Inspector::open(path).expect("opens").owner().expect("reads");
    check("another inspector");

    // A fenced owner and the one that has fenced it.
    let second = SqliteStore::open(path, options().on_live_owner(OnLiveOwner::Fence), Arc::new(NoopObserver))
        .expect("it takes over");
    check("a take-over");
    drop(store);
    check("the end of the former owner");
    second.counts().expect("reads");
    second.touch("1", Timestamp::now()).expect("reads");
    check("the calls of the new owner");
    second.close().expect("closes");
    assert!(!holds_lock(&database), "a closed store keeps no lock");
    let open_files = fs::read_dir("/proc/self/fd")
        .expect("lists")
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let left: Vec<_> = open_files.filter(|file| file.starts_with(path)).collect();
    assert!(left.is_empty(), "a closed store keeps no file open: {left:?}");
}
