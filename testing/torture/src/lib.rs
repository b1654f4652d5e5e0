//! What is too long, or too cruel, for a test: see `cargo xtask crash --help`. A little of each is run as a test of
//! this package.

#![forbid(unsafe_code)]

pub mod crash;
pub mod soak;
