//! C14: a call that an observer or a cleaner makes in the middle of an operation ends. Where it would wait
//! for that operation, it is refused.

use std::{
    cell::Cell,
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, OnceLock, mpsc},
    thread,
    time::Duration,
};

use shape_meta::{
    Activity, BoxError, Change, Checkin, Checkout, DurabilityWait, Error, ErrorKind, FlushStats, Handle,
    Latencies, MutateShapesExt, Observer, PublishStats, ReadShapes, Refusal, Repaired, ShapeCleaner,
    ShapeMeta, Span, StoreControl, StoredHandles, Wait, WeakShapeMeta,
};
use shape_meta_core::conformance::{handle, shape};
use shape_meta_harness::compositions::{Composition, DIRECT, TIMEOUT, directory, sqlite};

/// Long for what ends, and short enough for a queue of such waits.
const SHORT: Duration = Duration::from_millis(50);
/// How often each hook calls. The first calls are those at the open.
const CALLS_PER_HOOK: u32 = 3;

type Call = fn(&ShapeMeta) -> Result<(), Error>;

/// The calls; each must end, in every hook.
const CALLS: [(&str, Call); 8] = [
    ("scan", |store| store.scan().map(|scan| scan.for_each(drop))),
    ("record", |store| store.record(&handle(1)).map(drop)),
    ("add", |store| {
        let _ = store.add(shape(500), Wait::UpTo(SHORT)).map(|receipt| receipt.wait_durable(SHORT));
        Ok(())
    }),
    ("flush", |store| {
        let _ = store.flush(SHORT);
        Ok(())
    }),
    ("repair", |store| store.repair().map(drop)),
    ("clean_once", |store| store.clean_once().map(drop)),
    ("confirm_orphans", ShapeMeta::confirm_orphans),
    ("maintain", |store| store.database().map_or(Ok(()), shape_meta::SqliteStore::maintain)),
];

thread_local! {
    /// Whether this thread is in a call, whose own hooks do not call again.
    static IS_CALLING: Cell<bool> = const { Cell::new(false) };
}

struct Hooks {
    call: Call,
    store: OnceLock<WeakShapeMeta>,
    calls: Mutex<HashMap<String, u32>>,
    /// The hooks whose calls have not ended, and the errors of those that have.
    unended: Mutex<Vec<String>>,
    errors: Mutex<Vec<(String, Error)>>,
}

impl Hooks {
    fn fire(&self, hook: &str) {
        let Some(store) = self.store.get().and_then(WeakShapeMeta::upgrade) else { return };
        if IS_CALLING.get() {
            return;
        }
        {
            let mut calls = self.calls.lock().expect("no panic");
            let calls = calls.entry(hook.to_owned()).or_default();
            *calls += 1;
            if *calls > CALLS_PER_HOOK {
                return;
            }
        }
        IS_CALLING.set(true);
        self.unended.lock().expect("no panic").push(hook.to_owned());
        if let Err(error) = (self.call)(&store) {
            self.errors.lock().expect("no panic").push((hook.to_owned(), error));
        }
        let mut unended = self.unended.lock().expect("no panic");
        let at = unended.iter().position(|unended| unended == hook).expect("it was pushed");
        unended.remove(at);
        IS_CALLING.set(false);
    }
}

struct Calling(Arc<Hooks>);

struct CallingSpan(Arc<Hooks>, &'static str);

impl Span for CallingSpan {
    fn end(self: Box<Self>, _: Option<&Error>) {
        self.0.fire(&format!("the end of {}", self.1));
    }
}

impl Observer for Calling {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        self.0.fire(&format!("the begin of {}", activity.name()));
        Some(Box::new(CallingSpan(Arc::clone(&self.0), activity.name())))
    }

    fn checkout(&self, _: &Checkout) {
        self.0.fire("checkout");
    }

    fn checkin(&self, _: &Checkin) {
        self.0.fire("checkin");
    }

    fn flushed(&self, _: &FlushStats) {
        self.0.fire("flushed");
    }

    fn refused(&self, _: &Refusal) {
        self.0.fire("refused");
    }

    fn wants_acknowledged(&self) -> bool {
        true
    }

    fn acknowledged(&self, _: &Latencies) {
        self.0.fire("acknowledged");
    }

    fn awaited(&self, _: &DurabilityWait) {
        self.0.fire("awaited");
    }

    fn published(&self, _: &PublishStats) {
        self.0.fire("published");
    }

    fn wants_committed(&self) -> bool {
        true
    }

    fn committed(&self, _: &Change) {
        self.0.fire("committed");
    }

    fn quarantined(&self, _: &Path, _: &Error) {
        self.0.fire("quarantined");
    }

    fn repaired(&self, _: &Repaired) {
        self.0.fire("repaired");
    }

    fn orphans_found(&self, _: u64, _: &[Handle], _: bool) {
        self.0.fire("orphans_found");
    }
}

impl ShapeCleaner for Calling {
    fn clean(&self, _: &[Handle]) -> Result<(), BoxError> {
        self.0.fire("clean");
        Ok(())
    }

    fn stored_handles(&self) -> Result<Option<StoredHandles<'_>>, BoxError> {
        self.0.fire("stored_handles");
        Ok(Some(Box::new((900..905).map(|number| {
            self.0.fire("a stored handle");
            Ok(handle(number))
        }))))
    }
}

/// A life of a store.
fn live(composition: Composition, hooks: &Arc<Hooks>) {
    let directory = directory();
    let observer = Arc::new(Calling(Arc::clone(hooks)));
    let builder = ShapeMeta::builder(Calling(Arc::clone(hooks))).sqlite(sqlite()).observer(observer);
    let store = composition.apply_to(builder).open(directory.path()).expect("opens");
    assert!(hooks.store.set(store.downgrade()).is_ok(), "it is set once");
    for number in 1..=6 {
        // A call may have repaired, or have added a shape: no outcome is certain.
        if let Ok(receipt) = store.add(shape(number), Wait::UpTo(TIMEOUT)) {
            let _ = store.mark_snapshot_complete(&handle(number), Wait::UpTo(TIMEOUT));
            let _ = receipt.wait_durable(TIMEOUT);
        }
    }
    let _ = store.add(shape(2), Wait::No);
    let _ = store.remove(&handle(4), Wait::UpTo(TIMEOUT));
    let _ = store.flush(TIMEOUT);
    for _ in 0..3 {
        let _ = store.clean_once();
    }
    let _ = store.scan().map(|scan| scan.for_each(drop));
    store.repair().expect("the disk works");
    let _ = store.close(TIMEOUT);
}

#[test]
fn c14_no_call_by_an_observer_waits_for_itself() {
    let composition = DIRECT;
    for (name, call) in CALLS {
        let hooks = Arc::new(Hooks {
            call,
            store: OnceLock::new(),
            calls: Mutex::default(),
            unended: Mutex::default(),
            errors: Mutex::default(),
        });
        let (ended, has_ended) = mpsc::channel();
        let life = Arc::clone(&hooks);
        // Not joined: the test fails if it hangs.
        thread::spawn(move || {
            live(composition, &life);
            let _ = ended.send(());
        });
        if has_ended.recv_timeout(TIMEOUT).is_err() {
            let unended = hooks.unended.lock().expect("no panic");
            panic!("{name} within {unended:?} does not end, or its store panicked ({composition:?})");
        }
        let errors = hooks.errors.lock().expect("no panic");
        if matches!(name, "maintain" | "confirm_orphans") {
            for hook in ["quarantined", "repaired"] {
                let refused =
                    errors.iter().any(|(at, error)| at == hook && error.kind() == ErrorKind::Unsupported);
                assert!(refused, "{name} within {hook} ({composition:?}): {errors:?}");
            }
        }
    }
}
