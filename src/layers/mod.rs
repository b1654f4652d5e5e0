//! The order in which layers are stacked: store, cache, buffer (or `Direct`) from bottom to top.

use std::sync::Arc;

use shape_meta_core::{Direct, Limits, Observer, Result, ShapeStore, StoreControl, feed::Feeds};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use shape_meta_core::{ReadShapes, Seq, Timestamp, store_parts::DiskIndexes};

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

/// The layers to stack, with their options.
#[derive(Clone)]
pub(crate) struct Layers {
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) limits: Limits,
    /// `None` leaves it to the options of the buffer.
    pub(crate) creation_counts_as_read: Option<bool>,
    pub(crate) cache: Option<cache::Options>,
    pub(crate) buffer: Option<buffer::Options>,
    /// The subscribers: those of a standby stay when it is promoted.
    pub(crate) feeds: Arc<Feeds>,
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl Layers {
    /// Returns whether the database must answer look-ups, given the layers above it.
    pub(crate) fn disk_indexes(&self) -> DiskIndexes {
        DiskIndexes::of(self.cache.as_ref().is_none_or(cache::needs_indexes_below))
    }
}

/// Stacks all layers over a store.
pub(crate) fn stack<S: ShapeStore + 'static>(store: S, mut layers: Layers) -> Result<Box<dyn StoreControl>> {
    match layers.cache.take() {
        Some(options) => {
            let below_buffer = layers.buffer.is_some();
            let cached = cache::over(store, options, below_buffer, Arc::clone(&layers.observer))?;
            stack_top(cached, layers)
        }
        None => stack_top(store, layers),
    }
}

/// A store with its cache, if it has one, before the top layer is stacked on it: what a standby reads.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) enum LowerLayers<S> {
    Cached(Arc<cache::Cached<S>>),
    Bare(S),
}

/// Stacks the cache over a store, and takes it out of the layers that are left to stack.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn lower_layers<S: ShapeStore>(store: S, layers: &mut Layers) -> Result<LowerLayers<S>> {
    Ok(match layers.cache.take() {
        Some(options) => {
            let below_buffer = layers.buffer.is_some();
            let cached = cache::over(store, options, below_buffer, Arc::clone(&layers.observer))?;
            LowerLayers::Cached(Arc::new(cached))
        }
        None => LowerLayers::Bare(store),
    })
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl<S: ShapeStore + Clone + 'static> LowerLayers<S> {
    /// Whether memory mirrors the store, and is to be refreshed.
    pub(crate) fn has_mirror(&self) -> bool {
        matches!(self, Self::Cached(_))
    }

    pub(crate) fn reads(&self) -> &dyn ReadShapes {
        match self {
            Self::Cached(cached) => cached,
            Self::Bare(store) => store,
        }
    }

    /// Takes over the saved last-read times. A shape that was never read counts as read when it was first
    /// seen, as at every open.
    pub(crate) fn merge_saved_reads(&self, first_seen_at: impl Fn(Seq) -> Option<Timestamp>) -> Result<()> {
        match self {
            Self::Cached(cached) => cache::merge_saved_reads(cached, first_seen_at),
            // Without a cache, the store keeps these times and already has them.
            Self::Bare(_) => Ok(()),
        }
    }

    /// Stacks the top layer over these.
    pub(crate) fn stack_under(&self, layers: Layers) -> Result<Box<dyn StoreControl>> {
        match self {
            Self::Cached(cached) => stack_top(Arc::clone(cached), layers),
            Self::Bare(store) => stack_top(store.clone(), layers),
        }
    }
}

/// Stacks the layer that validates: the buffer, or `Direct` without one.
fn stack_top<S: ShapeStore + 'static>(store: S, layers: Layers) -> Result<Box<dyn StoreControl>> {
    let Layers { observer, limits, creation_counts_as_read, buffer, feeds, .. } = layers;
    match buffer.map(|options| buffer::with_creation_counts_as_read(options, creation_counts_as_read)) {
        Some(options) => buffer::over(store, options, limits, observer, feeds),
        None => Ok(Box::new(
            Direct::with_feeds(store, limits, observer, feeds)?
                .creation_counts_as_read(creation_counts_as_read.unwrap_or(false)),
        )),
    }
}
