//! The benchmarks without peers; `bench/peers` has them.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    shape_meta_bench::main(Vec::new())
}
