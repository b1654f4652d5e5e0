//! C5, and with it C6, C8 and C9: in random histories every composition returns the reads of the reference
//! model, and writes the rows of the direct composition.

use proptest::{prelude::*, test_runner::RngSeed};
use shape_meta_core::conformance::ops::{Op, ShapeSpec};

use shape_meta_harness::{
    compositions::{
        ALL, BUFFERED, Composition, DIRECT, DIRECT_CACHED, DIRECT_DISK_LOOKUPS, FlushSchedule, PRODUCT,
        PRODUCT_DISK_LOOKUPS,
    },
    database_fixture::follows_the_model,
};

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(any::<[u8; 6]>().prop_map(Op::from), 1..40)
}

/// The given number of cases, or `PROPTEST_CASES`. The seed is printed, and `PROPTEST_RNG_SEED` repeats the
/// same cases.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    let seed = match default.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => fastrand::u64(..),
    };
    eprintln!("PROPTEST_RNG_SEED={seed}");
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..default }
}

fn stepped(composition: Composition, ops: &[Op]) {
    follows_the_model(composition.with_flush_schedule(FlushSchedule::Manual), ops);
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn c5_direct_follows_the_model(ops in ops()) {
        stepped(DIRECT, &ops);
    }

    #[test]
    fn c5_direct_with_a_cache_follows_the_model(ops in ops()) {
        stepped(DIRECT_CACHED, &ops);
    }

    #[test]
    fn c5_direct_with_lookups_on_disk_follows_the_model(ops in ops()) {
        stepped(DIRECT_DISK_LOOKUPS, &ops);
    }

    #[test]
    fn c5_buffered_equals_direct(ops in ops()) {
        stepped(BUFFERED, &ops);
    }

    #[test]
    fn c5_the_product_equals_direct(ops in ops()) {
        stepped(PRODUCT, &ops);
    }

    #[test]
    fn c5_the_product_with_lookups_on_disk_equals_direct(ops in ops()) {
        stepped(PRODUCT_DISK_LOOKUPS, &ops);
    }
}

proptest! {
    #![proptest_config(cases(16))]

    /// The same while a thread flushes constantly, fails, panics and retries. A failure depends on the
    /// scheduler, so it may not come back for the same case.
    #[test]
    fn c5_buffered_equals_direct_with_constant_flushes(ops in ops()) {
        for composition in [BUFFERED, PRODUCT, PRODUCT_DISK_LOOKUPS] {
            follows_the_model(composition.with_flush_schedule(FlushSchedule::Continuous), &ops);
        }
    }
}

/// Histories in which owners and files change often, and shapes seldom.
fn restores() -> impl Strategy<Value = Vec<Op>> {
    let spec = any::<[u8; 2]>();
    let spec =
        spec.prop_map(|[handle, key]| ShapeSpec { handle, key, relations: 1, dependencies: 0, size: 1 });
    let op = prop_oneof![
        5 => spec.prop_map(Op::Add),
        2 => any::<u8>().prop_map(|handle| Op::Remove { handle }),
        3 => any::<u8>().prop_map(|handle| Op::MarkComplete { handle }),
        3 => Just(Op::Flush),
        1 => Just(Op::Repair),
        2 => Just(Op::Refresh),
        1 => Just(Op::Promote),
        1 => Just(Op::Reopen),
        1 => Just(Op::Crash),
        2 => any::<u8>().prop_map(|kind| Op::SaveCopy { kind }),
        3 => any::<u8>().prop_map(|kind| Op::Restore { kind }),
        2 => Just(Op::Fence),
        1 => any::<u8>().prop_map(|kind| Op::Recreate { kind }),
        1 => any::<u8>().prop_map(|kind| Op::Empty { kind }),
        1 => Just(Op::WriteAsFormerOwner),
    ];
    prop::collection::vec(op, 1..40)
}

proptest! {
    #![proptest_config(cases(8))]

    /// Copies that are put back, second owners next to live ones, directories that are made anew, emptied and
    /// deleted files. Of two openings at most one confirms anything, and a standby follows the one that does.
    #[test]
    fn c13_restores_and_second_owners_follow_the_model(ops in restores(), at in 0..ALL.len()) {
        stepped(ALL[at], &ops);
    }

    /// The same while a thread flushes constantly.
    #[test]
    fn c13_restores_follow_the_model_with_constant_flushes(ops in restores(), at in 3..ALL.len()) {
        follows_the_model(ALL[at].with_flush_schedule(FlushSchedule::Continuous), &ops);
    }
}

/// Found by random histories: a repair took a removal whose commit had panicked for a row that was lost to
/// the damage.
#[test]
fn c5_a_repair_knows_removals_of_a_commit_that_panicked() {
    let shape = ShapeSpec { handle: 3, key: 0, relations: 1, dependencies: 0, size: 0 };
    let remove = [Op::Add(shape), Op::Flush, Op::Remove { handle: 3 }];
    for composition in [PRODUCT, PRODUCT_DISK_LOOKUPS] {
        stepped(composition, &[&remove[..], &PANIC_AFTER_COMMIT].concat());
    }
}

/// A shape whose add was committed without a result enters the mirror as the buffer's entry, with its last
/// read.
#[test]
fn c5_a_repair_keeps_last_reads_after_a_commit_that_panicked() {
    let shape = ShapeSpec { handle: 3, key: 0, relations: 1, dependencies: 0, size: 0 };
    let add = [Op::Add(shape), Op::Touch { handle: 3, at: 7 }];
    for composition in [PRODUCT, PRODUCT_DISK_LOOKUPS] {
        stepped(composition, &[&add[..], &PANIC_AFTER_COMMIT].concat());
    }
}

/// Found by random histories: a reader without a cache kept using the file that a repair had quarantined.
#[test]
fn c5_a_standby_follows_a_repair() {
    let shape = ShapeSpec { handle: 3, key: 0, relations: 1, dependencies: 0, size: 0 };
    for composition in ALL {
        stepped(composition, &[Op::Refresh, Op::Repair, Op::Add(shape), Op::Flush, Op::Refresh]);
    }
}

/// Found by random histories: the open after a repair changed the time at which an unread shape was first
/// seen.
#[test]
fn c5_a_repair_keeps_the_time_of_the_first_sighting() {
    let shape = ShapeSpec { handle: 3, key: 0, relations: 1, dependencies: 0, size: 0 };
    let ops = [Op::Add(shape), Op::MarkComplete { handle: 3 }, Op::Reopen, Op::Repair, Op::Reopen];
    for composition in ALL {
        stepped(composition, &ops);
    }
}

/// Found by random histories: a standby took a shape for its own find, although it had known the shape before
/// its owner was reopened.
#[test]
fn c5_a_standby_knows_which_owner_saw_a_shape_first() {
    let shape = |handle| Op::Add(ShapeSpec { handle, key: handle, relations: 1, dependencies: 0, size: 0 });
    let made = [shape(1), Op::MarkComplete { handle: 1 }, Op::Flush];
    let ops = [&made[..], &[Op::Refresh, Op::Reopen, shape(2), Op::Promote]].concat();
    for composition in ALL {
        stepped(composition, &ops);
    }
}

/// The next commit panics after it has committed. The repair meets that panic, and is retried.
const PANIC_AFTER_COMMIT: [Op; 3] = [Op::InjectFault { kind: 3 }, Op::Repair, Op::Flush];
