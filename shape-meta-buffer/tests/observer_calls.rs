//! Observers that call the store, or drop it, on the thread that flushes it.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_core::{
    Activity, Error, ErrorKind, FlushStats, MutateShapesExt, NotDurable, Observer, ReadShapesExt, Span,
    StoreControl, Wait,
    conformance::{FailingStore, Side},
};

use crate::support::{Failing, LONG_TIMEOUT, below, handles, shape, until};

/// Where an observer calls the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    FlushBegins,
    Committed,
    Retrying,
    Flushed,
    SaveBegins,
}

type Call = Box<dyn FnOnce(Option<Arc<Buffered<Failing>>>) + Send>;

/// Calls the store once, at one of its events.
struct Calls {
    at: At,
    store: Mutex<Option<Arc<Buffered<Failing>>>>,
    call: Mutex<Option<Call>>,
}

impl Calls {
    fn event(&self, at: At) {
        let is_armed = self.store.lock().expect("no panic").is_some();
        if at == self.at && is_armed {
            let call = self.call.lock().expect("no panic").take();
            if let Some(call) = call {
                let store = self.store.lock().expect("no panic").take();
                call(store);
            }
        }
    }
}

impl Observer for Calls {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        match activity {
            Activity::Flush { .. } => self.event(At::FlushBegins),
            Activity::SaveReads => self.event(At::SaveBegins),
            _ => {}
        }
        None
    }

    fn wants_committed(&self) -> bool {
        true
    }

    fn committed(&self, _: &shape_meta_core::Change) {
        self.event(At::Committed);
    }

    fn retrying(&self, _: &Error, _: u32, _: Duration) {
        self.event(At::Retrying);
    }

    fn flushed(&self, _: &FlushStats) {
        self.event(At::Flushed);
    }
}

/// Opens a store in whose observer `call` runs, with the only owner of the store.
fn open(at: At, call: impl FnOnce(Arc<Buffered<Failing>>) + Send + 'static) -> Arc<Calls> {
    let call: Call = Box::new(|store| call(store.expect("armed")));
    let observer = Arc::new(Calls { at, store: Mutex::default(), call: Mutex::new(Some(call)) });
    let options = BufferOptions::default()
        .flush_interval(Duration::from_secs(3_600))
        .last_read_save_interval(Duration::from_millis(1))
        .backoff(Duration::from_millis(1), Duration::from_millis(1))
        .drop_timeout(LONG_TIMEOUT);
    let store = FailingStore::new(Arc::default());
    if at == At::Retrying {
        store.faults().fail_applies(1, ErrorKind::Busy, Side::Before);
    }
    let store = Arc::new(Buffered::new(store, options, Arc::clone(&observer) as _).expect("memory"));
    store.add(shape("first", 1), Wait::No).expect("below the bound");
    store.request_flush();
    *observer.store.lock().expect("no panic") = Some(store);
    observer
}

const ALL: [At; 5] = [At::FlushBegins, At::Committed, At::Retrying, At::Flushed, At::SaveBegins];

/// Once, the drop waited for its own thread until the deadline, and lost what was pending.
#[test]
fn c10_the_last_owner_may_be_dropped_by_an_observer() {
    for at in ALL {
        let (sender, received) = mpsc::channel();
        let _observer = open(at, move |store| {
            store.add(shape("second", 2), Wait::No).expect("below the bound");
            let memory = Arc::clone(store.inner().inner());
            drop(store);
            // The test may have ended.
            let _ = sender.send(memory);
        });
        // Far less than the drop may take.
        let memory = received.recv_timeout(LONG_TIMEOUT / 2).unwrap_or_else(|_| panic!("{at:?}: it hangs"));
        until(|| Arc::strong_count(&memory) == 1);
        assert_eq!(handles(&memory), ["first", "second"], "{at:?}");
    }
}

/// No call of an observer waits for the thread that makes it, and each says so.
#[test]
fn c10_a_call_by_an_observer_waits_for_nothing() {
    for at in ALL {
        let (sender, received) = mpsc::channel();
        let observer = open(at, move |store| {
            assert!(store.has_handle("first").expect("reads work"));
            store.add(shape("second", 2), Wait::No).expect("mutations work");
            let flushed = store.flush_once().expect_err("refused");
            assert_eq!(flushed.kind(), ErrorKind::Unsupported, "{flushed}");
            assert_eq!(store.repair().expect_err("refused").kind(), ErrorKind::Unsupported);
            assert!(matches!(store.flush(LONG_TIMEOUT), Err(NotDurable::TimedOut)));
            store.pause();
            store.resume();
            let report = store.close(LONG_TIMEOUT);
            let error = report.error.expect("it says why it did not wait");
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            // The test may have ended.
            let _ = sender.send(store);
        });
        let store = received.recv_timeout(LONG_TIMEOUT / 2).unwrap_or_else(|_| panic!("{at:?}: it hangs"));
        assert!(store.close(LONG_TIMEOUT).is_complete(), "it went on in the background");
        assert_eq!(handles(below(&store)), ["first", "second"], "{at:?}");
        drop(observer);
    }
}
