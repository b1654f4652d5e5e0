//! The order of one thread's mutations is known exactly: the database must hold the state after a prefix of
//! them.

use std::sync::Arc;

use shape_meta::{Limits, NoopObserver, ReadShapes, Timestamp};
use shape_meta_core::{Direct, MemoryStore, conformance::View};

use super::{
    child::Task,
    parent::{forget_reads, kill_after, remaining},
};
use shape_meta_harness::compositions::{ALL, directory};
use shape_meta_harness::script::Script;

/// Kills several children in succession on the same database. Each continues with the state that it finds.
fn c6_leaves_a_prefix(composition: usize, small_batches: bool, most_steps: u64) {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}, {:?}, small batches: {small_batches}", ALL[composition]);
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = directory();
    let model = Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver)).expect("memory");
    for generation in 1..=3 {
        let task = Task { composition, small_batches, threads: 1, seed: random.u64(..) };
        let log = kill_after(random.u64(1..most_steps), task, directory.path());
        let reported = &log.did[0];
        // Opening removed the incomplete shapes before the first report of the child.
        model.inner().reopen(Timestamp::from_micros(generation));

        let view = remaining(directory.path());
        let n = view.last_seq;
        assert!(
            n.get() >= log.durable,
            "C6: sequence number {} was durable, but the database is at {n}",
            log.durable
        );
        let mut played = 0;
        for step in Script::single_threaded(task.seed) {
            if model.last_seq().expect("memory") == n {
                break;
            }
            let receipt = step.play(&model);
            let seq = receipt.map(|receipt| receipt.seq().get());
            assert!(reported.get(played).is_none_or(|reported| *reported == seq), "{step:?}: {seq:?}");
            played += 1;
            assert!(
                played <= reported.len() + 1,
                "C6: sequence number {n} is beyond the {} reported steps",
                reported.len()
            );
        }
        let expected = forget_reads(View::of(&model));
        assert_eq!(view, expected, "C6: not the state after {played} of {} steps", reported.len());
        eprintln!(
            "generation {generation}: {} steps, {played} of them on disk, durable up to {} of {n}",
            reported.len(),
            log.durable
        );
    }
}

#[test]
fn c6_a_killed_product_leaves_a_prefix() {
    for _ in 0..3 {
        c6_leaves_a_prefix(4, false, 3_000);
    }
    c6_leaves_a_prefix(4, true, 3_000);
}

#[test]
fn c6_a_killed_product_with_lookups_on_disk_leaves_a_prefix() {
    c6_leaves_a_prefix(5, false, 3_000);
}

#[test]
fn c6_a_killed_buffer_without_a_cache_leaves_a_prefix() {
    c6_leaves_a_prefix(3, false, 3_000);
}

#[test]
fn c6_a_killed_direct_store_leaves_all_that_it_acknowledged() {
    c6_leaves_a_prefix(0, false, 1_000);
    c6_leaves_a_prefix(1, false, 1_000);
}
