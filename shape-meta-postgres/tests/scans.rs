//! Scans: a snapshot, bounded in time.

use std::time::{Duration, Instant};

use shape_meta_core::{ErrorKind, ReadShapes, SnapshotState};

use crate::support::{self, Schema, add, apply, fill, live, mark, remove};

#[test]
fn c1_a_scan_shows_one_moment_whatever_is_written_meanwhile() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    fill(&store, 1..=5_000);
    let mut scan = store.scan().expect("it opens");
    let first = scan.next().expect("there are shapes").expect("reads");
    assert_eq!(first.metadata.created.get(), 1);
    apply(&store, 6_000, (2..=4_999).map(remove).chain([mark(5_000, SnapshotState::Complete)]));
    fill(&store, 6_001..=6_010);
    let rest: Vec<_> = scan.map(|item| item.expect("reads").metadata.created.get()).collect();
    assert_eq!(rest, (2..=5_000).collect::<Vec<_>>());
    assert_eq!(live(&store).len(), 12);
}

/// A snapshot holds back the server's vacuum. So the store gives it up, and so does the server, if nothing is
/// read from it any more.
#[test]
fn c14_a_scan_that_is_left_open_ends() {
    let Some(mut schema) = Schema::new() else { return };
    let connection = shape_meta_testing_postgres::shared().expect("there is a server");
    let name = support::unique("application");
    schema.pool = support::pool(&format!("{connection} application_name={name}"));
    let limit = Duration::from_secs(1);
    let store = schema.open_with("stack", schema.options().scan_timeout(limit));
    fill(&store, 1..=100);
    let mut scan = store.scan().expect("it opens");
    let sessions =
        format!("SELECT 1 FROM pg_stat_activity WHERE state LIKE 'idle in%' AND application_name = '{name}'");
    assert_eq!(schema.pool.usage().used, 1);
    support::wait_until("the server ends the transaction", || schema.query(&sessions).is_empty());
    // What was read before is returned.
    let read = scan.by_ref().take_while(Result::is_ok).count();
    assert_eq!(read, 32);
    assert!(scan.next().is_none(), "the error was the last item");
    let error = store.scan().expect("it opens").find_map(Result::err);
    assert!(error.is_none(), "a scan that is read in time is whole");

    let limit = Duration::from_millis(1);
    let store = schema.open_with("stack", schema.options().scan_timeout(limit));
    let scan = store.scan();
    let opened = Instant::now();
    // An idle machine could read all pages before.
    support::wait_until("time passes", || opened.elapsed() > limit);
    let mut outcomes = scan.map_or_else(|error| vec![Err(error)], Iterator::collect);
    let error = outcomes.pop().expect("there are shapes").expect_err("a millisecond is over");
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
}

#[test]
fn c7_a_page_of_large_definitions_is_bounded() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open("stack");
    let large = |number: u64| {
        let shape = shape_meta_core::NewShape {
            definition: vec![number as u8; 1 << 20].into(),
            ..shape_meta_core::conformance::shape(number)
        };
        let record = std::sync::Arc::new(shape.record(shape_meta_core::Seq::new(number)));
        shape_meta_core::Change::Add { record, state: SnapshotState::Complete }
    };
    apply(&store, 40, (1..=40).map(large));
    apply(&store, 60, (41..=60).map(|number| add(number, SnapshotState::Pending)));
    let found: Vec<_> = store.scan().expect("it opens").map(|item| item.expect("reads")).collect();
    assert_eq!(found.len(), 60);
    assert!(found.iter().take(40).all(|item| item.record.definition.len() == 1 << 20));
}
