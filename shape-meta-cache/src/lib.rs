//! The left-right read cache of `shape-meta`.
