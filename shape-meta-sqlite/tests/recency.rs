//! Last-read times in a store without a cache above.

use std::{path::Path, sync::Arc};

use shape_meta_core::{
    Change, Entry, HandleSet, ReadShapes, Seq, ShapeStore, ShapeStoreExt, SnapshotState, Timestamp,
    conformance,
};
use shape_meta_sqlite::{Inspector, SqliteStore};

use crate::support;

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn least_recently_used(store: &SqliteStore, n: usize) -> Vec<(String, u64)> {
    let found = store.least_recently_used(n, &HandleSet::new()).expect("reads");
    found.shapes.into_iter().map(|(handle, at)| (handle.as_str().to_owned(), at.as_micros())).collect()
}

#[test]
fn shapes_found_at_open_count_as_read_at_the_open() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=5);
    assert_eq!(least_recently_used(&store, 9), [], "shapes created by this store were never read");
    drop(store);

    let before = Timestamp::now().as_micros();
    let store = support::open(directory.path(), support::options());
    let opened =
        store.metadata(&conformance::handle(1)).expect("reads").expect("the shape is live").last_read;
    let opened = opened.expect("a shape found at open has a last-read time").as_micros();
    assert!(opened >= before);
    support::fill(&store, 6..=8);
    let handle = |number| conformance::handle(number).as_str().to_owned();
    // Shape 2 is read after the open, 4 before it (a clock that goes back); 6 and 7 are new.
    for (number, micros) in [(2, opened + 50), (4, 10), (6, 20), (7, opened + 10), (7, opened + 5)] {
        assert!(store.touch(&handle(number), at(micros)).expect("reads"));
    }
    let expected = [
        (handle(6), 20),
        (handle(1), opened),
        (handle(3), opened),
        (handle(4), opened),
        (handle(5), opened),
        (handle(7), opened + 10),
        (handle(2), opened + 50),
    ];
    for n in 0..=9 {
        assert_eq!(least_recently_used(&store, n), expected[..n.min(7)], "the {n} least recently used");
    }
    let excluded: HandleSet = [1, 4, 6].map(conformance::handle).into_iter().collect();
    let found = store.least_recently_used(2, &excluded).expect("reads").shapes;
    assert_eq!(found, [(conformance::handle(3), at(opened)), (conformance::handle(5), at(opened))]);

    let remove = |number| Change::Remove { entry: support::record(number).entry.clone() };
    store.apply(&support::batch(9, [remove(6), remove(1), remove(2)])).expect("the batch applies");
    assert_eq!(least_recently_used(&store, 2), [(handle(3), opened), (handle(4), opened)]);
    assert_eq!(least_recently_used(&store, 9).len(), 4);
}

#[test]
fn a_read_recorded_in_the_entry_of_a_batch_is_kept() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let record = support::record(1);
    let change = Change::Add { record: record.clone(), state: SnapshotState::Complete };
    store.apply(&support::batch(1, [change])).expect("the batch applies");
    let last_read = || {
        let metadata = store.metadata(record.handle()).expect("reads").expect("the shape is live");
        metadata.last_read.map(Timestamp::as_micros)
    };
    assert_eq!(last_read(), None);
    // A layer above still holds the entry, and records a read in it long after the commit.
    for round in 2..6 {
        record.entry.touch(at(round * 10));
        assert_eq!(last_read(), Some(round * 10));
        support::fill(&store, round..=round);
    }
    store.touch(record.handle(), at(70)).expect("reads");
    assert_eq!(record.entry.last_read(), Some(at(70)));
    let handle = record.handle().clone();
    drop(record);
    support::fill(&store, 6..=6);
    store.touch(&handle, at(60)).expect("reads");
    let last_read = store.metadata(&handle).expect("reads").expect("the shape is live").last_read;
    assert_eq!(last_read, Some(at(70)), "the last read outlives the entry");
}

#[test]
fn i6_a_repeated_batch_counts_once() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    let adds = [support::add(1, SnapshotState::Complete), support::add(2, SnapshotState::Complete)];
    let batch = support::batch(2, adds);
    store.apply(&batch).expect("the batch applies");
    store.touch(&conformance::handle(1), at(5)).expect("reads");
    let reset = support::batch(3, [Change::Reset]);
    store.apply(&reset).expect("the batch applies");
    support::fill(&store, 4..=4);
    store.touch(&conformance::handle(4), at(6)).expect("reads");
    store.apply(&batch).expect("a repeated batch applies (I6)");
    store.apply(&reset).expect("a repeated batch applies (I6)");
    assert_eq!(least_recently_used(&store, 9), [(conformance::handle(4).as_str().to_owned(), 6)]);
}

const YEAR: u64 = 365 * 86_400_000_000;

fn in_years(years: u64) -> i64 {
    (Timestamp::now().as_micros() + years * YEAR).cast_signed()
}

/// Returns a column of times, which it checks to be in the past, in the order of ids.
fn past_times(directory: &Path, sql: &str) -> Vec<i64> {
    let connection = support::raw_connection(directory);
    let mut statement = connection.prepare(sql).expect("prepares");
    let times: Vec<i64> =
        statement.query_map([], |row| row.get(0)).expect("reads").map(Result::unwrap).collect();
    assert!(times.iter().all(|at| (1..=in_years(0)).contains(at)), "{sql}: {times:?}");
    times
}

/// A clock that was 20 years ahead at one open. Once, its shapes were the last to be evicted until 2046, so
/// that shapes in use were the first.
#[test]
fn c1_a_clock_that_was_ahead_at_one_open_ages_nothing() {
    let directory = support::directory();
    for number in 1..=4 {
        let store = support::open(directory.path(), support::options());
        support::fill(&store, number..=number);
        if number == 4 {
            let read = |number| (Seq::new(number), Timestamp::now());
            store.save_reads(&[read(1), read(2)]).expect("saved");
        }
    }
    let connection = support::raw_connection(directory.path());
    for (sql, rows) in [
        // The second opening found shape 1, the third one shape 2, the fourth one shape 3.
        ("UPDATE opening SET at = ?1 WHERE through IN (1, 2)", 2),
        ("UPDATE last_read SET at = ?1 WHERE id = 2", 1),
        ("UPDATE owner SET since = ?1", 1),
    ] {
        assert_eq!(connection.execute(sql, [in_years(20)]).expect("set the time"), rows, "{sql}");
    }
    drop(connection);

    let handle = |number| conformance::handle(number).as_str().to_owned();
    let mut first_seen = None;
    for _ in 0..2 {
        let store = support::open(directory.path(), support::options());
        let found = least_recently_used(&store, 9);
        assert_eq!(found.len(), 4);
        assert!(found.is_sorted_by_key(|(_, at)| *at), "{found:?}");
        let now = Timestamp::now();
        assert!(store.touch(&handle(2), now).expect("reads"), "in use");
        let found = least_recently_used(&store, 9);
        assert_eq!(found.last(), Some(&(handle(2), now.as_micros())), "{found:?}");
        // What the clock said counts as the next opening at the latest, and always as the same.
        let seen: Vec<_> = (1..=3).map(|number| store.first_seen_at(Seq::new(number))).collect();
        assert!(seen.is_sorted(), "{seen:?}");
        assert_eq!(*first_seen.get_or_insert_with(|| seen.clone()), seen);
        while store.sweep_reads().expect("saves").more {}
    }
    past_times(directory.path(), "SELECT at FROM last_read ORDER BY id");
}

/// The clock is ahead of now at an opening that finds nothing new, or is set back before the next one.
#[test]
fn c1_the_latest_opening_is_never_in_the_future() {
    let directory = support::directory();
    let open = || drop(support::open(directory.path(), support::options()));
    support::fill(&support::open(directory.path(), support::options()), 1..=3);
    open();
    for at in [in_years(20), -1, i64::MIN, i64::MAX] {
        let set = "UPDATE opening SET at = ?1";
        assert_eq!(support::raw_connection(directory.path()).execute(set, [at]).expect("sets"), 1);
        open();
        past_times(directory.path(), "SELECT at FROM opening");
    }
    let before = past_times(directory.path(), "SELECT at FROM opening");
    open();
    assert_eq!(past_times(directory.path(), "SELECT at FROM opening"), before, "the first one counts");
}

/// Times that no clock of now can have written: in the future, negative, and at the ends of the range.
#[test]
fn c1_stored_times_that_cannot_be_count_as_now() {
    for keeps_last_reads in [true, false] {
        let directory = support::directory();
        support::fill(&support::open(directory.path(), support::options()), 1..=5);
        let times = [in_years(0) - 60_000_000, in_years(20), -1, i64::MIN, i64::MAX];
        let connection = support::raw_connection(directory.path());
        for (id, at) in (1..).zip(times) {
            let sql = "INSERT INTO last_read (id, at) VALUES (?1, ?2)";
            connection.execute(sql, [id, at]).expect("sets the time");
        }
        drop(connection);

        let options = support::options().last_reads(keeps_last_reads);
        let store = support::open(directory.path(), options.clone());
        let now = Timestamp::now().as_micros();
        if keeps_last_reads {
            let found = least_recently_used(&store, 9);
            assert_eq!(found[0], (conformance::handle(1).as_str().to_owned(), times[0].cast_unsigned()));
            assert!(found.iter().all(|(_, at)| *at <= now), "{found:?}");
            assert_eq!(found.len(), 5);
        }
        // What a layer above gets: all shapes, the delta of a standby, and the saved times.
        let mut loaded = Vec::new();
        store.load(&mut |entry| loaded.push(entry)).expect("loads");
        let delta = store.changes_since(Seq::ZERO).expect("reads");
        let added = delta.map_or_else(Vec::new, |delta| delta.added);
        let mut saved = Vec::new();
        store.saved_reads(&mut |_, at| saved.push(at)).expect("reads");
        let all = loaded.iter().chain(&added).filter_map(|entry| entry.last_read()).chain(saved);
        let all: Vec<_> = all.map(Timestamp::as_micros).collect();
        assert_eq!(all.iter().filter(|at| **at == times[0].cast_unsigned()).count() * 5, all.len());
        let now = Timestamp::now().as_micros();
        assert!(all.len() >= 10 && all.iter().all(|at| *at <= now), "{all:?}");

        // What an operator sees.
        let connection = support::raw_connection(directory.path());
        connection.execute("UPDATE owner SET since = ?1", [in_years(20)]).expect("sets the time");
        drop(connection);
        let inspector = Inspector::open(directory.path()).expect("opens");
        let mut listed = Vec::new();
        let each = |item: shape_meta_core::Result<shape_meta_core::ScanItem>| {
            listed.extend(item.expect("reads").metadata.last_read);
            true
        };
        inspector.scan(each).expect("reads");
        listed.extend(inspector.owner().expect("reads").since);
        assert_eq!(listed.len(), 6);
        assert!(listed.iter().all(|at| *at <= Timestamp::now()), "{listed:?}");
        inspector.finish().expect("reads");

        // They are written again, as times of this clock, by the layer that keeps them.
        if keeps_last_reads {
            while store.sweep_reads().expect("saves").more {}
        } else {
            let dirty = |entry: &Arc<Entry>| Some((entry.created(), entry.take_dirty_read()?));
            let dirty: Vec<_> = loaded.iter().filter_map(dirty).collect();
            assert_eq!(dirty.len(), 4);
            store.save_reads(&dirty).expect("saves");
        }
        let saved = past_times(directory.path(), "SELECT at FROM last_read ORDER BY id");
        assert_eq!((saved.len(), saved[0]), (5, times[0]));
    }
}

/// The clock is ahead while the store runs, and is corrected.
#[test]
fn c1_a_clock_set_back_during_a_run_ages_nothing() {
    let directory = support::directory();
    let store = support::open(directory.path(), support::options());
    support::fill(&store, 1..=3);
    let touch = |number, at| assert!(store.touch(&conformance::handle(number), at).expect("reads"));
    touch(1, Timestamp::from_micros(in_years(20).cast_unsigned()));
    touch(2, Timestamp::from_micros(u64::MAX));
    assert!(least_recently_used(&store, 9).iter().all(|(_, at)| *at <= Timestamp::now().as_micros()));
    while store.sweep_reads().expect("saves").more {}
    past_times(directory.path(), "SELECT at FROM last_read ORDER BY id");

    touch(1, Timestamp::now());
    touch(3, Timestamp::now());
    let found = least_recently_used(&store, 9);
    let order: Vec<_> = found.iter().map(|(handle, _)| handle.clone()).collect();
    let handle = |number| conformance::handle(number).as_str().to_owned();
    assert_eq!(order, [1, 3, 2].map(handle), "2 was not read again, and counts as now: {found:?}");
    store.save_reads(&[(Seq::new(2), Timestamp::from_micros(u64::MAX))]).expect("saves");
    past_times(directory.path(), "SELECT at FROM last_read ORDER BY id");
}

/// A repair takes no time from a clock that was ahead, and keeps the openings after it.
#[test]
fn c1_a_repair_corrects_times_in_the_future() {
    let directory = support::directory();
    for number in 1..=4 {
        let store = support::open(directory.path(), support::options());
        support::fill(&store, number..=number);
        store.save_reads(&[(Seq::new(number), Timestamp::now())]).expect("saved");
    }
    let connection = support::raw_connection(directory.path());
    let openings = past_times(directory.path(), "SELECT at FROM opening ORDER BY through");
    for sql in ["UPDATE opening SET at = ?1 WHERE through = 1", "UPDATE last_read SET at = ?1 WHERE id = 2"] {
        assert_eq!(connection.execute(sql, [in_years(20)]).expect("sets"), 1);
    }
    drop(connection);
    let store = support::open(directory.path(), support::options());
    store.rebuild_from(shape_meta_core::TrustedState::default()).expect("repairs");
    drop(store);
    assert_eq!(past_times(directory.path(), "SELECT at FROM last_read ORDER BY id").len(), 4);
    let repaired = past_times(directory.path(), "SELECT at FROM opening ORDER BY through");
    assert_eq!(repaired[..3], [openings[1], openings[1], openings[2]]);
}
