//! The latency of a wake-up after a mark, and of `get_or_add` of a live shape, while other threads add; and
//! the cost of a check: `cargo bench -p shape-meta-bench-criterion --bench waits`.
//!
//! `ADDERS=64` sets the number of threads that add and remove while a wake-up is measured, `ROUNDS=2000` that
//! of wake-ups.

use std::{
    env,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    AwaitShapesExt, DefinitionExt, MemoryStore, MutateShapesExt, NewShape, NoopObserver, ReadShapes,
    ReadShapesExt, Relation, Shape, SnapshotState, TableName, Timestamp, Wait,
    conformance::{handle, key, shape},
};

type Store = Buffered<Cached<MemoryStore>>;

const WAIT: Wait = Wait::UpTo(Duration::from_secs(60));
const TIMEOUT: Duration = Duration::from_secs(60);

fn main() {
    wake_ups();
    lookups();
    checks();
}

fn open() -> Store {
    let observer = Arc::new(NoopObserver);
    let cached = Cached::open_below_buffer(MemoryStore::new(), CacheOptions::default(), observer.clone());
    Buffered::new(cached.expect("memory does not fail"), BufferOptions::default(), observer).expect("opens")
}

fn variable(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |number| number.parse().expect("the variable is a number"))
}

/// Runs this while threads add shapes and remove them again.
fn during_adds(store: &Store, adders: u64, run: impl FnOnce()) {
    let (done, added) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for adder in 0..adders {
            let (done, added) = (&done, &added);
            scope.spawn(move || {
                let mut number = (adder + 1) << 32;
                while !done.load(Ordering::Relaxed) {
                    number += 1;
                    store.add(shape(number), WAIT).expect("accepted");
                    store.remove(&handle(number), WAIT).expect("accepted");
                    added.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while added.load(Ordering::Relaxed) < adders * 10 {
            thread::yield_now();
        }
        run();
        done.store(true, Ordering::Relaxed);
    });
}

/// From the call, and from the return, of a mark to the return of a wait for it on another thread.
fn wake_ups() {
    let (adders, rounds) = (variable("ADDERS", 64), variable("ROUNDS", 2_000));
    println!("wake-ups while {adders} threads add and remove, microseconds");
    for adders in [0, adders] {
        let store = open();
        for number in 0..rounds {
            store.add(shape(number), WAIT).expect("accepted");
        }
        let (mut from_call, mut from_return) = (Vec::new(), Vec::new());
        during_adds(&store, adders, || {
            thread::scope(|scope| {
                let (sender, woken) = mpsc::channel();
                let waiting = &store;
                scope.spawn(move || {
                    for number in 0..rounds {
                        waiting
                            .wait_for_timeout(&handle(number), SnapshotState::Started, TIMEOUT)
                            .expect("it is marked");
                        sender.send(Instant::now()).expect("the other thread receives it");
                    }
                });
                for number in 0..rounds {
                    while shape_meta_core::AwaitShapes::shape_waits(&store).is_empty() {
                        thread::yield_now();
                    }
                    let called = Instant::now();
                    store.mark_snapshot_started(&handle(number), WAIT).expect("it is live");
                    let returned = Instant::now();
                    let woken = woken.recv().expect("the other thread sends it");
                    from_call.push(woken - called);
                    from_return.push(woken.saturating_duration_since(returned));
                }
            });
        });
        print(&format!("{adders} adders, from the call"), from_call);
        print(&format!("{adders} adders, from the return"), from_return);
    }
}

/// `get_or_add` of a live shape, next to `handle_for`.
fn lookups() {
    println!("look-ups of a live shape while 8 threads add and remove, microseconds");
    let store = open();
    (0..1_000).for_each(|number| drop(store.add(shape(number), WAIT).expect("accepted")));
    let shapes: Vec<NewShape> = (0..1_000).map(shape).collect();
    during_adds(&store, 8, || {
        let measure = |call: &dyn Fn(usize)| {
            let timed = |at| {
                let begun = Instant::now();
                call(at);
                begun.elapsed()
            };
            (0..200_000).map(|round| timed(round % 1_000)).collect()
        };
        let found = measure(&|at| drop(black_box(store.handle_for(&key(at as u64)).expect("memory"))));
        print("handle_for", found);
        let got = measure(&|at| {
            let got = store.get_or_add(&shapes[at], WAIT).expect("it is live");
            assert!(!got.added);
        });
        print("get_or_add", got);
    });
}

/// From a definition of some 300 bytes, and from one with its key, to the answer.
fn checks() {
    const CALLS: u32 = 200_000;
    let filter =
        (0..20).map(|column| format!("column_{column} = {column}")).collect::<Vec<_>>().join(" AND ");
    let definition = Shape::new(TableName::new("public", "todos"), Relation::new(16_510)).filter(filter);
    let store = open();
    let handle = shape_meta_core::Handle::generate(definition.definition_hash());
    store.add(NewShape::of(handle.clone(), &definition), WAIT).expect("accepted");
    store.flush_once().expect("memory does not fail");
    let keyed = definition.clone().keyed();
    let per_call = |call: &dyn Fn()| {
        let begun = Instant::now();
        (0..CALLS).for_each(|_| call());
        begun.elapsed() / CALLS
    };
    let at = Timestamp::now();
    println!("a check, per call");
    println!(
        "{:>30} {:?}",
        "with the key at hand",
        per_call(&|| {
            assert!(store.check(&handle, &keyed).expect("memory").live().is_some());
        })
    );
    println!(
        "{:>30} {:?}",
        "and a touch",
        per_call(&|| {
            assert!(store.check_and_touch(&handle, &keyed, at).expect("memory").live().is_some());
        })
    );
    println!(
        "{:>30} {:?}",
        "from the definition",
        per_call(&|| {
            let keyed = black_box(definition.clone()).keyed();
            assert!(store.check(&handle, &keyed).expect("memory").live().is_some());
        })
    );
}

fn print(name: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_nanos() as f64 / 1e3;
    let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(at);
    println!("{name:>30} p50 {p50:>9.1} p99 {p99:>9.1} p99.9 {p999:>9.1} max {max:>9.1}");
}
