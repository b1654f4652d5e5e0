//! What changes and counts wait for while long work is done:
//! `cargo bench -p shape-meta-bench-criterion --bench pauses`. The store below is in memory, so that the
//! buffer dominates. Another thread adds shapes all the time, except where counts are read.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use shape_meta_buffer::{BufferOptions, Buffered};
use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    HandleSet, MemoryStore, MutateShapes, Mutation, NewShape, NoopObserver, ReadShapes, Relation, ShapeStore,
    conformance::{FailingStore, RejectedSeq, handle, shape},
};

const ROUNDS: usize = 5;
const PENDING: u64 = 50_000;
const RELATIONS: u32 = 10_000;
const REFUSED: u64 = 4_000;
const RESET: u64 = 300_000;
const EXCLUDED: u64 = 1_000_000;

fn buffered<S: ShapeStore>(below: S) -> Buffered<S> {
    let options = BufferOptions::default().background_flush(false).max_pending_shapes(1 << 23);
    Buffered::new(below, options.max_pending_bytes(usize::MAX), Arc::new(NoopObserver))
        .expect("memory does not fail")
}

fn cached() -> Cached<MemoryStore> {
    let options = CacheOptions::default();
    Cached::open_below_buffer(MemoryStore::new(), options, Arc::new(NoopObserver))
        .expect("memory does not fail")
}

fn reading(number: u64) -> Mutation {
    let relation = Relation::new((number % u64::from(RELATIONS)) as u32);
    Mutation::Add(NewShape { relations: [relation].into_iter().collect(), ..shape(number) })
}

fn add_all<S: ShapeStore>(store: &Buffered<S>, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        store.try_mutate(&reading(number)).expect("below the limit");
        if number.is_multiple_of(200_000) {
            store.flush_once().expect("memory does not fail");
        }
    }
}

/// Runs `work` while another thread calls `other` all the time. Returns how long `work` took, and the longest
/// call of `other`.
fn during(work: impl FnOnce(), mut other: impl FnMut() + Send) -> (Duration, Duration) {
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let longest = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !is_done.load(Ordering::Acquire) {
                let begun = Instant::now();
                other();
                longest = longest.max(begun.elapsed());
            }
            longest
        });
        let begun = Instant::now();
        work();
        let took = begun.elapsed();
        is_done.store(true, Ordering::Release);
        (took, longest.join().expect("no panic"))
    })
}

fn print(what: &str, other: &str, mut took: Vec<(Duration, Duration)>) {
    took.sort_unstable();
    let work = took[took.len() / 2].0;
    took.sort_unstable_by_key(|(_, longest)| *longest);
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (median, most) = (ms(took[took.len() / 2].1), ms(took[took.len() - 1].1));
    println!("{what}: {:.2} ms; the longest {other} meanwhile {median:.2} ms, {most:.2} at most", ms(work));
}

fn main() {
    for relations in [1_000, RELATIONS] {
        let took = (0..ROUNDS).map(|_| {
            let store = buffered(cached());
            add_all(&store, 1..=PENDING);
            let asked: Vec<_> = (0..relations).map(Relation::new).collect();
            let (mut next, read) =
                (PENDING, || store.handles_for_relations(&asked).expect("memory does not fail"));
            during(
                || drop(read()),
                || {
                    next += 1;
                    store.try_mutate(&reading(next)).expect("below the limit");
                },
            )
        });
        print(&format!("handles of {relations} relations, {PENDING} pending"), "add", took.collect());
    }

    let took = (0..ROUNDS).map(|_| {
        let store = buffered(FailingStore::new(MemoryStore::new()));
        (1..=REFUSED)
            .for_each(|number| store.inner().faults().reject_handle(&handle(number), RejectedSeq::Reported));
        add_all(&store, 1..=REFUSED);
        during(|| drop(store.flush_once()), || _ = black_box(store.counts().expect("memory does not fail")))
    });
    print(&format!("a flush of {REFUSED} refused changes"), "counts()", took.collect());

    let took = (0..ROUNDS).map(|_| {
        let store = buffered(cached());
        for number in 1..=RESET {
            store.try_mutate(&reading(number)).expect("below the limit");
        }
        let mut next = RESET;
        during(
            || drop(store.try_mutate(&Mutation::Reset).expect("below the limit")),
            || {
                next += 1;
                store.try_mutate(&reading(next)).expect("below the limit");
            },
        )
    });
    print(&format!("a reset of {RESET} pending shapes"), "add", took.collect());

    let store = buffered(cached());
    add_all(&store, 1..=EXCLUDED);
    let excluded: HandleSet = (1..=EXCLUDED).map(handle).collect();
    let mut next = EXCLUDED;
    let took = (0..ROUNDS).map(|_| {
        during(
            || drop(store.least_recently_used(1_000, &excluded).expect("memory does not fail")),
            || {
                next += 1;
                store.try_mutate(&reading(next)).expect("below the limit");
            },
        )
    });
    print(&format!("1,000 least recently used, {EXCLUDED} excluded"), "add", took.collect());
}
