//! The tests of the crate, in one binary, split by behaviour.

mod conformance;
mod support;
