//! Observers for `shape-meta`.
