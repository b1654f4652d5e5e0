//! Shared parts of the benchmarks: a bare evmap as the baseline, and a store that stores nothing.

#![allow(missing_docs, reason = "used by the benchmarks of this package alone")]

#[expect(unsafe_code, reason = "evmap requires it for custom hashers and values")]
pub mod bare;
pub mod null_store;
