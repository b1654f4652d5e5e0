//! A reset replaces what is pending, and another thread frees it.

use std::{sync::Arc, time::Duration};

use shape_meta_core::{
    Change, MemoryStore, MutateShapesExt, NoopObserver, ReadShapes, Seq, StoreControl, Wait,
    conformance::{handle, shape},
};

use super::memory;
use crate::{
    BufferOptions, Buffered,
    flusher_pool::Step,
    memtable::{Generation, Hashes},
};

const AN_HOUR: Duration = Duration::from_secs(3_600);

/// Once, a reset freed all that was pending under the lock: 170 ms with 300,000 shapes.
#[test]
fn c14_a_reset_leaves_the_freeing_to_the_flusher() {
    // The flusher's thread sleeps: its steps are those of the test.
    let options = BufferOptions::default().flush_interval(AN_HOUR);
    let store = Buffered::new(MemoryStore::new(), options, Arc::new(NoopObserver)).expect("memory");
    store.pause();
    store.flusher.step();
    for number in 0..1_000 {
        store.add(shape(number), Wait::No).expect("below the bound");
    }
    let record = store.record(&handle(7)).expect("memory").expect("live");
    let flush = store.flusher.flush_lock.lock();
    let before = store.pending();
    store.reset(Wait::No).expect("it needs no room");
    assert_eq!((Arc::strong_count(&record), store.pending().shapes), (2, 1), "it is not freed yet");
    assert!(store.pending().bytes >= before.bytes, "and counts as long as it takes memory");
    assert!(store.record(&handle(7)).expect("memory").is_none());
    drop(flush);
    store.flusher.step();
    assert_eq!(Arc::strong_count(&record), 1, "freed while paused");
    assert!(store.pending().bytes < before.bytes / 4, "{} of {}", store.pending().bytes, before.bytes);
    store.resume();
}

#[test]
fn c14_without_a_background_flusher_a_reset_frees_without_the_lock() {
    let options = BufferOptions::default().background_flush(false);
    let store = Buffered::new(MemoryStore::new(), options, Arc::new(NoopObserver)).expect("memory");
    store.add(shape(1), Wait::No).expect("below the bound");
    let record = store.record(&handle(1)).expect("memory").expect("live");
    store.reset(Wait::No).expect("it needs no room");
    assert_eq!(Arc::strong_count(&record), 1);
}

/// The stored data of each shape that was never committed is deleted, whenever its reset was condensed.
#[test]
fn c12_what_resets_replace_is_discarded_once() {
    let records = memory::records(&[1]);
    let discarded = |condensed: [bool; 3]| {
        let mut generation = Generation::default();
        for (part, is_condensed) in condensed.into_iter().enumerate() {
            memory::insert(&mut generation, memory::adds(&records[part * 10..part * 10 + 10]));
            let seq = generation.last().next();
            generation.insert(Change::Reset, Hashes::default(), seq);
            if is_condensed {
                let condensed = generation.take_replaced().condense();
                generation.put_back(condensed);
            }
        }
        let mut created: Vec<Seq> = generation
            .changes()
            .into_iter()
            .filter_map(|change| match change {
                Change::Discard { created, .. } => Some(created),
                _ => None,
            })
            .collect();
        created.sort();
        created
    };
    let all: Vec<_> = (1..=30).map(Seq::new).collect();
    for condensed in 0..8 {
        assert_eq!(discarded([condensed & 1 > 0, condensed & 2 > 0, condensed & 4 > 0]), all, "{condensed}");
    }
}
