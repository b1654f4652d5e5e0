use std::{convert::Infallible, sync::Arc};

use shape_meta_core::{Limits, Observer, Result, StoreControl, feed::Feeds};

/// Without the feature there are no options, and so no buffer.
pub(crate) type Options = Infallible;

pub(crate) fn flushes_in_background(options: &Options) -> bool {
    match *options {}
}

pub(crate) fn with_creation_counts_as_read(options: Options, _: Option<bool>) -> Options {
    options
}

pub(crate) fn over<S>(
    _: S,
    options: Options,
    _: Limits,
    _: Arc<dyn Observer>,
    _: Arc<Feeds>,
) -> Result<Box<dyn StoreControl>> {
    match options {}
}
