//! One turn of `cargo xtask soak`.

use std::time::Instant;

use shape_meta_torture::soak::soak;

#[test]
fn c1_c5_every_composition_has_a_turn() {
    let seed = fastrand::u64(..);
    eprintln!("cargo xtask soak --seed {seed}");
    let soaked = soak(seed, Instant::now());
    assert!(soaked.failure.is_none(), "{}", soaked.failure.unwrap_or_default());
    assert!(soaked.histories > 0 && soaked.rounds > 0);
}
