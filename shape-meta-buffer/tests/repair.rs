//! Repair of the store below a buffer.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_core::{
    Activity, Batch, Change, Entry, Error, ErrorKind, HealthState, MemoryStore, MutateError, MutateShapesExt,
    Observer, ReadShapes, RebuildStore, Record, Repaired, Result, Seq, ShapeStore, Span, StoreControl,
    TrustedState, Wait,
    conformance::{FailingStore, Side},
    forward_reads,
};

use crate::support::{Failing, LONG_TIMEOUT, add, below, buffered, handles, manual, shape, until};

/// A repair writes pending changes, and the counts lose the shapes that could not be saved.
#[test]
fn c9_a_repair_writes_pending_changes_and_corrects_the_counts() {
    let (store, faults) = manual();
    add(&store, "lost", 1);
    add(&store, "kept", 2);
    store.flush_once().expect("flush");
    let mark = store.mark_snapshot_started("kept", Wait::No).expect("live");
    let pending = add(&store, "pending", 3);
    faults.fail_applies(1, ErrorKind::Corrupt, Side::Before);
    store.flush_once().expect_err("damaged");
    assert!(matches!(store.health().state, HealthState::Stopped { .. }));
    store.add(shape("refused", 4), Wait::No).expect_err("writing has stopped");

    let entry = below(&store).entry("lost").expect("read").expect("still there");
    let loss = Batch { changes: vec![Change::Remove { entry }], through: mark.seq() };
    below(&store).apply(&loss).expect("removed below");
    store.repair().expect("repaired");
    assert!(mark.is_durable() && pending.is_durable());
    assert!(matches!(store.health().state, HealthState::Ready));
    assert_eq!(handles(&store), ["kept", "pending"]);
    assert_eq!(store.counts().expect("read"), below(&store).counts().expect("read"));

    add(&store, "new", 4);
    assert_eq!(store.counts().expect("read").total, 3);
    store.flush_once().expect("flush");
    assert_eq!(store.counts().expect("read"), below(&store).counts().expect("read"));
}

/// Pending changes may rest on shapes that the repair did not save. Nothing is accepted on top of them until
/// they are written.
#[test]
fn c9_a_repair_accepts_nothing_before_pending_changes_are_written() {
    let (store, faults) = manual();
    let pending = add(&store, "pending", 1);
    faults.fail_applies(1, ErrorKind::StorageFull, Side::Before);
    assert_eq!(store.repair().expect_err("the disk is full").kind(), ErrorKind::StorageFull);
    let refused = store.add(shape("refused", 2), Wait::No).expect_err("not yet");
    assert!(matches!(refused, MutateError::Failed(error) if error.kind() == ErrorKind::StorageFull));
    assert_eq!(handles(&store), ["pending"], "reads go on");
    store.repair().expect("the disk has space again");
    assert!(pending.is_durable());
    add(&store, "new", 2);
}

/// A repair that fails below has no effect.
#[test]
fn c9_a_repair_that_fails_changes_nothing() {
    let (store, faults) = manual();
    let pending = add(&store, "pending", 1);
    faults.fail_reads(1, ErrorKind::Io);
    assert_eq!(store.repair().expect_err("the injected fault").kind(), ErrorKind::Io);
    assert!(!pending.is_durable());
    add(&store, "new", 2);
    faults.fail_applies(1, ErrorKind::Corrupt, Side::Before);
    store.flush_once().expect_err("damaged");
    faults.fail_reads(1, ErrorKind::Io);
    assert_eq!(store.repair().expect_err("the injected fault").kind(), ErrorKind::Io);
    let refused = store.add(shape("refused", 3), Wait::No).expect_err("stopped");
    assert!(matches!(refused, MutateError::Failed(error) if error.kind() == ErrorKind::Corrupt));
    store.repair().expect("repaired");
    assert!(pending.is_durable());
}

fn refusal(store: &Buffered<Failing>) -> ErrorKind {
    match store.add(shape("refused", 99), Wait::No).expect_err("mutations are refused") {
        MutateError::Failed(error) => error.kind(),
        refused => panic!("{refused:?}"),
    }
}

/// I8: health and gate agree while a repair is to be completed. Once, health was ready after the retry, and
/// every mutation failed until another repair.
#[test]
fn c9_a_retry_completes_a_repair_whose_write_failed() {
    let (store, faults) = manual();
    let first = add(&store, "first", 1);
    faults.fail_applies(2, ErrorKind::StorageFull, Side::Before);
    store.repair().expect_err("the disk is full");
    for _ in 0..2 {
        let health = store.health();
        assert!(matches!(health.state, HealthState::Stopped { .. }), "{health:?}");
        assert!(!health.is_ready() && health.is_live(), "mutations are refused");
        assert_eq!(refusal(&store), ErrorKind::StorageFull);
        assert!(!first.is_durable());
        let _ = store.flush_once();
    }
    assert!(first.is_durable(), "the second retry succeeded");
    let health = store.health();
    assert!(matches!(health.state, HealthState::Ready), "{health:?}");
    add(&store, "second", 2);
    store.flush_once().expect("no fault is left");
    assert_eq!(store.counts().expect("read"), below(&store).counts().expect("read"));
}

/// The background flusher retries it by itself, although no mutation is accepted that could wake it.
#[test]
fn c9_the_flusher_completes_a_repair_whose_write_failed() {
    let options = BufferOptions::default()
        .flush_interval(Duration::from_secs(3_600))
        .backoff(Duration::from_millis(1), Duration::from_millis(1));
    let store = buffered(FailingStore::new(Arc::default()), options);
    let first = add(&store, "first", 1);
    store.inner().faults().fail_applies(1, ErrorKind::StorageFull, Side::Before);
    store.repair().expect_err("the disk is full");
    first.passive().wait_durable(LONG_TIMEOUT).expect("retried by the flusher");
    until(|| matches!(store.health().state, HealthState::Ready));
    add(&store, "second", 2);
}

/// Blocks when a flush begins, until the test releases it.
struct Blocks {
    begun: Mutex<mpsc::Sender<()>>,
    released: Mutex<mpsc::Receiver<()>>,
}

impl Observer for Blocks {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        if let Activity::Flush { .. } = activity {
            self.begun.lock().expect("no panic").send(()).expect("the test waits");
            self.released.lock().expect("no panic").recv().expect("the test releases it");
        }
        None
    }
}

/// I8: a flush stops writing while a repair waits for it, and the repair fails. Once, the repair returned to
/// the open gate that it had found, and mutations were accepted that would never be written.
#[test]
fn c9_a_failed_repair_leaves_a_stopped_store_stopped() {
    let ((begun, has_begun), (release, released)) = (mpsc::channel(), mpsc::channel());
    let store = observed(Blocks { begun: Mutex::new(begun), released: Mutex::new(released) });
    add(&store, "first", 1);
    thread::scope(|scope| {
        let flushing = scope.spawn(|| store.flush_once());
        has_begun.recv_timeout(LONG_TIMEOUT).expect("the flush begins");
        let repairing = scope.spawn(|| store.repair());
        until(|| store.health().state.name() == "stopped");
        assert_eq!(refusal(&store), ErrorKind::Busy, "the repair waits for the flush");
        store.inner().faults().fail_applies(1, ErrorKind::Corrupt, Side::Before);
        store.inner().faults().fail_reads(1, ErrorKind::Io);
        release.send(()).expect("the flush waits");
        let flushed = flushing.join().expect("no panic").expect_err("the injected fault");
        assert_eq!(flushed.kind(), ErrorKind::Corrupt);
        let repaired = repairing.join().expect("no panic").expect_err("the injected fault");
        assert_eq!(repaired.kind(), ErrorKind::Io);
    });
    assert_eq!(refusal(&store), ErrorKind::Corrupt);
    let health = store.health();
    assert!(matches!(health.state, HealthState::Stopped { .. }), "{health:?}");
}

/// A store whose first rebuild panics.
#[derive(Default)]
struct PanickingRebuild {
    inner: MemoryStore,
    has_panicked: AtomicBool,
}

impl ReadShapes for PanickingRebuild {
    forward_reads!(self => self.inner);
}

impl ShapeStore for PanickingRebuild {
    fn apply(&self, batch: &Batch) -> Result<()> {
        self.inner.apply(batch)
    }

    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        self.inner.load(each)
    }

    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        self.inner.record_of(entry)
    }

    fn rebuild_store(&self) -> Option<&dyn RebuildStore> {
        Some(self)
    }
}

impl RebuildStore for PanickingRebuild {
    fn rebuild(&self, _: TrustedState<'_>) -> Result<Repaired> {
        if !self.has_panicked.swap(true, SeqCst) {
            panic!("the test lets this panic");
        }
        let error = Error::new(ErrorKind::Corrupt, "damaged on purpose");
        Ok(Repaired::new("nowhere".into(), error, self.inner.counts()?.total, Vec::new()))
    }
}

/// I8: a panic of the store below ends the repair. Once, the store stayed "being repaired" for good.
#[test]
fn c9_a_panic_in_a_repair_below_leaves_the_store_as_it_was() {
    let store = buffered(PanickingRebuild::default(), BufferOptions::default().background_flush(false));
    let pending = store.add(shape("pending", 1), Wait::No).expect("below the bound");
    assert_eq!(store.repair().expect_err("a panic").kind(), ErrorKind::Panicked);
    assert!(matches!(store.health().state, HealthState::Ready));
    store.add(shape("new", 2), Wait::No).expect("mutations are accepted");
    store.repair().expect("no panic");
    assert!(pending.is_durable());
}

/// Panics when a flush begins, the first time.
#[derive(Default)]
struct Panics(AtomicBool);

impl Observer for Panics {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        if matches!(activity, Activity::Flush { .. }) && !self.0.swap(true, SeqCst) {
            panic!("the test lets this observer panic");
        }
        None
    }
}

/// The same for a panic of an observer while the repair writes pending changes.
#[test]
fn c9_a_retry_completes_a_repair_in_which_an_observer_panicked() {
    let store = observed(Panics::default());
    let first = add(&store, "first", 1);
    assert_eq!(store.repair().expect_err("the observer panics").kind(), ErrorKind::Panicked);
    assert_eq!(refusal(&store), ErrorKind::Panicked);
    store.flush_once().expect("no panic");
    assert!(first.is_durable());
    add(&store, "second", 2);
}

fn observed(observer: impl Observer + 'static) -> Buffered<Failing> {
    let options = BufferOptions::default().background_flush(false);
    Buffered::new(FailingStore::new(Arc::default()), options, Arc::new(observer)).expect("no fault yet")
}
