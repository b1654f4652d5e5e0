//! C5, and with it C6, C8 and C9: every composition follows the reference model through histories of any kind,
//! read by read, and writes what the direct one writes, row by row.

use proptest::{prelude::*, test_runner::RngSeed};
use shape_meta_core::conformance::ops::{Op, Spec};

use shape_meta_harness::{
    compositions::{
        ALL, BUFFERED, Composition, DIRECT, DIRECT_CACHED, DIRECT_ON_DISK, Flushing, PRODUCT, PRODUCT_ON_DISK,
    },
    one_file::follows_the_model,
};

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(any::<[u8; 6]>().prop_map(Op::from), 1..40)
}

/// So many cases, or as many as `PROPTEST_CASES` says, from a seed that is told: `PROPTEST_RNG_SEED` plays the
/// same ones again.
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
    follows_the_model(composition.flushing(Flushing::Stepped), ops);
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
        stepped(DIRECT_ON_DISK, &ops);
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
        stepped(PRODUCT_ON_DISK, &ops);
    }
}

proptest! {
    #![proptest_config(cases(16))]

    /// The same while a thread flushes all the time, fails, panics and tries again: a failure may not come
    /// back for the same case, but is one.
    #[test]
    fn c5_whatever_the_flusher_does_meanwhile(ops in ops()) {
        for composition in [BUFFERED, PRODUCT, PRODUCT_ON_DISK] {
            follows_the_model(composition.flushing(Flushing::Busy), &ops);
        }
    }
}

/// Found by random histories: a removal whose commit was not heard of looked, to the repair that came next, like a
/// row that the damage had taken.
#[test]
fn c5_what_an_unheard_commit_has_removed_is_not_lost_to_a_repair() {
    let shape = Spec { handle: 3, key: 0, relations: 1, dependencies: 0, size: 0 };
    let remove = [Op::Add(shape), Op::Flush, Op::Remove { handle: 3 }];
    for composition in [PRODUCT, PRODUCT_ON_DISK] {
        stepped(composition, &[&remove[..], &UNHEARD].concat());
    }
}

/// A shape whose add was not heard of comes to the mirror as the one that the buffer has, with its reads.
#[test]
fn c5_reads_of_what_an_unheard_commit_has_added_outlive_a_repair() {
    let shape = Spec { handle: 3, key: 0, relations: 1, dependencies: 0, size: 0 };
    let add = [Op::Add(shape), Op::Touch { handle: 3, at: 7 }];
    for composition in [PRODUCT, PRODUCT_ON_DISK] {
        stepped(composition, &[&add[..], &UNHEARD].concat());
    }
}

/// Found by random histories: who reads without a cache went on with the file that a repair had moved aside.
#[test]
fn c5_who_reads_beside_follows_a_repair() {
    let shape = Spec { handle: 3, key: 0, relations: 1, dependencies: 0, size: 0 };
    for composition in ALL {
        stepped(composition, &[Op::Refresh, Op::Repair, Op::Add(shape), Op::Flush, Op::Refresh]);
    }
}

/// Found by random histories: a shape that nobody had read counted as found by the opening after a repair, and not
/// by the one that had found it.
#[test]
fn c5_a_repair_does_not_forget_when_shapes_were_found() {
    let shape = Spec { handle: 3, key: 0, relations: 1, dependencies: 0, size: 0 };
    let ops = [Op::Add(shape), Op::MarkComplete { handle: 3 }, Op::Reopen, Op::Repair, Op::Reopen];
    for composition in ALL {
        stepped(composition, &ops);
    }
}

/// Found by random histories: a standby that had known a shape before its owner was opened again took it for one that
/// the standby itself had found.
#[test]
fn c5_a_standby_knows_which_owner_has_found_a_shape() {
    let shape = |handle| Op::Add(Spec { handle, key: handle, relations: 1, dependencies: 0, size: 0 });
    let made = [shape(1), Op::MarkComplete { handle: 1 }, Op::Flush];
    let ops = [&made[..], &[Op::Refresh, Op::Reopen, shape(2), Op::Promote]].concat();
    for composition in ALL {
        stepped(composition, &ops);
    }
}

/// The next commit ends in a panic once it is done. The repair meets it, and is tried again.
const UNHEARD: [Op; 3] = [Op::Disturb { way: 3 }, Op::Repair, Op::Flush];
