use crate::{Handle, MutateError, MutateShapes, Mutation, Refusal, Timestamp};

/// Removes a shape unless it was read after `last_read`. Returns whether it did. Never waits for capacity: a
/// removal that is refused is tried again by a later step.
pub(super) fn remove_if_unread<S: MutateShapes + ?Sized>(
    store: &S,
    handle: &Handle,
    last_read: Timestamp,
) -> Result<bool, MutateError> {
    // Another shape that has got the handle since the search was not read yet, or was read later.
    let found = store.metadata(handle)?.filter(|metadata| metadata.last_read.is_some());
    let Some(found) = found else { return Ok(false) };
    let since = Timestamp::from_micros(last_read.as_micros().saturating_add(1));
    // The same holds for one that gets the handle from here on.
    let shape = Some(found.created);
    match store.try_mutate(&Mutation::RemoveUnread { handle: handle.to_string(), since, shape }) {
        Ok(_) => Ok(true),
        Err(MutateError::Refused(Refusal::ReadSince { .. } | Refusal::UnknownHandle { .. })) => Ok(false),
        Err(other) => Err(other),
    }
}
