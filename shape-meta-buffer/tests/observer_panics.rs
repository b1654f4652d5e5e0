//! Observers that panic.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_core::{
    Activity, Error, ErrorKind, FlushStats, MemoryStore, MutateShapesExt, Observer, Span, Wait,
};

use crate::support::{PATIENT, shape};

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Retrying(ErrorKind, u32),
    FlushStats(u64),
}

/// Panics so often before a flush, and goes on to tell.
struct Panicking {
    panics: AtomicUsize,
    told: Mutex<mpsc::Sender<Told>>,
}

impl Panicking {
    fn tell(&self, told: Told) {
        // The test may have seen enough.
        let _ = self.told.lock().expect("no panic").send(told);
    }
}

impl Observer for Panicking {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        if matches!(activity, Activity::Flush { .. })
            && self.panics.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
        {
            panic!("on purpose");
        }
        None
    }

    fn retrying(&self, error: &Error, failures: u32, _: Duration) {
        self.tell(Told::Retrying(error.kind(), failures));
    }

    fn flushed(&self, flushed: &FlushStats) {
        self.tell(Told::FlushStats(flushed.mutations));
    }
}

#[test]
fn c9_a_flush_that_an_observer_breaks_off_is_gone_on_with_later() {
    let (sender, told) = mpsc::channel();
    let observer = Panicking { panics: AtomicUsize::new(2), told: Mutex::new(sender) };
    let options = BufferOptions::default()
        .flush_interval(Duration::ZERO)
        .backoff(Duration::from_millis(1), Duration::from_millis(1));
    let store = Buffered::new(MemoryStore::new(), options, Arc::new(observer)).expect("nothing fails");
    let receipt = store.add(shape("h", 1), Wait::No).expect("room");
    receipt.wait_durable(PATIENT).expect("it is written in the end");
    let told: Vec<_> = (0..3).map(|_| told.recv_timeout(PATIENT).expect("that is told")).collect();
    let retrying = |failures| Told::Retrying(ErrorKind::Panicked, failures);
    assert_eq!(told, [retrying(1), retrying(2), Told::FlushStats(1)]);
}
