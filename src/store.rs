use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use shape_meta_core::{
    AttemptContext, CloseReport, GetOrAdd, Health, MutateError, MutateShapes, Mutation, NewShape, NotDurable,
    Pending, ReadShapes, Receipt, Repaired, Result, Signal, StoreControl, Usage,
};

use crate::{Builder, ShapeCleaner};

/// A composed store, for any number of threads. A clone is one atomic increment, and all clones are the same
/// store. Dropping the last clone flushes pending changes.
///
/// Its methods are those of [`ReadShapes`], [`MutateShapes`] and [`StoreControl`], and of the extension
/// traits [`ReadShapesExt`](crate::ReadShapesExt) and [`MutateShapesExt`](crate::MutateShapesExt):
/// `use shape_meta::prelude::*`.
#[derive(Clone)]
pub struct ShapeMeta(Arc<Inner>);

struct Inner {
    /// Declared before the database, so that it is dropped first: a buffer flushes when it is dropped.
    stack: Box<dyn StoreControl>,
    #[cfg(feature = "sqlite")]
    database: Option<crate::open::Database>,
}

impl ShapeMeta {
    /// Returns a builder. It takes the cleaner at once, because no database opens without one. Pass
    /// [`NoopCleaner`](crate::NoopCleaner) if you store no data for shapes.
    pub fn builder(cleaner: impl ShapeCleaner + 'static) -> Builder {
        Builder::new(Box::new(cleaner))
    }

    pub(crate) fn of(stack: Box<dyn StoreControl>) -> Self {
        Self(Arc::new(Inner {
            stack,
            #[cfg(feature = "sqlite")]
            database: None,
        }))
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn over_database(stack: Box<dyn StoreControl>, database: crate::open::Database) -> Self {
        Self(Arc::new(Inner { stack, database: Some(database) }))
    }

    /// Returns the database below, for its size, its query plans and its maintenance; `None` over a store of
    /// your own. It lacks the changes that are pending. Do not change it.
    #[cfg(feature = "sqlite")]
    pub fn database(&self) -> Option<&crate::SqliteStore> {
        self.0.database.as_ref()?.store()
    }

    /// Returns what opening found and did; `None` over a store of your own.
    #[cfg(feature = "sqlite")]
    pub fn open_report(&self) -> Option<&crate::OpenReport> {
        Some(&self.0.database.as_ref()?.report)
    }

    /// Returns a reference that does not keep the store open.
    pub fn downgrade(&self) -> WeakShapeMeta {
        WeakShapeMeta(Arc::downgrade(&self.0))
    }
}

/// A reference that does not keep a store open: for gauges and probes.
#[derive(Clone)]
pub struct WeakShapeMeta(Weak<Inner>);

impl WeakShapeMeta {
    /// Returns the store if it is still open. Drop it soon: the thread that drops the last clone flushes.
    pub fn upgrade(&self) -> Option<ShapeMeta> {
        self.0.upgrade().map(ShapeMeta)
    }
}

impl std::fmt::Debug for WeakShapeMeta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakShapeMeta").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ShapeMeta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShapeMeta").field("pending", &self.pending()).finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
impl ReadShapes for ShapeMeta {
    shape_meta_core::forward_reads!(self => self.0.stack);
}

#[deny(clippy::missing_trait_methods)]
impl MutateShapes for ShapeMeta {
    fn try_mutate(&self, mutation: &Mutation) -> Result<Receipt, MutateError> {
        self.0.stack.try_mutate(mutation)
    }

    fn try_get_or_add(&self, shape: &NewShape) -> Result<GetOrAdd, MutateError> {
        self.0.stack.try_get_or_add(shape)
    }

    fn attempt(&self, mutation: &Mutation, attempt: AttemptContext) -> Result<Receipt, MutateError> {
        self.0.stack.attempt(mutation, attempt)
    }

    fn attempt_get_or_add(&self, shape: &NewShape, attempt: AttemptContext) -> Result<GetOrAdd, MutateError> {
        self.0.stack.attempt_get_or_add(shape, attempt)
    }

    fn capacity_signal(&self) -> Option<&Signal> {
        self.0.stack.capacity_signal()
    }
}

#[deny(clippy::missing_trait_methods)]
impl StoreControl for ShapeMeta {
    fn request_flush(&self) -> Receipt {
        self.0.stack.request_flush()
    }

    fn flush(&self, timeout: Duration) -> Result<(), NotDurable> {
        self.0.stack.flush(timeout)
    }

    fn pause(&self) {
        self.0.stack.pause();
    }

    fn resume(&self) {
        self.0.stack.resume();
    }

    fn pending(&self) -> Pending {
        self.0.stack.pending()
    }

    fn drain_rate(&self) -> f64 {
        self.0.stack.drain_rate()
    }

    fn health(&self) -> Health {
        self.0.stack.health()
    }

    fn usage(&self) -> Usage {
        self.0.stack.usage()
    }

    fn repair(&self) -> Result<Repaired> {
        self.0.stack.repair()
    }

    fn close(&self, timeout: Duration) -> CloseReport {
        self.0.stack.close(timeout)
    }
}
