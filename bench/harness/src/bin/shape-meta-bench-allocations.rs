//! Counts allocations. It is a program of its own, because counting costs time. The benchmarks run it.

#![forbid(unsafe_code)]

use std::{alloc::System, process::ExitCode};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    shape_meta_bench::allocations::main(ALLOCATOR)
}
