//! One cycle of `cargo xtask soak`.

use std::time::Instant;

use shape_meta_torture::soak::soak;

#[test]
fn c1_c5_one_cycle_of_all_compositions() {
    let seed = fastrand::u64(..);
    eprintln!("cargo xtask soak --seed {seed}");
    let report = soak(seed, Instant::now());
    assert!(report.failure.is_none(), "{}", report.failure.unwrap_or_default());
    assert!(report.histories > 0 && report.rounds > 0);
}
