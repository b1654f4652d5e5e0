//! A bounded number of damaged samples, the same in every run: each byte flipped, each length cut, pieces of
//! one put into another. `FUZZ_TRIES=1000000` adds so many random ones.

mod database;
mod mangle;
mod texts;
