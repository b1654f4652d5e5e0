use std::sync::Arc;

use shape_meta_core::{ApplyChanges, Observer, Result};
#[cfg(feature = "sqlite")]
use shape_meta_core::{Refreshed, Seq, Timestamp};

pub(crate) use shape_meta_cache::{CacheOptions as Options, Cached};

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

#[cfg(feature = "sqlite")]
pub(crate) fn refresh<S: ApplyChanges>(cached: &Cached<S>) -> Result<Refreshed> {
    cached.refresh()
}

#[cfg(feature = "sqlite")]
pub(crate) fn learn_reads<S: ApplyChanges>(
    cached: &Cached<S>,
    found: impl Fn(Seq) -> Option<Timestamp>,
) -> Result<()> {
    cached.learn_reads(found)
}
