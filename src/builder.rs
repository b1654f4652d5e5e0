use std::sync::Arc;

use shape_meta_core::{Limits, NoopObserver, Observer, Result, ShapeStore};

use crate::{
    ShapeMeta,
    cleaner::ShapeCleaner,
    layers::{Layers, stack},
};

/// Composes a store. The one place where layers are stacked.
///
/// Nothing is composed unless it is asked for, so that a feature which somebody else turns on does not
/// change your store.
#[must_use = "a builder does nothing until a store is opened"]
pub struct Builder {
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(dead_code, reason = "only a database has something to clean")
    )]
    pub(crate) cleaner: Box<dyn ShapeCleaner>,
    pub(crate) layers: Layers,
    #[cfg(feature = "sqlite")]
    pub(crate) sqlite: shape_meta_sqlite::SqliteOptions,
}

impl Builder {
    pub(crate) fn new(cleaner: Box<dyn ShapeCleaner>) -> Self {
        Self {
            cleaner,
            layers: Layers {
                observer: Arc::new(NoopObserver),
                limits: Limits::default(),
                cache: None,
                buffer: None,
            },
            #[cfg(feature = "sqlite")]
            sqlite: Default::default(),
        }
    }

    /// Who hears of what the layers do. Default: nobody.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.layers.observer = observer;
        self
    }

    /// How large what callers hand in may be. Overrides those of the buffer's options.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.layers.limits = limits;
        self
    }

    /// How the database is kept: mode, durability, sizes.
    ///
    /// Where look-ups are answered, and who keeps last-read times, follows from the layers above and is set
    /// by this builder.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(mut self, options: shape_meta_sqlite::SqliteOptions) -> Self {
        self.sqlite = options;
        self
    }

    /// Puts the left-right read cache over the store. Whether a buffer is above it is known to this builder.
    #[cfg(feature = "cache")]
    pub fn cached(mut self, options: crate::CacheOptions) -> Self {
        self.layers.cache = Some(options);
        self
    }

    /// Puts the write buffer on top. Without it every mutation is a transaction of its own.
    #[cfg(feature = "buffer")]
    pub fn buffered(mut self, options: crate::BufferOptions) -> Self {
        self.layers.buffer = Some(options);
        self
    }

    /// Stacks the layers over a store of your own. Recovery, and with it the cleaner, is that store's
    /// matter then.
    ///
    /// # Errors
    ///
    /// If the store cannot be read, or the flusher thread cannot be started.
    pub fn over<S: ShapeStore + 'static>(self, store: S) -> Result<ShapeMeta> {
        Ok(ShapeMeta::of(stack(store, self.layers)?))
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}
