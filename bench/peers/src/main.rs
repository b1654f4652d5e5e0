//! Other stores that keep the same records with the same three access paths, measured in the same run as
//! shape-meta: `cargo xtask bench --peers`. Each follows its own documentation, without tuning that requires
//! knowledge of its internals.

use std::process::ExitCode;

mod fjall;
mod lmdb;
mod maps;
mod moka;
mod record;
mod redb;
mod sqlx;
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
        Box::new(sqlx::Sqlx),
    ])
}
