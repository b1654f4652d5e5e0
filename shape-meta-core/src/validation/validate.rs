use std::sync::Arc;

use crate::{Change, Entry, Handle, Mutation, NewShape, ReadShapes, Refusal, Result, Seq, SnapshotState};

/// The live shapes that decide whether a mutation is valid.
#[derive(Clone, Debug, Default)]
pub struct Existing {
    /// The shape with the handle of the mutation, and its snapshot state.
    pub by_handle: Option<(Arc<Entry>, SnapshotState)>,
    /// The handle of the shape with the key of the mutation. Only an add needs it.
    pub by_key: Option<Handle>,
}

impl Existing {
    /// Looks up in this store what the mutation needs.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn of(mutation: &Mutation, store: &(impl ReadShapes + ?Sized)) -> Result<Self> {
        let mut existing = Self::default();
        if let Some(handle) = mutation.handle() {
            existing.by_handle = store.entry(handle)?.map(|entry| {
                let state = entry.state();
                (entry, state)
            });
        }
        if let Mutation::Add(shape) = mutation {
            existing.by_key = store.handle_for(&shape.key)?;
        }
        Ok(existing)
    }
}

/// Turns a mutation into a change with sequence number `seq`, or refuses it. Returns `None` if the mutation
/// has no effect. The rules of C2 to C4 are implemented here and nowhere else.
///
/// Sizes are checked before, by [`Limits::check`](crate::Limits::check). Whether a shape was read is decided
/// last, by [`ShapeStore::claim_unread`](crate::ShapeStore::claim_unread).
///
/// # Errors
///
/// The refusal. Nothing has changed.
pub fn validate(mutation: &Mutation, existing: Existing, seq: Seq) -> Result<Option<Change>, Refusal> {
    match mutation {
        Mutation::Add(shape) => {
            validate_add(shape, existing)?;
            let record = Arc::new(shape.record(seq));
            Ok(Some(Change::Add { record, state: SnapshotState::Pending }))
        }
        Mutation::Remove(handle) => remove(handle, None, existing),
        Mutation::RemoveUnread { handle, shape, .. } => remove(handle, *shape, existing),
        Mutation::Mark(handle, state) => match existing.by_handle {
            Some((_, now)) if now >= *state => Ok(None),
            Some((entry, _)) => Ok(Some(Change::Mark { entry, state: *state })),
            None => Err(Refusal::unknown(handle)),
        },
        // Its shapes are selected by the layer, and each is removed.
        Mutation::RemoveAll(_) => Ok(None),
        Mutation::Reset => Ok(Some(Change::Reset)),
    }
}

fn remove(handle: &str, shape: Option<Seq>, existing: Existing) -> Result<Option<Change>, Refusal> {
    match existing.by_handle {
        Some((entry, _)) if shape.is_none_or(|shape| shape == entry.created()) => {
            Ok(Some(Change::Remove { entry }))
        }
        _ => Err(Refusal::unknown(handle)),
    }
}

/// Checks whether a shape can be added, as [`validate`] does; for callers that build the record beforehand.
///
/// # Errors
///
/// The refusal. Nothing has changed.
pub fn validate_add(shape: &NewShape, existing: Existing) -> Result<(), Refusal> {
    if let Some(held_by) = existing.by_key {
        return Err(Refusal::DuplicateKey { key: shape.key, held_by });
    }
    if existing.by_handle.is_some() {
        return Err(Refusal::DuplicateHandle { handle: shape.handle.clone() });
    }
    Ok(())
}
