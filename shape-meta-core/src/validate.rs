use std::sync::Arc;

use crate::{Change, Entry, Handle, Mutation, NewShape, ReadShapes, Refusal, Result, Seq, SnapshotState};

/// What is live, as far as one mutation has to know.
#[derive(Clone, Debug, Default)]
pub struct Existing {
    /// The shape that has the handle of the mutation, and its state.
    pub by_handle: Option<(Arc<Entry>, SnapshotState)>,
    /// The handle of the shape that has the key of the mutation. Only an add has to know it.
    pub by_key: Option<Handle>,
}

impl Existing {
    /// Asks this store what the mutation has to know.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn of(mutation: &Mutation, store: &(impl ReadShapes + ?Sized)) -> Result<Self> {
        let mut found = Self::default();
        if let Some(handle) = mutation.handle() {
            found.by_handle = store.entry(handle)?.map(|entry| {
                let state = entry.state();
                (entry, state)
            });
        }
        if let Mutation::Add(shape) = mutation {
            found.by_key = store.handle_for(&shape.key)?;
        }
        Ok(found)
    }
}

/// Turns a mutation into the change that it makes, or refuses it: the one place where the rules C2 to C4
/// stand. `None` says that things are so already, and nothing needs to change.
///
/// Sizes have been checked before, by [`Limits::check`](crate::Limits::check).
///
/// # Errors
///
/// The refusal; nothing has changed.
pub fn validate(mutation: &Mutation, found: Existing, seq: Seq) -> Result<Option<Change>, Refusal> {
    match mutation {
        Mutation::Add(shape) => {
            validate_add(shape, found)?;
            let record = Arc::new(shape.record(seq));
            Ok(Some(Change::Add { record, state: SnapshotState::Pending }))
        }
        Mutation::Remove(handle) => match found.by_handle {
            Some((entry, _)) => Ok(Some(Change::Remove { entry })),
            None => Err(Refusal::unknown(handle)),
        },
        Mutation::Mark(handle, state) => match found.by_handle {
            Some((_, now)) if now >= *state => Ok(None),
            Some((entry, _)) => Ok(Some(Change::Mark { entry, state: *state })),
            None => Err(Refusal::unknown(handle)),
        },
        Mutation::Reset => Ok(Some(Change::Reset)),
    }
}

/// Whether a shape may be added: what [`validate`] asks of an add, for those who make the record ahead.
///
/// # Errors
///
/// The refusal; nothing has changed.
pub fn validate_add(shape: &NewShape, found: Existing) -> Result<(), Refusal> {
    if let Some(held_by) = found.by_key {
        return Err(Refusal::DuplicateKey { key: shape.key, held_by });
    }
    if found.by_handle.is_some() {
        return Err(Refusal::DuplicateHandle { handle: shape.handle.clone() });
    }
    Ok(())
}
