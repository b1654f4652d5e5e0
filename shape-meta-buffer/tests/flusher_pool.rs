//! Stores that share flusher threads.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use shape_meta_buffer::{BufferOptions, Buffered, FlusherOptions, FlusherPool};
use shape_meta_core::{
    Activity, Degradation, ErrorKind, HealthState, MemoryStore, MutateShapesExt, NoopObserver, NotDurable,
    Observer, Span, StoreControl, Wait,
    conformance::{FailingStore, Gate, Side},
};

use crate::support::{Failing, LONG_TIMEOUT, add, below, buffered, handles, shape, until};

fn sharing(flushers: &FlusherPool) -> Buffered<Failing> {
    let options = BufferOptions::default().flush_interval(Duration::ZERO).flushers(flushers);
    buffered(FailingStore::new(Arc::default()), options.lag_threshold(Duration::from_millis(1)))
}

/// Opens a store whose flush hangs.
fn hanging(flushers: &FlusherPool) -> (Buffered<Failing>, Gate) {
    let store = sharing(flushers);
    let gate = hang(&store);
    (store, gate)
}

fn hang(store: &Buffered<Failing>) -> Gate {
    let gate = store.inner().faults().block_apply(Side::Before);
    add(store, "hangs", 1_000);
    gate.wait_until_blocked();
    gate
}

fn pool(threads: usize, max_threads: usize) -> FlusherPool {
    let options = FlusherOptions::default().threads(threads).max_threads(max_threads);
    FlusherPool::new(options.slow_threshold(Duration::from_millis(1)))
}

#[test]
fn a_thousand_idle_stores_share_one_thread() {
    let flushers = pool(3, 3);
    let stores: Vec<_> = (0..1_000).map(|_| sharing(&flushers)).collect();
    assert_eq!(flushers.stats().stores, 1_000);
    assert_eq!(flushers.stats().threads, 1);
    let receipts: Vec<_> = stores.iter().map(|store| add(store, "h", 1)).collect();
    for receipt in receipts {
        receipt.passive().wait_durable(LONG_TIMEOUT).expect("flushed");
    }
    let threads = flushers.stats().threads;
    assert!((1..=4).contains(&threads), "three that flush and a watcher, not {threads}");
    drop(stores);
    assert_eq!(flushers.stats().stores, 0);
}

#[test]
fn stores_that_hang_hold_up_no_other() {
    for opened_before in [true, false] {
        let flushers = pool(1, 3);
        let [first, second] = [sharing(&flushers), sharing(&flushers)];
        let good = opened_before.then(|| sharing(&flushers));
        let (_first_gate, second_gate) = (hang(&first), hang(&second));
        let good = good.unwrap_or_else(|| sharing(&flushers));
        for key in 0..10 {
            add(&good, &format!("h{key}"), key).wait_durable(LONG_TIMEOUT).expect("a third thread");
        }
        assert_eq!(flushers.stats().slow, 2);
        assert_eq!(flushers.stats().threads, 3);
        second_gate.release();
        second.flush(LONG_TIMEOUT).expect("it does not hang any more");
        assert!(matches!(second.health().state, HealthState::Ready));
    }
}

/// Sends a message when its store saves last-read times.
struct SaveEvents(Mutex<mpsc::Sender<()>>);

impl Observer for SaveEvents {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        if let Activity::SaveReads = activity {
            // The test may have ended.
            let _ = self.0.lock().expect("no panic").send(());
        }
        None
    }
}

/// A watcher that waits for a distant timer is notified of a store that is due before that.
#[test]
fn a_store_that_is_opened_later_and_due_earlier_runs_first() {
    let hour = Duration::from_secs(3_600);
    for first_due in [hour, Duration::MAX] {
        let flushers = pool(2, 2);
        let options = BufferOptions::default().flush_interval(Duration::ZERO).flushers(&flushers);
        let quiet = buffered(
            FailingStore::new(Arc::<MemoryStore>::default()),
            options.clone().last_read_save_interval(first_due),
        );
        // About then its thread begins to wait.
        add(&quiet, "h", 1).wait_durable(LONG_TIMEOUT).expect("flushed");
        let (sender, events) = mpsc::channel();
        let options = options.last_read_save_interval(Duration::from_millis(1));
        let observer = Arc::new(SaveEvents(Mutex::new(sender)));
        let _busy = Buffered::new(MemoryStore::new(), options, observer).expect("memory does not fail");
        events.recv_timeout(LONG_TIMEOUT).expect("it is due in a millisecond");
    }
}

/// The same for the timer of a store whose flush has just ended on another thread.
#[test]
fn the_watcher_is_notified_of_an_earlier_timer_after_a_flush() {
    for quiet_due in [Duration::from_secs(3_600), Duration::MAX] {
        let flushers = pool(2, 2);
        let options = BufferOptions::default().flushers(&flushers).last_read_save_interval(quiet_due);
        let open = |age| buffered(FailingStore::new(Arc::default()), options.clone().flush_interval(age));
        let (quiet, timed) = (open(Duration::ZERO), open(Duration::from_millis(20)));
        let gate = hang(&timed);
        add(&quiet, "h", 1).wait_durable(LONG_TIMEOUT).expect("flushed by another thread, which then waits");
        let receipt = add(&timed, "h", 1);
        gate.release();
        receipt.passive().wait_durable(LONG_TIMEOUT).expect("it is due in 20 ms");
    }
}

/// As documented for a pool in which every thread hangs, and C10 in such a pool.
#[test]
fn c10_a_store_is_closed_although_all_threads_hang() {
    let flushers = pool(1, 1);
    let (_hangs, gate) = hanging(&flushers);
    let good = sharing(&flushers);
    let receipt = add(&good, "h", 1);
    assert!(matches!(receipt.wait_durable(Duration::from_millis(5)), Err(NotDurable::TimedOut)));
    let stats = flushers.stats();
    assert_eq!((stats.slow, stats.waiting), (1, 1));
    assert!(stats.behind > Duration::ZERO);
    let state = good.health().state;
    assert!(matches!(state, HealthState::Degraded { why: Degradation::Lagging, .. }), "{state:?}");

    let report = good.close(LONG_TIMEOUT);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(handles(below(&good)), ["h"]);

    // A drop flushes too, even if the first attempts fail.
    let memory = Arc::new(MemoryStore::new());
    let options = BufferOptions::default().drop_timeout(LONG_TIMEOUT).flushers(&flushers);
    let dropped = buffered(FailingStore::new(Arc::clone(&memory)), options);
    dropped.add(shape("i", 2), Wait::No).expect("below the bound");
    dropped.inner().faults().fail_applies(3, ErrorKind::Busy, Side::Before);
    drop(dropped);
    assert_eq!(handles(&memory), ["i"]);
    assert_eq!(Arc::strong_count(&memory), 1);
    assert_eq!(flushers.stats().flushing, 1, "the hanging flush");
    drop(gate);
}

#[test]
fn c10_close_leaves_a_write_that_hangs_on_its_thread() {
    let flushers = pool(1, 1);
    let (hangs, gate) = hanging(&flushers);
    let memory = Arc::clone(hangs.inner().inner());
    let report = hangs.close(Duration::from_millis(5));
    assert_eq!(report.unwritten, 1);
    drop(hangs);
    assert!(Arc::strong_count(&memory) > 1, "the thread still holds it");
    gate.release();
    until(|| Arc::strong_count(&memory) == 1);
    let good = sharing(&flushers);
    add(&good, "h", 1).wait_durable(LONG_TIMEOUT).expect("the thread is free");
}

#[test]
fn a_store_that_fails_occupies_no_thread_during_its_back_off() {
    let flushers = pool(1, 1);
    let hour = Duration::from_secs(3600);
    let options =
        BufferOptions::default().flush_interval(Duration::ZERO).backoff(hour, hour).flushers(&flushers);
    let fails = buffered(FailingStore::new(Arc::default()), options);
    fails.inner().faults().fail_applies(2, ErrorKind::Io, Side::Before);
    let first = add(&fails, "h", 1);
    until(|| matches!(fails.health().state, HealthState::Degraded { .. }));

    let good = sharing(&flushers);
    for key in 0..10 {
        add(&good, &format!("h{key}"), key).wait_durable(LONG_TIMEOUT).expect("the only thread is free");
        // A new change does not end the back-off.
        add(&fails, &format!("h{key}-later"), 100 + key);
    }
    assert_eq!(fails.inner().faults().attempts(), 1);
    // A request does.
    assert!(!first.is_durable());
    fails.request_flush();
    until(|| fails.inner().faults().attempts() == 2);
    fails.flush(LONG_TIMEOUT).expect("both faults are used up");
    assert!(first.is_durable());
}

#[test]
fn stores_and_pool_are_dropped_in_any_order() {
    let flushers = pool(2, 2);
    let stores: Vec<_> = (0..10).map(|_| sharing(&flushers)).collect();
    let memories: Vec<_> = stores.iter().map(|store| Arc::clone(store.inner().inner())).collect();
    drop(flushers);
    let receipts: Vec<_> = stores.iter().map(|store| add(store, "h", 1)).collect();
    for receipt in receipts {
        receipt.wait_durable(LONG_TIMEOUT).expect("the stores keep the pool alive");
    }
    for store in &stores {
        add(store, "i", 2);
    }
    // Stores that are dropped at the same time are all flushed; the last one ends the threads.
    thread::scope(|scope| {
        for store in stores {
            scope.spawn(move || drop(store));
        }
    });
    for memory in memories {
        assert_eq!(handles(&memory), ["h", "i"]);
        assert_eq!(Arc::strong_count(&memory), 1);
    }
    drop(pool(1, 1));
}

/// The last owner of a store, and with it of the pool, may be a thread of the pool: here one that hung while
/// the store was dropped.
#[test]
fn the_last_store_of_a_pool_may_end_on_its_own_thread() {
    let flushers = pool(1, 1);
    let memory = Arc::new(MemoryStore::new());
    let options =
        BufferOptions::default().flush_interval(Duration::ZERO).drop_timeout(Duration::from_millis(1));
    let store = buffered(FailingStore::new(Arc::clone(&memory)), options.flushers(&flushers));
    let gate = store.inner().faults().block_apply(Side::After);
    add(&store, "h", 1);
    gate.wait_until_blocked();
    drop(flushers);
    drop(store);
    gate.release();
    until(|| Arc::strong_count(&memory) == 1);
    assert_eq!(handles(&memory), ["h"]);
}

/// An observer that panics at the first flush.
#[derive(Default)]
struct Panics(AtomicBool);

impl Observer for Panics {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        if let Activity::Flush { .. } = activity
            && !self.0.swap(true, Ordering::SeqCst)
        {
            panic!("the test lets this observer panic");
        }
        None
    }
}

/// Once, the batch was lost with the panic.
#[test]
fn c9_an_observer_that_panics_as_a_flush_begins_loses_nothing() {
    let options = BufferOptions::default().flush_interval(Duration::ZERO);
    let memory = Arc::new(MemoryStore::new());
    let store = Buffered::new(Arc::clone(&memory), options, Arc::new(Panics::default())).expect("memory");
    let receipt = store.add(shape("h", 1), Wait::No).expect("below the bound");
    receipt.passive().wait_durable(LONG_TIMEOUT).expect("the next attempt");
    assert_eq!(handles(&memory), ["h"]);
    drop(store);

    let manual = Buffered::new(
        MemoryStore::new(),
        BufferOptions::default().background_flush(false),
        Arc::new(NoopObserver),
    );
    assert!(manual.is_ok(), "no pool is needed without a background flusher");
}
