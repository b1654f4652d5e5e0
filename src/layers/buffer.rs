use std::sync::Arc;

use shape_meta_buffer::Buffered;
use shape_meta_core::{Limits, Observer, Result, ShapeStore, StoreControl, feed::Feeds};

pub(crate) use shape_meta_buffer::BufferOptions as Options;

pub(crate) fn flushes_in_background(options: &Options) -> bool {
    options.flushes_in_background()
}

pub(crate) fn with_creation_counts_as_read(options: Options, counts: Option<bool>) -> Options {
    match counts {
        Some(counts) => options.creation_counts_as_read(counts),
        None => options,
    }
}

pub(crate) fn over<S: ShapeStore + 'static>(
    store: S,
    options: Options,
    limits: Limits,
    observer: Arc<dyn Observer>,
    feeds: Arc<Feeds>,
) -> Result<Box<dyn StoreControl>> {
    Ok(Box::new(Buffered::with_feeds(store, options.limits(limits), observer, feeds)?))
}
