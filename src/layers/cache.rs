use std::sync::Arc;

use shape_meta_cache::Cached;
use shape_meta_core::{ApplyChanges, Observer, Result};

pub(crate) use shape_meta_cache::CacheOptions as Options;

pub(crate) fn over<S: ApplyChanges>(
    store: S,
    options: Options,
    overlaid: bool,
    observer: Arc<dyn Observer>,
) -> Result<Cached<S>> {
    Cached::open(store, options.overlaid(overlaid), observer)
}

#[cfg(feature = "sqlite")]
pub(crate) fn needs_lookups_below(options: &Options) -> bool {
    options.needs_lookups_below()
}
