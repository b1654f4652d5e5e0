//! A backup by the process that owns the database.

use std::{fs, ops::ControlFlow, path::Path, sync::Arc, thread};

use shape_meta_core::{ErrorKind, NoopObserver, ReadShapes, conformance};
use shape_meta_sqlite::{Inspector, Mode, SqliteStandby, SqliteStore};

use crate::support;

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("reads");
    entries.map(|entry| entry.expect("reads").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn c6_a_backup_next_to_writes_holds_whole_batches() {
    let (directory, other) = (support::directory(), support::directory());
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=8_000);
    let copy = other.path().join("copy");
    let mut calls = 0;
    thread::scope(|scope| {
        let (began, begins) = std::sync::mpsc::sync_channel(1);
        let store = &store;
        scope.spawn(move || {
            begins.recv().expect("the backup has begun");
            for batch in 0..20_u64 {
                support::fill(store, 8_001 + batch * 100..=8_100 + batch * 100);
            }
        });
        store
            .backup(&copy, |progress| {
                calls += 1;
                assert!(progress.copied <= progress.total);
                let _ = began.try_send(());
                ControlFlow::Continue(())
            })
            .expect("the backup succeeds");
        let _ = began.try_send(());
    });
    assert!(calls > 0);
    assert_eq!(store.counts().expect("reads").total, 10_000);
    assert_eq!(names(&copy), ["shape-meta.sqlite3"]);
    Inspector::open(&copy)
        .and_then(|inspector| inspector.verify(None, &mut |problem| panic!("{problem}")))
        .expect("reads");
    let backup = support::open(&copy, support::options());
    let total = backup.counts().expect("reads").total;
    assert!(total >= 8_000 && total.is_multiple_of(100), "{total}");
    let record = backup.record(&conformance::handle(7)).expect("reads").expect("it is live");
    assert_eq!(record.entry.created_at(), conformance::shape(7).created_at);
}

#[test]
fn c11_a_cancelled_backup_leaves_nothing() {
    let (directory, other) = (support::directory(), support::directory());
    let store = support::open(directory.path(), support::options());
    // More than one step of the copy.
    for batch in 0..3_u64 {
        support::fill(&store, 1 + batch * 10_000..=10_000 + batch * 10_000);
    }
    let mut calls = 0;
    let cancelled = store.backup(other.path(), |progress| {
        calls += 1;
        assert!(progress.copied < progress.total);
        ControlFlow::Break(())
    });
    assert_eq!(cancelled.expect_err("it is cancelled").kind(), ErrorKind::Interrupted);
    assert_eq!((calls, names(other.path())), (1, vec![]));
    let goes_on = |_| ControlFlow::Continue(());
    store.backup(other.path(), goes_on).expect("the backup succeeds");
    let taken = store.backup(other.path(), goes_on).expect_err("it holds a database");
    assert_eq!(taken.kind(), ErrorKind::Configuration);
    assert_eq!(support::live(&support::open(other.path(), support::options())).len(), 30_000);
}

#[test]
fn c6_every_mode_and_a_standby_can_be_backed_up() {
    let goes_on = |_| ControlFlow::Continue(());
    let copies = support::directory();
    let copied = |name: &str| support::live(&support::open(&copies.path().join(name), support::options()));

    let directory = support::directory();
    let store = support::open(directory.path(), support::options().mode(Mode::Exclusive));
    support::fill(&store, 1..=5);
    store.backup(&copies.path().join("exclusive"), goes_on).expect("the backup succeeds");
    support::fill(&store, 6..=7);
    assert_eq!((copied("exclusive").len(), support::live(&store).len()), (5, 7));

    let memory = SqliteStore::open_in_memory(support::options(), Arc::new(NoopObserver)).expect("opens");
    support::fill(&memory, 1..=5);
    memory.backup(&copies.path().join("memory"), goes_on).expect("the backup succeeds");
    support::fill(&memory, 6..=7);
    assert_eq!((copied("memory").len(), support::live(&memory).len()), (5, 7));

    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=5);
    let standby = SqliteStandby::open(directory.path(), support::options(), Arc::new(NoopObserver));
    standby
        .and_then(|standby| standby.backup(&copies.path().join("standby"), goes_on))
        .expect("the backup succeeds");
    assert_eq!(copied("standby").len(), 5);
}
