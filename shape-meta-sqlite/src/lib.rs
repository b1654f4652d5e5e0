//! The durable store of `shape-meta`: SQLite.
