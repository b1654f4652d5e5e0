//! Several threads, each with shapes of its own. One sequence number must exist such that each thread's part
//! of the database is the state after its steps up to that number.

use std::sync::Arc;

use shape_meta::{Limits, NoopObserver, Seq};
use shape_meta_core::{
    Direct, MemoryStore,
    conformance::{ShapeView, View},
};

use super::{
    child::Task,
    parent::{ChildLog, kill_after, remaining},
};
use shape_meta_harness::compositions::{ALL, directory};
use shape_meta_harness::script::Script;

const THREADS: u64 = 4;

fn c6_leaves_a_prefix(composition: usize, small_batches: bool, most_steps: u64) {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}, {:?}, small batches: {small_batches}", ALL[composition]);
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..2 {
        let directory = directory();
        let task = Task { composition, small_batches, threads: THREADS, seed: random.u64(..) };
        let log = kill_after(random.u64(1..most_steps), task, directory.path());
        let view = remaining(directory.path());
        assert!(
            view.last_seq.get() >= log.durable,
            "C6: sequence number {} was durable, but the database is at {}",
            log.durable,
            view.last_seq
        );
        let parts: usize = (0..THREADS).map(|thread| part(&view, thread, task, &log)).sum();
        assert_eq!(parts, view.shapes.len(), "C6: shapes of no thread: {view:#?}");
    }
}

/// Checks one thread's part of the database, and returns its number of shapes.
fn part(view: &View, thread: u64, task: Task, log: &ChildLog) -> usize {
    let found: Vec<_> = view.shapes.iter().filter(|shape| Script::owns_key(thread, &shape.key)).collect();
    let found = sorted(found.into_iter().cloned());
    let reported = &log.did[thread as usize];
    let is_before = |seq: &u64| *seq <= view.last_seq.get();
    let seqs: Vec<_> = reported.iter().flatten().copied().collect();
    assert!(seqs.is_sorted(), "C6: sequence numbers of one thread are out of order: {seqs:?}");
    let before = reported.iter().rposition(|seq| seq.as_ref().is_some_and(is_before)).map_or(0, |at| at + 1);

    let model = Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver)).expect("memory");
    let mut script = Script::for_thread(task.seed, thread);
    for step in script.by_ref().take(before) {
        step.play(&model);
    }
    if found == sorted(View::of(&model).shapes) {
        return found.len();
    }
    // The step during which the child was killed may have been committed without a report. That is impossible
    // if the child has reported later steps.
    assert!(
        reported.iter().skip(before).all(Option::is_none),
        "C6: thread {thread} is not in the state after {before} steps"
    );
    for step in script.take(reported.len() - before + 1) {
        step.play(&model);
    }
    let expected = sorted(View::of(&model).shapes);
    assert_eq!(
        found, expected,
        "C6: thread {thread} is neither in the state after {before} steps nor after one more"
    );
    found.len()
}

/// The shapes by handle, without the fields that depend on other threads or the clock.
fn sorted(shapes: impl IntoIterator<Item = ShapeView>) -> Vec<ShapeView> {
    let shapes = shapes.into_iter().map(|shape| ShapeView { created: Seq::ZERO, last_read: None, ..shape });
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
