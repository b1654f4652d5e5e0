//! Several threads, each with shapes of its own. Each thread's part of the database must be exactly the
//! state after those of its steps that come before one and the same place in the order.

use std::sync::Arc;

use shape_meta::{Limits, NoopObserver, Seq};
use shape_meta_core::{
    Direct, MemoryStore,
    conformance::{Seen, View},
};

use super::{
    child::Task,
    parent::{Heard, kill_after, left},
};
use shape_meta_harness::compositions::{ALL, directory};
use shape_meta_harness::script::Script;

const THREADS: u64 = 4;

fn c6_leaves_a_prefix(composition: usize, few: bool, most_steps: u64) {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}, {:?}, {} changes at once", ALL[composition], if few { "few" } else { "many" });
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..2 {
        let directory = directory();
        let task = Task { composition, few, threads: THREADS, seed: random.u64(..) };
        let heard = kill_after(random.u64(1..most_steps), task, directory.path());
        let view = left(directory.path());
        assert!(view.last_seq.get() >= heard.durable, "C6: {} of {} is lost", heard.durable, view.last_seq);
        let parts: usize = (0..THREADS).map(|thread| part(&view, thread, task, &heard)).sum();
        assert_eq!(parts, view.shapes.len(), "C6: shapes of nobody: {view:#?}");
    }
}

/// Checks what the database holds of one thread, and says how many shapes that are.
fn part(view: &View, thread: u64, task: Task, heard: &Heard) -> usize {
    let found: Vec<_> = view.shapes.iter().filter(|shape| Script::is_of(thread, &shape.key)).collect();
    let found = sorted(found.into_iter().cloned());
    let said = &heard.did[thread as usize];
    let is_before = |seq: &u64| *seq <= view.last_seq.get();
    let places: Vec<_> = said.iter().flatten().copied().collect();
    assert!(places.is_sorted(), "C6: one thread's mutations are in its order: {places:?}");
    let before = said.iter().rposition(|seq| seq.as_ref().is_some_and(is_before)).map_or(0, |at| at + 1);

    let model = Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver)).expect("memory");
    let mut script = Script::among_others(task.seed, thread);
    for step in script.by_ref().take(before) {
        step.play(&model);
    }
    if found == sorted(View::of(&model).shapes) {
        return found.len();
    }
    // What it was doing when it was killed may be there, though nobody heard of it. But not if it had
    // done more than what is there.
    assert!(said.iter().skip(before).all(Option::is_none), "C6: thread {thread} is not at {before} steps");
    for step in script.take(said.len() - before + 1) {
        step.play(&model);
    }
    let expected = sorted(View::of(&model).shapes);
    assert_eq!(found, expected, "C6: thread {thread} is neither at {before} steps nor at one more");
    found.len()
}

/// By handle, without what depends on the other threads and on the clock.
fn sorted(shapes: impl IntoIterator<Item = Seen>) -> Vec<Seen> {
    let shapes = shapes.into_iter().map(|shape| Seen { created: Seq::ZERO, last_read: None, ..shape });
    let mut shapes: Vec<_> = shapes.collect();
    shapes.sort_by(|one, other| one.handle.cmp(&other.handle));
    shapes
}

#[test]
fn c6_a_killed_product_leaves_a_prefix_of_all_threads() {
    c6_leaves_a_prefix(4, false, 5_000);
    c6_leaves_a_prefix(4, true, 5_000);
}

#[test]
fn c6_a_killed_direct_store_leaves_a_prefix_of_all_threads() {
    c6_leaves_a_prefix(0, false, 1_000);
}
