//! What several benchmarks need: a bare evmap as the limit, and a store that keeps nothing.

#![allow(missing_docs, reason = "used by the benchmarks of this package alone")]

#[expect(unsafe_code, reason = "a bare evmap cannot be had without")]
pub mod bare;
pub mod null_store;
