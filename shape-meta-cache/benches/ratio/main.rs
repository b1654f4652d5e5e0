//! What a read costs beyond a bare evmap get of the same data: `cargo bench -p shape-meta-cache --bench ratio`.
//! All candidates take turns in short rounds, so that whatever else the machine does meets them alike;
//! the best and the median round of each are shown. `SHAPES=10000,1000000` chooses how many shapes.

#[path = "../bare/mod.rs"]
#[expect(unsafe_code, reason = "a bare evmap cannot be had without")]
mod bare;
#[path = "../nowhere/mod.rs"]
#[expect(dead_code, reason = "the other benchmarks need more of it")]
mod nowhere;

use std::{env, hint::black_box, time::Instant};

use nowhere::{READERS, handle, mixed, open};
use shape_meta_cache::CacheOptions;
use shape_meta_core::{Handle, HandleSet, Key, ReadShapes, Relation, Timestamp, conformance};

const ROUNDS: usize = 60;
const READS: usize = 20_000;

struct Candidate<'a> {
    name: &'static str,
    reads: usize,
    read: Box<dyn FnMut(usize) + 'a>,
    rounds: Vec<f64>,
}

fn main() {
    let sizes = env::var("SHAPES").unwrap_or_else(|_| "1000,100000,1000000".to_owned());
    for shapes in sizes.split(',') {
        compare(shapes.trim().parse().expect("SHAPES is a list of numbers"));
    }
}

fn compare(shapes: u64) {
    let cached = open(shapes, CacheOptions::default());
    let exact = open(shapes, CacheOptions::default().keys_per_slot(1));
    let picks = || (0..100_000).map(|pick| mixed(pick + 77) % shapes);
    let handles: Vec<Handle> = picks().map(handle).collect();
    let keys: Vec<Key> = picks().map(conformance::key).collect();
    let entries: Vec<_> =
        (0..shapes).map(|number| cached.entry(&handle(number)).expect("in memory").expect("live")).collect();
    let (shared, inline) = (bare::shared(&entries), bare::inline(&entries));
    drop(entries);
    let store: &dyn ReadShapes = &cached;

    let mut candidates = vec![
        candidate("bare evmap get, shared entries", READS, |at| {
            black_box(shared.get(&handles[at]));
        }),
        candidate("bare evmap get, metadata in place", READS, |at| {
            black_box(inline.get(&handles[at]));
        }),
        candidate("metadata", READS, |at| {
            black_box(store.metadata(&handles[at]).expect("in memory").expect("live"));
        }),
        candidate("entry", READS, |at| {
            black_box(store.entry(&handles[at]).expect("in memory").expect("live"));
        }),
        candidate("touch", READS, |at| {
            black_box(store.touch(&handles[at], Timestamp::from_micros(5)).expect("in memory"));
        }),
        candidate("handle by key, four to a slot", READS, |at| {
            black_box(store.handle_for(&keys[at]).expect("in memory").expect("live"));
        }),
        candidate("handle by key, one to a slot", READS, |at| {
            black_box(exact.handle_for(&keys[at]).expect("in memory").expect("live"));
        }),
        candidate("1,000 least recently used", 1, |_| {
            black_box(store.least_recently_used(1000, &HandleSet::new()).expect("in memory"));
        }),
    ];
    if shapes >= READERS {
        candidates.push(candidate("10,000 handles of a relation", 1, |at| {
            let relation = Relation::new((at as u64 % (shapes / READERS)) as u32);
            black_box(store.handles_reading(&[relation]).expect("in memory"));
        }));
    }

    let mut next = 0;
    for _ in 0..ROUNDS {
        for (turn, candidate) in candidates.iter_mut().enumerate() {
            // Elsewhere than the one before, which would have warmed the caches for it.
            let next = next + turn * 11_003;
            let begun = Instant::now();
            for at in next..next + candidate.reads {
                (candidate.read)(at % 100_000);
            }
            candidate.rounds.push(begun.elapsed().as_nanos() as f64 / candidate.reads as f64);
        }
        next += READS;
    }
    println!("{shapes} shapes: {:>29} {:>12} {:>8}", "best ns", "median ns", "x bare");
    let mut yardstick = None;
    for Candidate { name, mut rounds, .. } in candidates {
        rounds.sort_unstable_by(f64::total_cmp);
        let (best, median) = (rounds[0], rounds[rounds.len() / 2]);
        let ratio = median / *yardstick.get_or_insert(median);
        println!("{name:35} {best:>12.0} {median:>12.0} {ratio:>8.2}");
    }
}

fn candidate<'a>(name: &'static str, reads: usize, read: impl FnMut(usize) + 'a) -> Candidate<'a> {
    Candidate { name, reads, read: Box::new(read), rounds: Vec::new() }
}
