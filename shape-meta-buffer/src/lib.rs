//! The write buffer of `shape-meta`.
