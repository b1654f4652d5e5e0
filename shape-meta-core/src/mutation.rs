use std::sync::Arc;

use crate::{Definition, DefinitionHash, Entry, Handle, Key, Record, Relations, Seq, SnapshotState};

/// A shape that a caller wants to exist: all of a record but its place in the order.
///
/// Cloning it is cheap: the definition is shared.
#[derive(Clone, Debug)]
pub struct NewShape {
    /// The handle that the shape shall have.
    pub handle: Handle,
    /// The identity of the definition.
    pub key: Key,
    /// The check of the definition.
    pub hash: DefinitionHash,
    /// The tables that it reads.
    pub relations: Relations,
    /// The keys of the definitions that it builds on.
    pub dependencies: Box<[Key]>,
    /// Whether its filter can be answered from an index.
    pub indexed: bool,
    /// The encoded definition.
    pub definition: Arc<[u8]>,
}

impl NewShape {
    /// The shape of this definition under this handle. Computes the key and encodes the definition: do
    /// it outside of whatever is contended.
    pub fn of(handle: Handle, definition: &impl Definition) -> Self {
        Self {
            handle,
            key: definition.key(),
            hash: definition.hash(),
            relations: definition.relations().into(),
            dependencies: definition.dependencies().into(),
            indexed: definition.is_indexed(),
            definition: definition.encode().into(),
        }
    }

    /// The record that this shape becomes at its place in the order.
    pub fn record(&self, created: Seq) -> Record {
        Record {
            entry: Arc::new(Entry::new(
                created,
                self.handle.clone(),
                self.key,
                self.hash,
                self.relations.clone(),
                self.indexed,
            )),
            dependencies: self.dependencies.clone(),
            definition: Arc::clone(&self.definition),
        }
    }
}

/// An intent: what a caller asks for. Validation turns it into a [`Change`](crate::Change), or refuses it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Mutation {
    /// Make a new shape. Refused if its handle or its key is live.
    Add(NewShape),
    /// Remove the shape with this handle. Handle and key are free at once. Refused if unknown.
    Remove(String),
    /// Move the snapshot state of this handle forward to [`SnapshotState::Started`] or
    /// [`SnapshotState::Complete`]. Refused if unknown; asking for what is so already changes nothing.
    Mark(String, SnapshotState),
    /// Remove every shape.
    Reset,
}

impl Mutation {
    /// Removes the shape with this handle.
    pub fn remove(handle: impl Into<String>) -> Self {
        Self::Remove(handle.into())
    }

    /// The snapshot of this handle has begun.
    pub fn snapshot_started(handle: impl Into<String>) -> Self {
        Self::Mark(handle.into(), SnapshotState::Started)
    }

    /// The snapshot of this handle is whole.
    pub fn snapshot_complete(handle: impl Into<String>) -> Self {
        Self::Mark(handle.into(), SnapshotState::Complete)
    }

    /// The handle that this mutation is about.
    pub fn handle(&self) -> Option<&str> {
        match self {
            Self::Add(shape) => Some(&shape.handle),
            Self::Remove(handle) | Self::Mark(handle, _) => Some(handle),
            Self::Reset => None,
        }
    }
}
