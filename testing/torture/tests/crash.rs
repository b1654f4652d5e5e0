//! A few rounds of `cargo xtask crash`.

use std::path::Path;

use shape_meta_torture::crash::{rounds_of, rounds_on_servers};

#[test]
fn c6_a_killed_process_leaves_a_prefix() {
    let seed = fastrand::u64(..);
    eprintln!("cargo xtask crash --rounds 40 --seed {seed}");
    let binary = Path::new(env!("CARGO_BIN_EXE_shape-meta-torture"));
    let report = rounds_of(binary, seed, 40, None).expect("a child can be started");
    eprintln!("{report}");
    assert!(report.is_sound() && report.kills > 0, "{report}");
}

#[test]
fn c6_a_killed_server_or_a_promoted_replica_leaves_a_prefix() {
    let seed = fastrand::u64(..);
    eprintln!("cargo xtask crash --store postgres --rounds 8 --seed {seed}");
    let binary = Path::new(env!("CARGO_BIN_EXE_shape-meta-torture"));
    let Some(report) = rounds_on_servers(binary, seed, 8, None).expect("a child can be started") else {
        return;
    };
    eprintln!("{report}");
    assert!(report.is_sound() && report.kills > 0, "{report}");
}
