use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    thread,
};

use shape_meta_core::{
    Batch, Change, MemoryStore, NoopObserver, ReadShapes, ReadShapesExt, Record, Relation, Seq, ShapeStore,
    SnapshotState, Timestamp,
};

use super::{entry, record};
use crate::{CacheOptions, Cached};

/// In every view of the table, the shape is in all indexes and counted, or in none and not counted.
#[test]
fn c1_all_indexes_of_a_shape_change_in_one_step() {
    let cached = Cached::open(MemoryStore::new(), CacheOptions::default(), Arc::new(NoopObserver)).unwrap();
    let (done, seen) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let probe = record(1, 1, 1, 3);
                let mut last_seq = Seq::ZERO;
                while !done.load(SeqCst) {
                    cached.mirror.read(|view| {
                        let slots = &cached.mirror.slots;
                        let handle = view.by_handle(slots, probe.handle()).map(|entry| entry.created());
                        let key = view.by_key(slots, probe.key()).map(|entry| entry.created());
                        assert_eq!(handle, key);
                        for relation in 0..3 {
                            let mut shapes = view.by_relation(Relation::new(relation));
                            assert_eq!(shapes.next().map(|entry| entry.created()), handle);
                            assert!(shapes.next().is_none());
                        }
                        let totals = view.totals();
                        assert_eq!(totals.counts.total, u64::from(handle.is_some()));
                        assert!(totals.last_seq >= last_seq, "it never goes back");
                        last_seq = totals.last_seq;
                        seen.fetch_add(u64::from(handle.is_some()), SeqCst);
                    });
                }
            });
        }
        let mut seq = 0;
        while seq < 400 || seen.load(SeqCst) < 100 {
            let new = record(seq + 1, 1, 1, 3);
            let entry = Arc::clone(&new.entry);
            for change in
                [Change::Add { record: new, state: SnapshotState::Pending }, Change::Remove { entry }]
            {
                seq += 1;
                cached.apply(&Batch { changes: vec![change], through: Seq::new(seq) }).unwrap();
            }
        }
        done.store(true, SeqCst);
    });
    assert_eq!(cached.counts().unwrap().total, 0);
}

/// Threads that start while the writer publishes can all read, even if there are more than prepared read
/// handles.
#[test]
fn every_thread_can_read_while_the_writer_publishes() {
    let options = CacheOptions::default().preallocated_readers(1);
    let cached = Cached::open(MemoryStore::new(), options, Arc::new(NoopObserver)).unwrap();
    let new = record(1, 1, 1, 1);
    let handle = new.handle().clone();
    let add = Change::Add { record: new, state: SnapshotState::Pending };
    cached.apply(&Batch { changes: vec![add], through: Seq::new(1) }).unwrap();
    for round in 0..20 {
        // All at once: a thread that has ended leaves its read handle to the next one.
        let all_read = Barrier::new(8);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    assert!(cached.metadata(&handle).unwrap().is_some());
                    all_read.wait();
                });
            }
            cached.apply(&Batch { changes: vec![], through: Seq::new(round + 2) }).unwrap();
        });
    }
}

/// The entry list changes before and after the publish. Neither is visible: while a publish waits for a
/// reader, reads return the previous batch.
#[test]
fn c1_least_recently_used_returns_only_published_shapes() {
    let cached = Cached::open(MemoryStore::new(), CacheOptions::default(), Arc::new(NoopObserver)).unwrap();
    let [old, new] = [1, 2].map(|number| record(number, number, number, 1));
    for record in [&old, &new] {
        record.entry.touch(Timestamp::from_micros(record.entry.created().get()));
    }
    let add =
        |record: &Arc<Record>| Change::Add { record: Arc::clone(record), state: SnapshotState::Pending };
    cached.apply(&Batch { changes: vec![add(&old)], through: Seq::new(1) }).unwrap();
    let last_reads = || {
        let shapes = cached.lru(9).unwrap().shapes;
        shapes.into_iter().map(|(_, at)| at.as_micros()).collect::<Vec<_>>()
    };
    let cached = &cached;
    thread::scope(|scope| {
        cached.mirror.read(|_| {
            // A reader does not block the first publish, but the next one waits for it.
            cached.apply(&Batch { changes: vec![], through: Seq::new(2) }).unwrap();
            let removal = Change::Remove { entry: Arc::clone(&old.entry) };
            let batch = Batch { changes: vec![add(&new), removal], through: Seq::new(3) };
            scope.spawn(move || cached.apply(&batch).unwrap());
            while cached.mirror.entry_list.get(Seq::new(2)).is_none() {
                thread::yield_now();
            }
            assert_eq!(scope.spawn(last_reads).join().unwrap(), [1]);
        });
    });
    assert_eq!(last_reads(), [2]);
}

/// Once, the selection was repeated as long as one of its shapes was removed meanwhile.
#[test]
fn c14_removals_repeat_the_least_recently_used_twice_at_most() {
    let cached = Cached::open(MemoryStore::new(), CacheOptions::default(), Arc::new(NoopObserver)).unwrap();
    for number in 1..=1_000 {
        let entry = entry(number);
        entry.touch(Timestamp::from_micros(number));
        cached.mirror.entry_list.insert(entry);
    }
    // As while batches are being published. Of every ten shapes that are looked up, the first is removed.
    cached.mirror.entry_list.begin_change();
    let (looked_up, removed) = (AtomicU64::new(0), std::sync::Mutex::new(foldhash::HashSet::default()));
    let is_live = |entry: &shape_meta_core::Entry| {
        let mut removed = removed.lock().unwrap();
        if looked_up.fetch_add(1, SeqCst) % 10 == 0 {
            removed.insert(entry.created());
        }
        !removed.contains(&entry.created())
    };
    let found = cached.mirror.least_recently_used_of(10, &Default::default(), is_live).shapes;
    assert!(looked_up.load(SeqCst) <= 2 * 10 + 1_000, "{looked_up:?} look-ups");
    let times: Vec<_> = found.iter().map(|(_, at)| at.as_micros()).collect();
    // 1 and 2 were removed in the limited selections, and 3 and 13 in the last one.
    assert_eq!(times, [4, 5, 6, 7, 8, 9, 10, 11, 12, 14]);
}

/// A mark is visible before its sequence number is published. A reader that has seen the mark then gets no
/// earlier sequence number.
#[test]
fn c1_last_seq_is_not_behind_a_mark_that_was_read() {
    let cached = Cached::open(MemoryStore::new(), CacheOptions::default(), Arc::new(NoopObserver)).unwrap();
    let shape = record(1, 1, 1, 1);
    let add = Change::Add { record: Arc::clone(&shape), state: SnapshotState::Pending };
    cached.apply(&Batch { changes: vec![add], through: Seq::new(1) }).unwrap();
    let (cached, handle) = (&cached, shape.handle());
    thread::scope(|scope| {
        let last_seq = cached.mirror.read(|_| {
            // A reader does not block the first publish, but the next one waits for it.
            cached.apply(&Batch { changes: vec![], through: Seq::new(2) }).unwrap();
            let mark = Change::Mark { entry: Arc::clone(&shape.entry), state: SnapshotState::Started };
            let batch = Batch { changes: vec![mark], through: Seq::new(3) };
            scope.spawn(move || cached.apply(&batch).unwrap());
            let (seen, was_seen) = mpsc::channel();
            let last_seq = scope.spawn(move || {
                while !cached.is_snapshot_started(handle).unwrap() {
                    thread::yield_now();
                }
                seen.send(()).unwrap();
                cached.last_seq().unwrap()
            });
            was_seen.recv().unwrap();
            Some(last_seq)
        });
        assert_eq!(last_seq.unwrap().join().unwrap(), Seq::new(3));
    });
}
