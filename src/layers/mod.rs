//! What is stacked over what.

use std::sync::Arc;

use shape_meta_core::{Direct, Limits, Observer, Result, ShapeStore, StoreControl};
#[cfg(feature = "sqlite")]
use shape_meta_core::{ReadShapes, RefreshReport, Seq, Timestamp};

#[cfg(feature = "buffer")]
pub(crate) mod buffer;
#[cfg(feature = "cache")]
pub(crate) mod cache;

#[cfg(not(feature = "buffer"))]
#[path = "no_buffer.rs"]
pub(crate) mod buffer;
#[cfg(not(feature = "cache"))]
#[path = "no_cache.rs"]
pub(crate) mod cache;

#[derive(Clone)]
pub(crate) struct Layers {
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) limits: Limits,
    pub(crate) cache: Option<cache::Options>,
    pub(crate) buffer: Option<buffer::Options>,
}

/// Store, cache, buffer: from below to above.
pub(crate) fn stack<S: ShapeStore + 'static>(store: S, mut layers: Layers) -> Result<Box<dyn StoreControl>> {
    match layers.cache.take() {
        Some(options) => {
            let below_buffer = layers.buffer.is_some();
            let cached = cache::over(store, options, below_buffer, Arc::clone(&layers.observer))?;
            top(cached, layers)
        }
        None => top(store, layers),
    }
}

/// A store with its cache, if there is to be one, before anything is stacked on it: what a standby reads.
#[cfg(feature = "sqlite")]
pub(crate) enum Below<S> {
    Cached(Arc<cache::Cached<S>>),
    Bare(S),
}

#[cfg(feature = "sqlite")]
pub(crate) fn below<S: ShapeStore>(store: S, layers: &mut Layers) -> Result<Below<S>> {
    Ok(match layers.cache.take() {
        Some(options) => {
            let below_buffer = layers.buffer.is_some();
            Below::Cached(Arc::new(cache::over(store, options, below_buffer, Arc::clone(&layers.observer))?))
        }
        None => Below::Bare(store),
    })
}

#[cfg(feature = "sqlite")]
impl<S: ShapeStore + Clone + 'static> Below<S> {
    pub(crate) fn reads(&self) -> &dyn ReadShapes {
        match self {
            Self::Cached(cached) => cached,
            Self::Bare(store) => store,
        }
    }

    /// Brings the cache up to date with what somebody else has written.
    pub(crate) fn refresh(&self) -> Result<RefreshReport> {
        match self {
            Self::Cached(cached) => cache::refresh(cached),
            Self::Bare(_) => Ok(RefreshReport::default()),
        }
    }

    /// Shapes that nobody has read count as read when they were found, as they do at every open.
    pub(crate) fn learn_reads(&self, found: impl Fn(Seq) -> Option<Timestamp>) -> Result<()> {
        match self {
            Self::Cached(cached) => cache::learn_reads(cached, found),
            // The store itself has learned them.
            Self::Bare(_) => Ok(()),
        }
    }

    /// What is to lie over it.
    pub(crate) fn under(&self, layers: Layers) -> Result<Box<dyn StoreControl>> {
        match self {
            Self::Cached(cached) => top(Arc::clone(cached), layers),
            Self::Bare(store) => top(store.clone(), layers),
        }
    }
}

fn top<S: ShapeStore + 'static>(store: S, layers: Layers) -> Result<Box<dyn StoreControl>> {
    let Layers { observer, limits, buffer, .. } = layers;
    match buffer {
        Some(options) => buffer::over(store, options, limits, observer),
        None => Ok(Box::new(Direct::new(store, limits, observer)?)),
    }
}
