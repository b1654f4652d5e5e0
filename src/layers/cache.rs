use std::sync::Arc;

use shape_meta_core::{Observer, Result, ShapeStore};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use shape_meta_core::{
    RefreshReport, Seq, Timestamp,
    feed::{Feed, FeedError, FeedOptions, Feeds},
};

pub(crate) use shape_meta_cache::{CacheOptions as Options, Cached};

pub(crate) fn over<S: ShapeStore>(
    store: S,
    options: Options,
    below_buffer: bool,
    observer: Arc<dyn Observer>,
) -> Result<Cached<S>> {
    if below_buffer {
        Cached::open_below_buffer(store, options, observer)
    } else {
        Cached::open(store, options, observer)
    }
}

pub(crate) fn needs_indexes_below(options: &Options) -> bool {
    options.needs_indexes_below()
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn refresh<S: ShapeStore>(cached: &Cached<S>, feeds: &Feeds) -> Result<RefreshReport> {
    cached.refresh_feeding(feeds)
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn subscribe<S: ShapeStore>(
    cached: &Cached<S>,
    feeds: &Arc<Feeds>,
    options: &FeedOptions,
) -> Result<Feed, FeedError> {
    cached.subscribe(feeds, options)
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn merge_saved_reads<S: ShapeStore>(
    cached: &Cached<S>,
    first_seen_at: impl Fn(Seq) -> Option<Timestamp>,
) -> Result<()> {
    cached.merge_saved_reads(first_seen_at)
}
