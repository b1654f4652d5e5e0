//! The pieces of the cache, measured.

fn main() {}
