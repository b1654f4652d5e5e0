//! A bounded number of damaged samples, the same in every run: each byte flipped, each length truncated, and
//! pieces of one sample in another. `FUZZ_TRIES=1000000` runs that number of random samples instead.

mod database;
mod mangle;
mod texts;
