use std::{convert::Infallible, sync::Arc};

use shape_meta_core::{Observer, Result};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use shape_meta_core::{
    RefreshReport, Seq, Timestamp,
    feed::{Feed, FeedError, FeedOptions, Feeds},
};

/// Without the feature there are no options, and so no cache.
pub(crate) type Options = Infallible;

/// The store itself: there is nothing to cache it with.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) type Cached<S> = S;

pub(crate) fn over<S>(_: S, options: Options, _: bool, _: Arc<dyn Observer>) -> Result<S> {
    match options {}
}

pub(crate) fn needs_indexes_below(options: &Options) -> bool {
    match *options {}
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn refresh<S>(_: &Cached<S>, _: &Feeds) -> Result<RefreshReport> {
    Ok(RefreshReport::default())
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn subscribe<S>(_: &Cached<S>, _: &Arc<Feeds>, _: &FeedOptions) -> Result<Feed, FeedError> {
    Err(FeedError::Closed)
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn merge_saved_reads<S>(_: &Cached<S>, _: impl Fn(Seq) -> Option<Timestamp>) -> Result<()> {
    Ok(())
}
