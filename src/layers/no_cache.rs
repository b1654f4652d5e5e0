use std::{convert::Infallible, sync::Arc};

use shape_meta_core::{Observer, Result};

/// Nobody can ask for a cache.
pub(crate) type Options = Infallible;

pub(crate) fn over<S>(_: S, options: Options, _: bool, _: Arc<dyn Observer>) -> Result<S> {
    match options {}
}

#[cfg(feature = "sqlite")]
pub(crate) fn needs_lookups_below(options: &Options) -> bool {
    match *options {}
}
