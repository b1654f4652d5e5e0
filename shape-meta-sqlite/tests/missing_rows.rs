//! Rows that are missing are damage, and not the absence of a shape.

use shape_meta_core::{
    ErrorKind, HandleSet, ReadShapes, ReadShapesExt, ShapeStore, ShapeStoreExt, TrustedState,
};
use shape_meta_sqlite::{Inspector, Mode};

use crate::support;

/// The shape has an entry, so its definition must be there. Everything that needs no definition goes on.
#[test]
fn c11_a_missing_definition_is_corrupt() {
    for mode in [Mode::Wal, Mode::Exclusive] {
        let directory = support::directory();
        let store = support::open(directory.path(), support::options());
        support::fill(&store, 1..=600);
        store.close().expect("closes");
        let connection = support::raw_connection(directory.path());
        connection.execute("DELETE FROM definition WHERE id = 5", []).expect("deletes");
        drop(connection);

        let store = support::open(directory.path(), support::options().mode(mode));
        store.recover().expect("the entries are sound");
        let [damaged, sound] = [5, 6].map(support::record);
        let kind = |error: shape_meta_core::Error| error.kind();
        assert_eq!(store.record(damaged.handle()).map_err(kind).err(), Some(ErrorKind::Corrupt));
        assert_eq!(store.record_of(&damaged.entry).map_err(kind).err(), Some(ErrorKind::Corrupt));
        assert!(store.has_handle(damaged.handle()).expect("reads"));
        assert!(store.record(sound.handle()).expect("reads").is_some());
        assert!(store.record_of(&sound.entry).expect("reads").is_some());
        assert!(store.record("unknown").expect("reads").is_none());
        let unknown = support::record(601);
        assert!(store.record_of(&unknown.entry).expect("reads").is_none());
        assert_eq!(store.handles_for_relations(sound.entry.relations()).expect("reads").len(), 85);
        let oldest = store.least_recently_used(10, &HandleSet::default()).expect("reads");
        assert_eq!(oldest.shapes.len(), 10);

        let items: Vec<_> = store.scan().expect("scans").collect();
        assert_eq!(items.len(), 600, "the scan goes on after the damaged shape");
        let errors: Vec<_> =
            items.iter().enumerate().filter_map(|(at, item)| Some((at, item.as_ref().err()?))).collect();
        assert_eq!(errors.len(), 1);
        assert_eq!((errors[0].0, errors[0].1.kind()), (4, ErrorKind::Corrupt));
        assert!(errors[0].1.to_string().contains("its definition is missing"), "{}", errors[0].1);
        assert_eq!(store.scan().expect("a scan with an error harms no later one").count(), 600);

        let repaired = store.rebuild_from(TrustedState::default()).expect("rebuilds");
        assert_eq!((repaired.saved, repaired.lost.len()), (599, 1));
        store.close().expect("closes");
    }
}

#[test]
fn c11_tools_report_a_missing_definition() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=10);
    store.close().expect("closes");
    let connection = support::raw_connection(directory.path());
    connection.execute("DELETE FROM definition WHERE id = 5", []).expect("deletes");
    drop(connection);
    let inspector = Inspector::open(directory.path()).expect("opens");
    let mut problems = Vec::new();
    inspector.verify(None, &mut |problem| problems.push(problem)).expect("verifies");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(
        inspector.find(support::record(5).handle()).map_err(|error| error.kind()).err(),
        Some(ErrorKind::Corrupt)
    );
    let (mut sound, mut damaged) = (0, 0);
    inspector
        .scan(|item| {
            *(if item.is_ok() { &mut sound } else { &mut damaged }) += 1;
            true
        })
        .expect("scans");
    assert_eq!((sound, damaged), (9, 1));
}

/// A damaged cleanup task is counted: its stored data is found by comparing.
#[test]
fn c12_damaged_cleanup_tasks_are_reported() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let incomplete = [1, 2].map(|number| support::add(number, shape_meta_core::SnapshotState::Started));
    support::apply(&store, 2, incomplete);
    assert_eq!(support::recovered_tasks(&store).len(), 2);
    let connection = support::raw_connection(directory.path());
    let damage = "UPDATE cleanup SET checksum = checksum + 1 WHERE handle = ?1";
    assert_eq!(connection.execute(damage, [support::record(1).handle().as_str()]).expect("updates"), 1);
    drop(connection);
    let repaired = store.rebuild_from(TrustedState::default()).expect("rebuilds");
    assert_eq!((repaired.lost_cleanups, repaired.missing()), (1, 0));
    assert_eq!(support::recovered_tasks(&store), [support::record(2).handle().clone()]);
}
