//! What is stacked over what.

use std::sync::Arc;

use shape_meta_core::{ApplyChanges, ControlWrites, Direct, Limits, Observer, Result};

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

pub(crate) struct Layers {
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) limits: Limits,
    pub(crate) cache: Option<cache::Options>,
    pub(crate) buffer: Option<buffer::Options>,
}

/// Store, cache, buffer: from below to above.
pub(crate) fn stack<S: ApplyChanges + 'static>(
    store: S,
    mut layers: Layers,
) -> Result<Box<dyn ControlWrites>> {
    match layers.cache.take() {
        Some(options) => {
            let overlaid = layers.buffer.is_some();
            let cached = cache::over(store, options, overlaid, Arc::clone(&layers.observer))?;
            top(cached, layers)
        }
        None => top(store, layers),
    }
}

fn top<S: ApplyChanges + 'static>(store: S, layers: Layers) -> Result<Box<dyn ControlWrites>> {
    let Layers { observer, limits, buffer, .. } = layers;
    match buffer {
        Some(options) => buffer::over(store, options, limits, observer),
        None => Ok(Box::new(Direct::new(store, limits, observer)?)),
    }
}
