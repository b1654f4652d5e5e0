//! Other ways to keep the same records with the same three access paths, measured beside shape-meta in one run:
//! `cargo xtask bench --peers`. Each is written as its own documentation does it, without tricks that would take
//! knowing its insides.

use std::process::ExitCode;

mod fjall;
mod lmdb;
mod moka;
mod record;
mod redb;
mod tables;
mod write_behind;

type Result<T = ()> = shape_meta_bench::Result<T>;

fn main() -> ExitCode {
    shape_meta_bench::main(vec![
        Box::new(write_behind::WriteBehind),
        Box::new(moka::Moka),
        Box::new(fjall::Fjall),
        Box::new(lmdb::Lmdb),
        Box::new(redb::Redb),
    ])
}
