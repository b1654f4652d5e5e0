//! Refreshes from a store that another process writes and that has a change log.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    Activity, Counts, Delta, Entry, Error, Observer, PublishStats, ReadShapes, ReadShapesExt, RefreshReport,
    Seq, ShapeStore, SnapshotState, Span, Timestamp,
    conformance::{handle, key, shape, store::added},
};

use crate::{
    scripted::Scripted,
    support::{batch, record, relation},
};

/// Records the calls of an observer.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn record(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl Observer for Log {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        self.record(activity.name().to_owned());
        Some(Box::new(self.clone()))
    }

    fn published(&self, published: &PublishStats) {
        self.record(format!("published {}", published.changes));
    }
}

impl Span for Log {
    fn end(self: Box<Self>, error: Option<&Error>) {
        self.record(error.map_or("done", |_| "failed").to_owned());
    }
}

/// Opens a mirror of shapes 1 to 6, created at these sequence numbers.
fn mirror() -> (Cached<Scripted>, Log) {
    let below = Scripted::default();
    let records: Vec<_> = (1..=6).map(|number| record(number, number)).collect();
    below.apply(&batch(6, records.iter().map(added))).unwrap();
    let log = Log::default();
    (Cached::open(below, CacheOptions::default(), Arc::new(log.clone())).unwrap(), log)
}

fn entries(numbers: impl IntoIterator<Item = u64>) -> Vec<Arc<Entry>> {
    numbers.into_iter().map(|number| Arc::clone(&record(number, number).entry)).collect()
}

/// Returns the counts of these shapes. Those with an even number are indexed.
fn counts(numbers: &[u64]) -> Counts {
    let indexed = numbers.iter().filter(|number| shape(**number).indexed).count() as u64;
    Counts { total: numbers.len() as u64, indexed }
}

fn refresh(cached: &Cached<Scripted>, delta: &Delta) -> RefreshReport {
    *cached.inner().delta.lock().unwrap() = Some(delta.clone());
    let mut refreshed = cached.refresh().unwrap();
    assert!(refreshed.took > Duration::ZERO);
    refreshed.took = Duration::ZERO;
    refreshed
}

/// Asserts that every look-up finds exactly the shapes with these numbers.
fn assert_shows(cached: &Cached<Scripted>, numbers: &[u64]) {
    for number in 1..=12 {
        let is_live = numbers.contains(&number);
        assert_eq!(cached.has_handle(&handle(number)).unwrap(), is_live, "{number}");
        assert_eq!(cached.handle_for(&key(number)).unwrap().is_some(), is_live, "{number}");
        let handles = cached.handles_for_relations(&[relation(number)]).unwrap();
        assert_eq!(handles.contains(&handle(number)), is_live, "{number}");
    }
    let mut shown = BTreeSet::new();
    cached.load(&mut |entry| assert!(shown.insert(entry.created().get()))).unwrap();
    assert!(shown.iter().eq(numbers), "{shown:?}");
    assert_eq!(cached.counts().unwrap(), counts(numbers));
}

fn expected(added: usize, removed: usize, marked: usize, through: u64) -> RefreshReport {
    let mut expected = RefreshReport::default();
    (expected.added, expected.removed, expected.marked) = (added, removed, marked);
    expected.through = Seq::new(through);
    expected
}

#[test]
fn changes_are_published_in_one_step_and_once() {
    let (cached, log) = mirror();
    let delta = Delta {
        removed: vec![Seq::new(2), Seq::new(99)],
        marked: vec![(Seq::new(3), SnapshotState::Started), (Seq::new(98), SnapshotState::Started)],
        added: entries([8, 9, 11]),
        counts: counts(&[1, 3, 4, 5, 6, 8, 9, 11]),
        through: Seq::new(12),
        ..Delta::default()
    };
    assert_eq!(refresh(&cached, &delta), expected(3, 1, 1, 12));
    assert_eq!(*cached.inner().changes_since.lock().unwrap(), [Seq::new(6)]);
    assert_eq!(log.take(), ["refresh", "published 5", "done"]);
    assert_shows(&cached, &[1, 3, 4, 5, 6, 8, 9, 11]);
    assert!(cached.is_snapshot_started(&handle(3)).unwrap());
    assert_eq!(cached.last_seq().unwrap(), Seq::new(12));

    assert_eq!(refresh(&cached, &delta), expected(0, 0, 0, 12), "I6: all of it is applied already");
    assert_eq!(log.take(), ["refresh", "done"], "nothing is published");
    let further = Delta { through: Seq::new(13), ..delta };
    assert_eq!(refresh(&cached, &further), expected(0, 0, 0, 13));
    assert_eq!(log.take(), ["refresh", "published 0", "done"]);
    assert_eq!(cached.last_seq().unwrap(), Seq::new(13), "the sequence number is published");
}

#[test]
fn a_reset_removes_only_earlier_shapes() {
    let (cached, log) = mirror();
    let delta = Delta {
        reset: Some(Seq::new(4)),
        removed: vec![Seq::new(3), Seq::new(5)],
        marked: vec![(Seq::new(4), SnapshotState::Started), (Seq::new(6), SnapshotState::Complete)],
        added: entries([9]),
        counts: counts(&[6, 9]),
        through: Seq::new(9),
    };
    assert_eq!(refresh(&cached, &delta), expected(1, 5, 1, 9));
    assert_shows(&cached, &[6, 9]);
    assert_eq!(log.take(), ["refresh", "published 7", "done"]);
    assert_eq!(refresh(&cached, &delta), expected(0, 0, 0, 9), "I6");

    let all = Delta {
        reset: Some(Seq::new(10)),
        added: entries([12]),
        counts: counts(&[12]),
        through: Seq::new(12),
        ..Delta::default()
    };
    assert_eq!(refresh(&cached, &all), expected(1, 2, 0, 12));
    assert_shows(&cached, &[12]);
    let none = Delta { reset: Some(Seq::new(11)), added: vec![], counts: counts(&[12]), ..all };
    assert_eq!(refresh(&cached, &none), expected(0, 0, 0, 12));
    assert_shows(&cached, &[12]);
}

/// A shape that is added again with the sequence number of a shape that a reset removed is a new one.
#[test]
fn a_shape_with_the_seq_of_a_reset_one_is_added() {
    let (cached, log) = mirror();
    let delta = Delta {
        reset: Some(Seq::new(6)),
        added: entries([5]),
        counts: counts(&[5]),
        through: Seq::new(9),
        ..Delta::default()
    };
    assert_eq!(refresh(&cached, &delta), expected(1, 6, 0, 9));
    assert_shows(&cached, &[5]);
    assert_eq!(log.take(), ["refresh", "published 2", "done"], "a reset of all is one change");
}

/// After a repair below, sequence number and counts can be the same although something has changed.
#[test]
fn changes_without_a_new_sequence_number_are_shown() {
    let (cached, _) = mirror();
    let mut delta = Delta {
        removed: vec![Seq::new(2)],
        added: entries([8]),
        counts: counts(&[1, 3, 4, 5, 6, 8]),
        through: Seq::new(6),
        ..Delta::default()
    };
    assert_eq!(refresh(&cached, &delta), expected(1, 1, 0, 6));
    assert_shows(&cached, &[1, 3, 4, 5, 6, 8]);
    delta.marked = vec![(Seq::new(3), SnapshotState::Started)];
    assert_eq!(refresh(&cached, &delta), expected(0, 0, 1, 6));
    assert!(cached.is_snapshot_started(&handle(3)).unwrap());
}

#[test]
fn wrong_counts_cause_a_full_reload() {
    let (cached, log) = mirror();
    cached.inner().apply(&batch(8, [added(&record(8, 8))])).unwrap();
    for counts in [Counts { total: 8, indexed: 4 }, Counts { total: 7, indexed: 3 }] {
        let delta = Delta { added: entries([8]), counts, through: Seq::new(8), ..Delta::default() };
        let refreshed = refresh(&cached, &delta);
        assert!(refreshed.full);
        assert_eq!(refreshed.through, Seq::new(8));
        assert_shows(&cached, &[1, 2, 3, 4, 5, 6, 8]);
    }
    log.take();
    cached.inner().fail_loads.store(true, std::sync::atomic::Ordering::SeqCst);
    cached.reload().unwrap_err();
    assert_eq!(log.take(), ["refresh", "failed"]);
    assert_shows(&cached, &[1, 2, 3, 4, 5, 6, 8]);
}

#[test]
fn saved_reads_are_merged_and_unread_shapes_get_a_time() {
    let (cached, _) = mirror();
    let at = Timestamp::from_micros;
    cached.inner().saved.lock().unwrap().push(vec![
        (Seq::new(1), at(5)),
        (Seq::new(2), at(5)),
        (Seq::new(77), at(5)),
    ]);
    assert!(cached.touch(&handle(2), at(8)).unwrap());
    cached.merge_saved_reads(|created| (created < Seq::new(6)).then_some(at(6))).unwrap();
    let reads = || -> Vec<_> {
        let metadata = (1..=6).map(|number| cached.metadata(&handle(number)).unwrap().unwrap());
        metadata.map(|metadata| metadata.last_read.map_or(0, Timestamp::as_micros)).collect()
    };
    assert_eq!(reads(), [5, 8, 6, 6, 6, 0]);
    cached.merge_saved_reads(|_| Some(at(9))).unwrap();
    assert_eq!(reads(), [5, 8, 6, 6, 6, 9], "the first time is kept");
}
