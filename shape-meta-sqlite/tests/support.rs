//! What several tests need.

use std::{path::Path, sync::Arc};

use shape_meta_core::{Observer, Silent};
use shape_meta_sqlite::{Durability, SqliteOptions, SqliteStore};
use tempfile::TempDir;

/// A directory that goes with the test.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().expect("there is room for temporary files")
}

/// Options for tests that lose no power.
pub(crate) fn options() -> SqliteOptions {
    SqliteOptions::default().durability(Durability::ProcessCrash)
}

pub(crate) fn open(directory: &Path, options: SqliteOptions) -> SqliteStore {
    observed(directory, options, Arc::new(Silent))
}

pub(crate) fn observed(directory: &Path, options: SqliteOptions, observer: Arc<dyn Observer>) -> SqliteStore {
    SqliteStore::open(directory, options, observer).expect("a directory of our own can be opened")
}
