//! What is too long, or too cruel, for a test: see `cargo xtask crash --help`. A little of each is run as a test of
//! this package.

#![forbid(unsafe_code)]

pub mod crash;
pub mod soak;

// What the tests of the workspace play, for as long as one likes.
mod linear;

#[allow(dead_code, reason = "each user has some of it")]
#[path = "../../tests/compositions.rs"]
mod compositions;
#[path = "../../tests/one_file.rs"]
mod one_file;
#[allow(dead_code, reason = "each user has some of it")]
#[path = "../../tests/rows.rs"]
mod rows;
