//! What a read costs beyond a bare evmap get of the same data: `cargo bench -p shape-meta-bench-criterion --bench ratio`.
//! All candidates take turns in short rounds, so that whatever else the machine does meets them alike;
//! the best and the median round of each are shown. What is asked next takes something of the answer into
//! account, so that no look-up begins before the one before it is answered. `SHAPES=10000,1000000` chooses how many shapes.

use std::{env, hint::black_box, sync::Arc, time::Instant};

use shape_meta_bench_criterion::bare;
use shape_meta_bench_criterion::null_store::{READERS, handle, mixed, open};
use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{Handle, HandleSet, Key, NoopObserver, ReadShapes, Relation, Timestamp, conformance};

const ROUNDS: usize = 60;
const READS: usize = 20_000;

struct Candidate<'a> {
    name: &'static str,
    /// The candidate that it is compared with.
    limit: &'static str,
    reads: usize,
    /// Gives something of the answer.
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
    // Over the other one, so that both have the same entries: a second set would not be in the processor's caches.
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
        candidate("bare evmap get, metadata in place", HANDLE, READS, |at| {
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
    if shapes >= READERS {
        candidates.push(candidate("10,000 handles of a relation", HANDLE, 1, |at| {
            let relation = Relation::new((at as u64 % (shapes / READERS)) as u32);
            store.handles_for_relations(&[relation]).expect("in memory").len()
        }));
    }

    let (mut next, mut last, nothing) = (0, 0, black_box(0));
    for _ in 0..ROUNDS {
        for (turn, candidate) in candidates.iter_mut().enumerate() {
            // Elsewhere than the one before, which would have warmed the caches for it.
            let next = next + turn * 11_003;
            let begun = Instant::now();
            for at in next..next + candidate.reads {
                last = (candidate.read)((at + (last & nothing)) % 100_000);
            }
            candidate.rounds.push(begun.elapsed().as_nanos() as f64 / candidate.reads as f64);
        }
        next += READS;
    }
    println!("{shapes} shapes: {:>29} {:>12} {:>8} {:>8}", "best ns", "median ns", "x best", "x median");
    candidates.iter_mut().for_each(|one| one.rounds.sort_unstable_by(f64::total_cmp));
    let figures: Vec<_> = candidates
        .iter()
        .map(|one| (one.name, one.limit, one.rounds[0], one.rounds[one.rounds.len() / 2]))
        .collect();
    for (name, limit, best, median) in &figures {
        let bare = figures.iter().find(|other| other.0 == *limit).expect("it is one of them");
        let (best_ratio, median_ratio) = (best / bare.2, median / bare.3);
        println!("{name:35} {best:>12.0} {median:>12.0} {best_ratio:>8.2} {median_ratio:>8.2}");
    }
}

const HANDLE: &str = "bare evmap get by handle";
const KEY: &str = "bare evmap get by key";

fn candidate<'a>(
    name: &'static str,
    limit: &'static str,
    reads: usize,
    read: impl FnMut(usize) -> usize + 'a,
) -> Candidate<'a> {
    Candidate { name, limit, reads, read: Box::new(read), rounds: Vec::new() }
}
