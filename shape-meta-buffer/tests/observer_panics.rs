//! Observers that panic.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_core::{
    Activity, Error, ErrorKind, FlushStats, Handle, MemoryStore, MutateShapesExt, Observer, Seq, Span, Wait,
    conformance::{FailingStore, RejectedSeq},
};

use crate::support::{LONG_TIMEOUT, shape};

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Retrying(ErrorKind, u32),
    Flushed(u64),
}

/// Panics when a flush begins, this many times, and sends later events.
struct Panicking {
    panics: AtomicUsize,
    events: Mutex<mpsc::Sender<Event>>,
}

impl Panicking {
    fn send(&self, event: Event) {
        // The test may have ended.
        let _ = self.events.lock().expect("no panic").send(event);
    }
}

impl Observer for Panicking {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        if matches!(activity, Activity::Flush { .. })
            && self.panics.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
        {
            panic!("the test lets this observer panic");
        }
        None
    }

    fn retrying(&self, error: &Error, failures: u32, _: Duration) {
        self.send(Event::Retrying(error.kind(), failures));
    }

    fn flushed(&self, flushed: &FlushStats) {
        self.send(Event::Flushed(flushed.mutations));
    }
}

#[test]
fn c9_a_flush_that_an_observer_interrupts_is_resumed() {
    let (sender, received) = mpsc::channel();
    let observer = Panicking { panics: AtomicUsize::new(2), events: Mutex::new(sender) };
    let options = BufferOptions::default()
        .flush_interval(Duration::ZERO)
        .backoff(Duration::from_millis(1), Duration::from_millis(1));
    let store = Buffered::new(MemoryStore::new(), options, Arc::new(observer)).expect("memory does not fail");
    let receipt = store.add(shape("h", 1), Wait::No).expect("below the bound");
    receipt.wait_durable(LONG_TIMEOUT).expect("written after two retries");
    let events: Vec<_> = (0..3).map(|_| received.recv_timeout(LONG_TIMEOUT).expect("an event")).collect();
    let retrying = |failures| Event::Retrying(ErrorKind::Panicked, failures);
    assert_eq!(events, [retrying(1), retrying(2), Event::Flushed(1)]);
}

/// Panics at each rejection, and counts them.
#[derive(Default)]
struct CountsRejections(AtomicUsize);

impl Observer for CountsRejections {
    fn rejected(&self, _: Option<&Handle>, _: &[Seq], _: &Error) {
        self.0.fetch_add(1, SeqCst);
        panic!("the test lets this observer panic");
    }
}

/// Once, the rejections after the first were never reported.
#[test]
fn c8_each_rejection_is_reported_although_the_observer_panics() {
    let observer = Arc::new(CountsRejections::default());
    let store = FailingStore::new(Arc::<MemoryStore>::default());
    for handle in ["a", "b", "c"] {
        store.faults().reject_handle(&Handle::new(handle).expect("valid"), RejectedSeq::Reported);
    }
    let options = BufferOptions::default().background_flush(false);
    let store = Buffered::new(store, options, Arc::clone(&observer) as _).expect("memory does not fail");
    for (handle, key) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        store.add(shape(handle, key), Wait::No).expect("below the bound");
    }
    catch_unwind(AssertUnwindSafe(|| store.flush_once())).expect_err("the observer's panic");
    assert_eq!(observer.0.load(SeqCst), 3);
    assert!(store.flush_once().expect("nothing is left").is_none());
}
