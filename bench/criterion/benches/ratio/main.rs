//! The cost of a read relative to a bare evmap get of the same data: `cargo bench -p
//! shape-meta-bench-criterion --bench ratio`. The variable `SHAPES=10000,1000000` sets the numbers of shapes.
//!
//! All candidates run alternately in short rounds, so that other load on the machine affects them equally.
//! The output shows the best and the median round of each. Each look-up depends on the result of the previous
//! one, so that they do not overlap.

use std::{env, hint::black_box, sync::Arc, time::Instant};

use shape_meta_bench_criterion::bare;
use shape_meta_bench_criterion::null_store::{SHAPES_PER_RELATION, handle, mixed, open};
use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{Handle, HandleSet, Key, NoopObserver, ReadShapes, Relation, Timestamp, conformance};

const ROUNDS: usize = 60;
const READS: usize = 20_000;

struct Candidate<'a> {
    name: &'static str,
    /// The candidate with which it is compared.
    baseline: &'static str,
    reads: usize,
    /// Returns a number that depends on the result.
    read: Box<dyn FnMut(usize) -> usize + 'a>,
    rounds: Vec<f64>,
}

fn main() {
    let sizes = env::var("SHAPES").unwrap_or_else(|_| "1000,100000,1000000".to_owned());
    for shapes in sizes.split(',') {
        compare(shapes.trim().parse().expect("SHAPES is a list of numbers"));
    }
}

fn compare(shapes: u64) {
    let cached = open(shapes, CacheOptions::default().exact_key_slots_up_to(0));
    // Over the first cache, so that both share the same entries: a second set would compete for the processor
    // caches.
    let exact = Cached::open(&cached, CacheOptions::default().keys_per_slot(1), Arc::new(NoopObserver))
        .expect("in memory");
    let picks = || (0..100_000).map(|pick| mixed(pick + 77) % shapes);
    let handles: Vec<Handle> = picks().map(handle).collect();
    let keys: Vec<Key> = picks().map(conformance::key).collect();
    let entries: Vec<_> =
        (0..shapes).map(|number| cached.entry(&handle(number)).expect("in memory").expect("live")).collect();
    let (shared, inline) = (bare::shared(&entries), bare::inline(&entries));
    let by_key = bare::by_key(&entries);
    drop(entries);
    let store: &dyn ReadShapes = &cached;
    let exact: &dyn ReadShapes = &exact;

    let mut candidates = vec![
        candidate(HANDLE, HANDLE, READS, |at| shared.get(&handles[at]).hash.get() as usize),
        candidate("bare evmap get, inline metadata", HANDLE, READS, |at| {
            inline.get(&handles[at]).hash.get() as usize
        }),
        candidate(KEY, KEY, READS, |at| by_key.get(&keys[at]).len()),
        candidate("metadata", HANDLE, READS, |at| {
            store.metadata(&handles[at]).expect("in memory").expect("live").hash.get() as usize
        }),
        candidate("entry", HANDLE, READS, |at| {
            store.entry(&handles[at]).expect("in memory").expect("live").created().get() as usize
        }),
        candidate("touch", HANDLE, READS, |at| {
            store.touch(&handles[at], Timestamp::from_micros(5)).expect("in memory").into()
        }),
        candidate("handle by key, four to a slot", KEY, READS, |at| {
            store.handle_for(&keys[at]).expect("in memory").expect("live").len()
        }),
        candidate("handle by key, one to a slot", KEY, READS, |at| {
            exact.handle_for(&keys[at]).expect("in memory").expect("live").len()
        }),
        candidate("1,000 least recently used", HANDLE, 1, |_| {
            store.least_recently_used(1000, &HandleSet::new()).expect("in memory").shapes.len()
        }),
    ];
    if shapes >= SHAPES_PER_RELATION {
        candidates.push(candidate("10,000 handles of a relation", HANDLE, 1, |at| {
            let relation = Relation::new((at as u64 % (shapes / SHAPES_PER_RELATION)) as u32);
            store.handles_for_relations(&[relation]).expect("in memory").len()
        }));
    }

    let (mut next, mut last, zero) = (0, 0, black_box(0));
    for _ in 0..ROUNDS {
        for (index, candidate) in candidates.iter_mut().enumerate() {
            // Other shapes than those of the previous candidate, which would have warmed the caches.
            let next = next + index * 11_003;
            let started_at = Instant::now();
            for at in next..next + candidate.reads {
                last = (candidate.read)((at + (last & zero)) % 100_000);
            }
            candidate.rounds.push(started_at.elapsed().as_nanos() as f64 / candidate.reads as f64);
        }
        next += READS;
    }
    println!("{shapes} shapes: {:>29} {:>12} {:>8} {:>8}", "best ns", "median ns", "x best", "x median");
    candidates.iter_mut().for_each(|candidate| candidate.rounds.sort_unstable_by(f64::total_cmp));
    let figures: Vec<_> = candidates
        .iter()
        .map(|candidate| {
            let rounds = &candidate.rounds;
            (candidate.name, candidate.baseline, rounds[0], rounds[rounds.len() / 2])
        })
        .collect();
    for (name, baseline, best, median) in &figures {
        let bare = figures.iter().find(|other| other.0 == *baseline).expect("a candidate");
        let (best_ratio, median_ratio) = (best / bare.2, median / bare.3);
        println!("{name:35} {best:>12.0} {median:>12.0} {best_ratio:>8.2} {median_ratio:>8.2}");
    }
}

const HANDLE: &str = "bare evmap get by handle";
const KEY: &str = "bare evmap get by key";

fn candidate<'a>(
    name: &'static str,
    baseline: &'static str,
    reads: usize,
    read: impl FnMut(usize) -> usize + 'a,
) -> Candidate<'a> {
    Candidate { name, baseline, reads, read: Box::new(read), rounds: Vec::new() }
}
