use crate::{Handle, MutateError, MutateShapes, MutateShapesExt, Timestamp, Wait};

/// Removes a shape unless it was read after `last_read`. Returns whether it did. Never waits for capacity: a
/// removal that is refused is tried again by a later step.
pub(super) fn remove_if_unread<S: MutateShapes + ?Sized>(
    store: &S,
    handle: &Handle,
    last_read: Timestamp,
) -> Result<bool, MutateError> {
    // Another shape that has got the handle since the search was not read yet.
    if store.metadata(handle)?.is_none_or(|metadata| metadata.last_read.is_none()) {
        return Ok(false);
    }
    let since = Timestamp::from_micros(last_read.as_micros().saturating_add(1));
    Ok(store.remove_if_unread_since(handle, since, Wait::No)?.is_some())
}
