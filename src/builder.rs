use std::sync::Arc;

use shape_meta_core::{Limits, NoopObserver, Observer, Result, ShapeStore};

use crate::{
    ShapeMeta,
    async_store::{BlockingPool, Futures, Workers},
    cleaner::ShapeCleaner,
    layers::{Layers, stack},
};

/// Composes a store: the one place where layers are stacked.
///
/// A layer is added only by its own method. So a cargo feature that another crate turns on does not change
/// your store.
#[must_use = "a builder does nothing until a store is opened"]
pub struct Builder {
    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres")),
        expect(dead_code, reason = "only a database has stored data to clean")
    )]
    pub(crate) cleaner: Arc<dyn ShapeCleaner>,
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) cleanup: CleanupOptions,
    pub(crate) layers: Layers,
    /// The threads for futures; `None` for those of its own.
    pub(crate) workers: Option<Arc<Workers>>,
    #[cfg(feature = "sqlite")]
    pub(crate) sqlite: shape_meta_sqlite::SqliteOptions,
    #[cfg(feature = "postgres")]
    pub(crate) postgres: shape_meta_postgres::PostgresOptions,
}

/// How the stored data of removed shapes is deleted.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
#[derive(Clone, Copy)]
pub(crate) struct CleanupOptions {
    pub(crate) background: bool,
    pub(crate) confirm_orphans: bool,
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl Default for CleanupOptions {
    fn default() -> Self {
        Self { background: true, confirm_orphans: false }
    }
}

impl Builder {
    pub(crate) fn new(cleaner: Arc<dyn ShapeCleaner>) -> Self {
        Self {
            cleaner,
            #[cfg(any(feature = "sqlite", feature = "postgres"))]
            cleanup: CleanupOptions::default(),
            layers: Layers {
                observer: Arc::new(NoopObserver),
                limits: Limits::default(),
                creation_counts_as_read: None,
                cache: None,
                buffer: None,
                feeds: Arc::default(),
            },
            workers: None,
            #[cfg(feature = "sqlite")]
            sqlite: Default::default(),
            #[cfg(feature = "postgres")]
            postgres: Default::default(),
        }
    }

    /// The observer of all layers. Default: [`NoopObserver`].
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.layers.observer = observer;
        self
    }

    /// Whether the cleaner is called on a thread in the background. Default `true`; the thread exists only
    /// while there is something to do.
    ///
    /// With `false` it is called by [`ShapeMeta::clean_once`](crate::ShapeMeta::clean_once) alone, on the
    /// thread of the caller. For tests, and for callers that bring their own thread.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub fn background_cleanup(mut self, background: bool) -> Self {
        self.cleanup.background = background;
        self
    }

    /// Whether stored data without a shape is garbage, also if the database was just created, restored or
    /// rebuilt. Default `false`: such a database only reports it; see
    /// [`ShapeCleaner::stored_handles`](crate::ShapeCleaner::stored_handles).
    ///
    /// With `true`, an unmounted volume or a wrong path of the database deletes all stored data.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub fn confirm_orphans(mut self, confirm: bool) -> Self {
        self.cleanup.confirm_orphans = confirm;
        self
    }

    /// Size limits on handles, definitions, relations and dependencies. Override the limits of the buffer's
    /// options.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.layers.limits = limits;
        self
    }

    /// Whether a shape counts as read when it is created: one that is never read then ages from its creation,
    /// and can be evicted. Default `false`: it is left out of the least recently used shapes until the store
    /// is opened again. Overrides the option of the buffer.
    pub fn creation_counts_as_read(mut self, counts: bool) -> Self {
        self.layers.creation_counts_as_read = Some(counts);
        self
    }

    /// Options of the database: mode, durability, sizes.
    ///
    /// The builder itself sets where look-ups are answered and which layer keeps last-read times, because
    /// both follow from the layers above.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(mut self, options: shape_meta_sqlite::SqliteOptions) -> Self {
        self.sqlite = options;
        self
    }

    /// Options of a stack in PostgreSQL: its schema, durability, time-outs of scans. The connections have
    /// options of their own: [`PoolOptions`](crate::PoolOptions).
    ///
    /// The builder itself sets where look-ups are answered and which layer keeps last-read times.
    #[cfg(feature = "postgres")]
    pub fn postgres(mut self, options: shape_meta_postgres::PostgresOptions) -> Self {
        self.postgres = options;
        self
    }

    /// Adds the left-right read cache over the store.
    #[cfg(feature = "cache")]
    pub fn cached(mut self, options: crate::CacheOptions) -> Self {
        self.layers.cache = Some(options);
        self
    }

    /// Adds the write buffer on top. Without it every mutation is a transaction of its own.
    #[cfg(feature = "buffer")]
    pub fn buffered(mut self, options: crate::BufferOptions) -> Self {
        self.layers.buffer = Some(options);
        self
    }

    /// Sets the pool whose threads run the blocking calls behind the store's futures. Default: up to four
    /// threads of its own, while there are calls. Pass one pool to the stores of many tenants.
    pub fn blocking_pool(mut self, pool: &BlockingPool) -> Self {
        self.workers = Some(Workers::new(Some(pool)));
        self
    }

    /// Composes the layers over your own `ShapeStore` of `shape-meta-core`. That store is then responsible
    /// for recovery; the cleaner is not called.
    ///
    /// Blocks: as the store does.
    ///
    /// # Errors
    ///
    /// If the store cannot be read, or the flusher thread cannot be started.
    pub fn over<S: ShapeStore + 'static>(self, store: S) -> Result<ShapeMeta> {
        let futures = Futures::of(&self.layers, self.workers);
        Ok(ShapeMeta::of(stack(store, self.layers)?, futures))
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}
