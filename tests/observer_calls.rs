//! C14: a call that an observer or a cleaner makes in the middle of an operation ends. Where it would wait
//! for that operation, it is refused.

use std::{
    cell::Cell,
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use shape_meta::{
    Activity, BoxError, Change, Checkin, Checkout, DurabilityWait, Error, ErrorKind, FeedOptions, FlushStats,
    Handle, Latencies, MutateShapesExt, Observer, OnLiveOwner, PublishStats, ReadShapes, ReadShapesExt,
    Refusal, Repaired, Seq, ShapeCleaner, ShapeMeta, Span, Standby, StoreControl, StoredHandles, Wait,
};
use shape_meta_core::conformance::{handle, shape};
use shape_meta_harness::compositions::{
    ALL, BUFFERED, Composition, DIRECT, DIRECT_CACHED, DIRECT_DISK_LOOKUPS, PRODUCT, PRODUCT_DISK_LOOKUPS,
    TIMEOUT, directory, sqlite,
};

/// Long for what ends, and short enough for a queue of such waits.
const SHORT: Duration = Duration::from_millis(50);
/// How often each hook calls. The first calls are those at the open.
const CALLS_PER_HOOK: u32 = 3;

type Call<T> = fn(&T) -> Result<(), Error>;

/// The calls; each must end, in every hook.
const CALLS: [(&str, Call<ShapeMeta>); 17] = [
    ("scan", |store| store.scan().map(|scan| scan.for_each(drop))),
    ("record", |store| store.record(&handle(1)).map(drop)),
    ("record of a removed shape", |store| store.record(&handle(4)).map(drop)),
    ("look-ups", |store| {
        store.metadata(&handle(1))?;
        store.handle_for(&shape(1).key)?;
        store.handles_for_relations(&shape(1).relations)?;
        store.counts().map(drop)
    }),
    ("last_seq", |store| store.last_seq().map(drop)),
    ("least_recently_used", |store| store.lru(3).map(drop)),
    ("touch", |store| store.touch_now(&handle(1)).map(drop)),
    ("add", |store| {
        let _ = store.add(shape(500), Wait::UpTo(SHORT)).map(|receipt| receipt.wait_durable(SHORT));
        Ok(())
    }),
    ("remove", |store| {
        let _ = store.remove(&handle(3), Wait::UpTo(SHORT)).map(|receipt| receipt.wait_durable(SHORT));
        Ok(())
    }),
    ("flush", |store| {
        let _ = store.flush(SHORT);
        Ok(())
    }),
    ("subscribe", |store| {
        let _ = store.subscribe(&FeedOptions::visible().after(Seq::new(1)));
        let _ = store.subscribe(&FeedOptions::visible());
        Ok(())
    }),
    ("gauges", |store| {
        let (_, _, _) = (store.usage(), store.health(), store.pending());
        store.pause();
        store.resume();
        Ok(())
    }),
    ("close", |store| store.close(SHORT).error.map_or(Ok(()), Err)),
    ("repair", |store| store.repair().map(drop)),
    ("clean_once", |store| store.clean_once().map(drop)),
    ("confirm_orphans", ShapeMeta::confirm_orphans),
    ("maintain", |store| store.database().map_or(Ok(()), shape_meta::SqliteStore::maintain)),
];

thread_local! {
    /// Whether this thread is in a call, whose own hooks do not call again.
    static IS_CALLING: Cell<bool> = const { Cell::new(false) };
}

/// Returns what is called, while it is alive.
type Target<T> = Box<dyn Fn() -> Option<T> + Send + Sync>;

struct Hooks<T> {
    call: Call<T>,
    target: Mutex<Option<Arc<Target<T>>>>,
    calls: Mutex<HashMap<String, u32>>,
    /// The hooks whose calls have not ended, and the errors of those that have.
    unended: Mutex<Vec<String>>,
    errors: Mutex<Vec<(String, Error)>>,
}

impl<T> Hooks<T> {
    fn new(call: Call<T>) -> Arc<Self> {
        Arc::new(Self {
            call,
            target: Mutex::default(),
            calls: Mutex::default(),
            unended: Mutex::default(),
            errors: Mutex::default(),
        })
    }

    fn aim(&self, target: impl Fn() -> Option<T> + Send + Sync + 'static) {
        *self.target.lock().expect("no panic") = Some(Arc::new(Box::new(target)));
    }

    fn fire(&self, hook: &str) {
        if IS_CALLING.get() {
            return;
        }
        let target = self.target.lock().expect("no panic").clone();
        let Some(store) = target.and_then(|target| target()) else { return };
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

struct Calling<T>(Arc<Hooks<T>>);

struct CallingSpan<T>(Arc<Hooks<T>>, &'static str);

impl<T: 'static> Span for CallingSpan<T> {
    fn end(self: Box<Self>, _: Option<&Error>) {
        self.0.fire(&format!("the end of {}", self.1));
    }
}

impl<T: 'static> Observer for Calling<T> {
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

impl<T: 'static> ShapeCleaner for Calling<T> {
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
fn live(composition: Composition, hooks: &Arc<Hooks<ShapeMeta>>) {
    let directory = directory();
    let observer = Arc::new(Calling(Arc::clone(hooks)));
    let builder = ShapeMeta::builder(Calling(Arc::clone(hooks))).sqlite(sqlite()).observer(observer);
    let store = composition.apply_to(builder).open(directory.path()).expect("opens");
    let weak = store.downgrade();
    hooks.aim(move || weak.upgrade());
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
    // A call may have closed it.
    let _ = store.repair();
    let _ = store.close(TIMEOUT);
    let _ = store.add(shape(7), Wait::No);
}

#[test]
fn c14_no_call_by_an_observer_of_a_direct_store_waits_for_itself() {
    for composition in [DIRECT, DIRECT_CACHED, DIRECT_DISK_LOOKUPS] {
        calls_end(composition);
    }
}

#[test]
fn c14_no_call_by_an_observer_of_a_buffered_store_waits_for_itself() {
    for composition in [BUFFERED, PRODUCT, PRODUCT_DISK_LOOKUPS] {
        calls_end(composition);
    }
}

/// Runs a life, which must end.
fn ends<T: 'static>(name: &str, hooks: &Hooks<T>, life: impl FnOnce() + Send + 'static) {
    let (ended, has_ended) = mpsc::channel();
    // Not joined: the test fails if it hangs.
    thread::spawn(move || {
        life();
        let _ = ended.send(());
    });
    if has_ended.recv_timeout(TIMEOUT).is_err() {
        let unended = hooks.unended.lock().expect("no panic");
        panic!("{name} within {unended:?} does not end, or its store panicked");
    }
}

fn calls_end(composition: Composition) {
    for (name, call) in CALLS {
        let hooks = Hooks::new(call);
        let life = Arc::clone(&hooks);
        ends(&format!("{name} ({composition:?})"), &hooks, move || live(composition, &life));
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

/// The calls of a standby, each of which must end in every hook.
const STANDBY_CALLS: [(&str, Call<Standby>); 8] = [
    ("scan", |standby| standby.scan().map(|scan| scan.for_each(drop))),
    ("record", |standby| standby.record(&handle(1)).map(drop)),
    ("last_seq", |standby| standby.last_seq().map(drop)),
    ("refresh", |standby| standby.refresh().map(drop)),
    ("subscribe", |standby| {
        let _ = standby.subscribe(&FeedOptions::visible());
        let _ = standby.subscribe(&FeedOptions::visible().after(Seq::new(1)));
        Ok(())
    }),
    ("promote", |standby| standby.promote(OnLiveOwner::Fail).map(drop)),
    ("fence", |standby| standby.promote(OnLiveOwner::Fence).map(drop)),
    ("staleness", |standby| {
        let _ = (standby.staleness(), standby.store());
        standby.wait_visible(Seq::new(1_000), SHORT).map(drop)
    }),
];

/// A life of a standby.
fn follow(composition: Composition, hooks: &Arc<Hooks<Standby>>) {
    let directory = directory();
    let owner = composition.open(directory.path());
    for number in 1..=3 {
        owner.add(shape(number), Wait::UpTo(TIMEOUT)).expect("there is room");
    }
    owner.flush(TIMEOUT).expect("the disk works");
    let observer = Arc::new(Calling(Arc::clone(hooks)));
    let builder = ShapeMeta::builder(Calling(Arc::clone(hooks))).sqlite(sqlite()).observer(observer);
    let standby = composition.apply_to(builder).open_standby(directory.path()).expect("there is a database");
    let target = standby.clone();
    hooks.aim(move || Some(target.clone()));
    let _feed = standby.subscribe(&FeedOptions::visible());
    for number in 4..=6 {
        // A call may have fenced it.
        let _ = owner.add(shape(number), Wait::UpTo(TIMEOUT));
        let _ = owner.remove(&handle(number - 3), Wait::UpTo(TIMEOUT));
        let _ = owner.flush(TIMEOUT);
        let _ = standby.refresh();
        let _ = standby.record(&handle(number));
        let _ = standby.subscribe(&FeedOptions::visible().after(Seq::new(2)));
    }
    let _ = standby.promote(OnLiveOwner::Fence);
    if let Some(store) = standby.store() {
        let _ = store.repair();
        let _ = store.close(TIMEOUT);
    }
    *hooks.target.lock().expect("no panic") = None;
}

#[test]
fn c14_no_call_by_an_observer_of_a_standby_waits_for_itself() {
    for composition in ALL {
        for (name, call) in STANDBY_CALLS {
            let hooks = Hooks::new(call);
            let life = Arc::clone(&hooks);
            ends(&format!("{name} ({composition:?})"), &hooks, move || follow(composition, &life));
        }
    }
}
