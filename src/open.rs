//! What all kinds of databases have in common when they are opened.

use std::sync::Arc;

use shape_meta_core::{Handle, Result, ShapeStore};

use crate::{Builder, ShapeMeta, async_store::Futures, cleanup::Cleanup, database::Owned, layers::stack};

/// What opening a store found and did.
#[derive(Clone, Debug)]
pub struct OpenReport {
    /// The report of the database itself.
    pub database: DatabaseReport,
    /// The number of valid shapes, which the store serves.
    pub valid: u64,
    /// The shapes that recovery removed because their snapshot was not complete, in the order of creation.
    pub removed: Vec<Handle>,
    /// The number of shapes that wait for the cleaner: the removed ones, and those that were removed earlier
    /// and not cleaned yet. It is called in the background.
    pub cleanup_tasks: u64,
}

/// The report of a database, by its kind.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DatabaseReport {
    /// A file of SQLite.
    #[cfg(feature = "sqlite")]
    Sqlite(shape_meta_sqlite::SqliteOpenReport),
    /// A stack in PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(shape_meta_postgres::PostgresOpenReport),
}

impl DatabaseReport {
    /// Returns the epoch of this owner: every open has a higher one, and every commit checks it (C11).
    pub fn epoch(&self) -> u64 {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(report) => report.epoch,
            #[cfg(feature = "postgres")]
            Self::Postgres(report) => report.epoch,
        }
    }

    /// Returns the report of a file of SQLite; `None` for another database.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(&self) -> Option<&shape_meta_sqlite::SqliteOpenReport> {
        match self {
            Self::Sqlite(report) => Some(report),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => None,
        }
    }

    /// Returns the report of a stack in PostgreSQL; `None` for another database.
    #[cfg(feature = "postgres")]
    pub fn postgres(&self) -> Option<&shape_meta_postgres::PostgresOpenReport> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => None,
            Self::Postgres(report) => Some(report),
        }
    }
}

/// The database below a store, and the report of its opening.
pub(crate) struct Opened {
    pub(crate) store: Owned,
    pub(crate) report: OpenReport,
}

impl Builder {
    /// Recovers a database that was opened, and stacks the layers over its store.
    pub(crate) fn over_database(self, store: impl ShapeStore + 'static, owned: Owned) -> Result<ShapeMeta> {
        let report = owned.database().recover(self.cleanup)?;
        let cleanup = Cleanup::new(self.cleaner, Arc::clone(&self.layers.observer), self.cleanup);
        let futures = Futures::of(&self.layers, self.workers);
        let stack = stack(store, self.layers)?;
        Ok(ShapeMeta::over_database(stack, Opened { store: owned, report }, cleanup, futures))
    }
}
