//! Tests that run too long for the test suite: see `cargo xtask crash --help`. A short run of each is a test
//! of this package.

#![forbid(unsafe_code)]

pub mod churn;
pub mod crash;
pub mod soak;
