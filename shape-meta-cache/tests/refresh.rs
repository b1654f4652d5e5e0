//! A store that someone else writes, and that says what has changed.

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

/// What it is told.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl Observer for Log {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        self.note(activity.name().to_owned());
        Some(Box::new(self.clone()))
    }

    fn published(&self, published: &PublishStats) {
        self.note(format!("published {}", published.changes));
    }
}

impl Span for Log {
    fn end(self: Box<Self>, error: Option<&Error>) {
        self.note(error.map_or("done", |_| "failed").to_owned());
    }
}

/// Shows shapes 1 to 6, created at these places.
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

/// How many shapes there are, and how many have an even number.
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

/// Every way to a shape says that it is there just if its number is among these.
fn assert_shows(cached: &Cached<Scripted>, numbers: &[u64]) {
    for number in 1..=12 {
        let is = numbers.contains(&number);
        assert_eq!(cached.has_handle(&handle(number)).unwrap(), is, "{number}");
        assert_eq!(cached.handle_for(&key(number)).unwrap().is_some(), is, "{number}");
        let readers = cached.handles_for_relations(&[relation(number)]).unwrap();
        assert_eq!(readers.contains(&handle(number)), is, "{number}");
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
fn what_has_changed_is_shown_in_one_step_and_once() {
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
    assert_eq!(*cached.inner().asked.lock().unwrap(), [Seq::new(6)]);
    assert_eq!(log.take(), ["refresh", "published 5", "done"]);
    assert_shows(&cached, &[1, 3, 4, 5, 6, 8, 9, 11]);
    assert!(cached.is_snapshot_started(&handle(3)).unwrap());
    assert_eq!(cached.last_seq().unwrap(), Seq::new(12));

    assert_eq!(refresh(&cached, &delta), expected(0, 0, 0, 12), "I6: all of it is so already");
    assert_eq!(log.take(), ["refresh", "done"], "nothing is to be shown");
    let further = Delta { through: Seq::new(13), ..delta };
    assert_eq!(refresh(&cached, &further), expected(0, 0, 0, 13));
    assert_eq!(log.take(), ["refresh", "published 0", "done"]);
    assert_eq!(cached.last_seq().unwrap(), Seq::new(13), "but the place is");
}

#[test]
fn a_reset_takes_away_what_was_before_it() {
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

/// What was added again at the place of a shape that a reset took away is another one.
#[test]
fn a_shape_before_a_reset_that_is_there_after_it_is_added() {
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

/// Place and numbers may be the same though there is something new, after a repair below.
#[test]
fn what_has_changed_without_a_new_place_is_shown_too() {
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
fn if_the_numbers_do_not_come_out_right_everything_is_read_again() {
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
fn reads_that_were_saved_are_learned_and_who_was_never_read_was_found() {
    let (cached, _) = mirror();
    let at = Timestamp::from_micros;
    cached.inner().saved.lock().unwrap().push(vec![
        (Seq::new(1), at(5)),
        (Seq::new(2), at(5)),
        (Seq::new(77), at(5)),
    ]);
    assert!(cached.touch(&handle(2), at(8)).unwrap());
    cached.learn_reads(|created| (created < Seq::new(6)).then_some(at(6))).unwrap();
    let reads = || -> Vec<_> {
        let metadata = (1..=6).map(|number| cached.metadata(&handle(number)).unwrap().unwrap());
        metadata.map(|metadata| metadata.last_read.map_or(0, Timestamp::as_micros)).collect()
    };
    assert_eq!(reads(), [5, 8, 6, 6, 6, 0]);
    cached.learn_reads(|_| Some(at(9))).unwrap();
    assert_eq!(reads(), [5, 8, 6, 6, 6, 9], "each was found once");
}
