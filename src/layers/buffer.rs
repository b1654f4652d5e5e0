use std::sync::Arc;

use shape_meta_buffer::Buffered;
use shape_meta_core::{ApplyChanges, ControlWrites, Limits, Observer, Result};

pub(crate) use shape_meta_buffer::BufferOptions as Options;

pub(crate) fn over<S: ApplyChanges + 'static>(
    store: S,
    options: Options,
    limits: Limits,
    observer: Arc<dyn Observer>,
) -> Result<Box<dyn ControlWrites>> {
    Ok(Box::new(Buffered::new(store, options.limits(limits), observer)?))
}
