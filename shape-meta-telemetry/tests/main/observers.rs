//! Several observers as one.

use std::sync::{Arc, Mutex};

use shape_meta_core::{Activity, Change, Error, NoopObserver, Observer, Span};
use shape_meta_telemetry::{Observers, TracingObserver};

use crate::{capture::capture, everything::observe_everything};

#[test]
fn each_observer_gets_every_call() {
    let alone = capture(|_| true, || observe_everything(&TracingObserver::new("main")));
    let one = || Arc::new(TracingObserver::new("main"));
    let two = capture(
        |_| true,
        || observe_everything(&Observers::default().and(one()).and(Arc::new(NoopObserver)).and(one())),
    );
    let sorted = |lines: &[String]| {
        // The second observer's spans are nested in those of the first, so the order differs.
        let mut lines = lines.to_vec();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&two), sorted(&[alone.clone(), alone].concat()));
}

/// Records when its spans end, and its changes.
struct Named {
    name: &'static str,
    wants: bool,
    log: Arc<Mutex<Vec<String>>>,
}

impl Named {
    fn record(&self, what: &str) {
        self.log.lock().expect("no panic").push(format!("{} {what}", self.name));
    }
}

struct NamedSpan(Named);

impl Span for NamedSpan {
    fn end(self: Box<Self>, error: Option<&Error>) {
        self.0.record(if error.is_some() { "fails" } else { "ends" });
    }
}

impl Drop for NamedSpan {
    fn drop(&mut self) {
        self.0.record("drops");
    }
}

impl Observer for Named {
    fn begin(&self, _: Activity<'_>) -> Option<Box<dyn Span>> {
        self.record("begins");
        let Self { name, wants, ref log } = *self;
        Some(Box::new(NamedSpan(Self { name, wants, log: Arc::clone(log) })))
    }

    fn wants_committed(&self) -> bool {
        self.wants
    }

    fn committed(&self, _: &Change) {
        self.record("change");
    }
}

fn pair() -> (Observers, Arc<Mutex<Vec<String>>>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let named = [("a", false), ("b", true)];
    let observers = named.map(|(name, wants)| Arc::new(Named { name, wants, log: Arc::clone(&log) }) as _);
    (observers.into_iter().collect(), log)
}

#[test]
fn spans_end_in_the_reverse_order() {
    let (observers, log) = pair();
    observers.begin(Activity::Close).expect("both").end(None);
    drop(observers.begin(Activity::Close));
    assert_eq!(
        *log.lock().expect("no panic"),
        [
            "a begins", "b begins", "b ends", "b drops", "a ends", "a drops", //
            "a begins", "b begins", "b drops", "a drops",
        ]
    );
}

#[test]
fn changes_go_only_to_observers_that_want_them() {
    let (observers, log) = pair();
    assert!(observers.wants_committed());
    observers.committed(&Change::Reset);
    assert_eq!(*log.lock().expect("no panic"), ["b change"]);
    assert!(!Observers::default().wants_committed());
    assert!(Observers::default().begin(Activity::Close).is_none());
}
