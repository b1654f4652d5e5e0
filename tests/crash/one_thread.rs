//! One thread's mutations have one order, known to the last one: the state must be exactly that after some
//! of them.

use std::sync::Arc;

use shape_meta::{Limits, NoopObserver, ReadShapes, Timestamp};
use shape_meta_core::{Direct, MemoryStore, conformance::View};

use super::{
    child::Task,
    parent::{forget_reads, kill_after, left},
};
use shape_meta_harness::compositions::{ALL, directory};
use shape_meta_harness::script::Script;

/// Kills one child after the other on the same database, each of which goes on with what it finds.
fn c6_leaves_a_prefix(composition: usize, few: bool, most_steps: u64) {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}, {:?}, {} changes at once", ALL[composition], if few { "few" } else { "many" });
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = directory();
    let model = Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver)).expect("memory");
    for generation in 1..=3 {
        let task = Task { composition, few, threads: 1, seed: random.u64(..) };
        let heard = kill_after(random.u64(1..most_steps), task, directory.path());
        let said = &heard.did[0];
        // Opening removed what was not complete before the child said anything.
        model.inner().reopen(Timestamp::from_micros(generation));

        let view = left(directory.path());
        let n = view.last_seq;
        assert!(n.get() >= heard.durable, "C6: the order is at {n}, and {} was durable", heard.durable);
        let mut played = 0;
        for step in Script::alone(task.seed) {
            if model.last_seq().expect("memory") == n {
                break;
            }
            let receipt = step.play(&model);
            let seq = receipt.map(|receipt| receipt.seq().get());
            assert!(said.get(played).is_none_or(|said| *said == seq), "{step:?}: {seq:?}");
            played += 1;
            assert!(played <= said.len() + 1, "C6: {n} is beyond what was asked for: {}", said.len());
        }
        let expected = forget_reads(View::of(&model));
        assert_eq!(view, expected, "C6: not the state after {played} of {} steps", said.len());
        eprintln!(
            "generation {generation}: {} steps, {played} of them on disk, durable up to {} of {n}",
            said.len(),
            heard.durable
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
