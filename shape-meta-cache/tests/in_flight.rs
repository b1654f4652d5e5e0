//! Between a commit and its publish the disk is ahead of the mirror. No read may show it (C1).

use std::{
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use shape_meta_cache::{CacheOptions, Cached, LookupIndex};
use shape_meta_core::{
    Change, Direct, Limits, MemoryStore, MutateShapesExt, NoopObserver, Observer, PublishStats, ReadShapes,
    ShapeStore, Wait,
    conformance::{
        FailingStore, Side, handle, key, shape,
        store::{added, removed},
    },
};

use crate::support::{batch, cached, cached_below_buffer, record, relation};

type Store = Cached<FailingStore<MemoryStore>>;

fn over_failing(options: CacheOptions) -> Store {
    cached(FailingStore::new(MemoryStore::new()), options)
}

/// Blocks an apply between its commit and its return. Returns whether `read` returned before the apply was
/// released.
fn returns_in_flight(cached: &Store, change: Change, read: impl FnOnce(&Store) + Send) -> bool {
    let gate = cached.inner().faults().block_apply(Side::After);
    let through = cached.last_seq().unwrap().next().get();
    let released = AtomicBool::new(false);
    let (done, is_done) = mpsc::channel();
    thread::scope(|scope| {
        let apply = scope.spawn(|| cached.apply(&batch(through, [change])));
        gate.wait_until_blocked();
        let reader = scope.spawn(|| {
            read(cached);
            let early = !released.load(SeqCst);
            done.send(()).unwrap();
            early
        });
        // A reader that does not wait ends long before this time-out. For one that waits, the time-out only
        // ends the wait for it.
        let _ = is_done.recv_timeout(Duration::from_millis(100));
        released.store(true, SeqCst);
        gate.release();
        apply.join().unwrap().unwrap();
        reader.join().unwrap()
    })
}

#[test]
fn c1_a_scan_does_not_run_ahead_of_look_ups() {
    let cached = over_failing(CacheOptions::default());
    let new = record(1, 1);
    let early = returns_in_flight(&cached, added(&new), |cached| {
        assert_eq!(cached.scan().unwrap().count(), 1, "the disk shows it");
        assert!(cached.metadata(&handle(1)).unwrap().is_some(), "and the mirror shows it");
        assert_eq!(cached.counts().unwrap().total, 1);
    });
    assert!(!early);
}

#[test]
fn c1_look_ups_on_disk_wait_for_the_publish() {
    let cached = over_failing(CacheOptions::default().lookup_index(LookupIndex::Disk));
    let new = record(1, 1);
    let early = returns_in_flight(&cached, added(&new), |cached| {
        assert_eq!(cached.handle_for(&key(1)).unwrap(), Some(handle(1)));
        assert!(cached.metadata(&handle(1)).unwrap().is_some());
    });
    assert!(!early);
    let early = returns_in_flight(&cached, removed(&new), |cached| {
        assert!(cached.handles_for_relations(&[relation(1)]).unwrap().is_empty());
        assert_eq!(cached.metadata(&handle(1)).unwrap(), None);
    });
    assert!(!early);
}

#[test]
fn c1_a_record_missing_on_disk_is_missing_in_the_mirror() {
    let cached = over_failing(CacheOptions::default());
    let new = record(1, 1);
    cached.apply(&batch(1, [added(&new)])).unwrap();
    let early = returns_in_flight(&cached, removed(&new), |cached| {
        assert!(cached.record(&handle(1)).unwrap().is_none());
        assert_eq!(cached.metadata(&handle(1)).unwrap(), None);
    });
    assert!(!early);
}

#[test]
fn i5_reads_of_the_mirror_never_wait_for_the_disk() {
    let cached = over_failing(CacheOptions::default());
    let old = record(1, 1);
    cached.apply(&batch(1, [added(&old)])).unwrap();
    let new = record(2, 2);
    let early = returns_in_flight(&cached, added(&new), |cached| {
        assert!(cached.metadata(&handle(1)).unwrap().is_some());
        assert_eq!(cached.metadata(&handle(2)).unwrap(), None, "not published yet");
        assert_eq!(cached.handle_for(&key(2)).unwrap(), None);
        assert!(cached.handles_for_relations(&[relation(2)]).unwrap().is_empty());
        assert_eq!(cached.counts().unwrap().total, 1);
        assert!(cached.record(&handle(1)).unwrap().is_some(), "a record that exists does not wait either");
    });
    assert!(early);
}

#[test]
fn below_a_buffer_no_read_waits() {
    let cached = cached_below_buffer(FailingStore::new(MemoryStore::new()), CacheOptions::default());
    let new = record(1, 1);
    let early = returns_in_flight(&cached, added(&new), |cached| {
        assert_eq!(cached.scan().unwrap().count(), 1);
    });
    assert!(early);
}

/// Scans the store at each publish.
#[derive(Default)]
struct Scans {
    store: OnceLock<Weak<Direct<Cached<MemoryStore>>>>,
    scanned: Mutex<Vec<usize>>,
}

impl Observer for Scans {
    fn published(&self, _: &PublishStats) {
        if let Some(store) = self.store.get().and_then(Weak::upgrade) {
            self.scanned.lock().unwrap().push(store.scan().unwrap().count());
        }
    }
}

/// Once, it hung: the scan waited for the publish, which waited for the observer.
#[test]
fn c1_an_observer_of_a_publish_may_read_the_store() {
    let observer = Arc::new(Scans::default());
    let cached =
        Cached::open(MemoryStore::new(), CacheOptions::default(), Arc::clone(&observer) as _).unwrap();
    let store = Arc::new(Direct::new(cached, Limits::default(), Arc::new(NoopObserver)).unwrap());
    observer.store.set(Arc::downgrade(&store)).unwrap();
    for number in 1..=3 {
        store.add(shape(number), Wait::No).unwrap();
    }
    assert_eq!(*observer.scanned.lock().unwrap(), [1, 2, 3]);
}
