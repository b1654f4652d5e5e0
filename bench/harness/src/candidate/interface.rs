use std::path::Path;

use shape_meta::{Handle, Key, NewShape, Relation, ShapeMeta};

use crate::error::Result;

/// The kind of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A composition of shape-meta.
    Composition,
    /// Another store with the same operations.
    Peer,
    /// The unavoidable part of the work. It need not support other operations.
    Limit,
}

/// A way to keep shapes with three access paths: by handle, by key and by relation.
pub trait Candidate: Send + Sync {
    /// Returns the short name, which is the same in every run.
    fn name(&self) -> &'static str;

    /// Returns a description in one or two lines: its parts, when a change is visible, and when it is on
    /// disk.
    fn about(&self) -> &'static str;

    /// Returns the kind.
    fn kind(&self) -> Kind;

    /// Returns whether it keeps the shapes in PostgreSQL, in the [schema](crate::Schema) of its directory.
    fn is_over_postgres(&self) -> bool {
        false
    }

    /// Opens or creates a store in this directory. It may allocate capacity for `expected` shapes.
    fn open(&self, directory: &Path, expected: u64) -> Result<Box<dyn Store>>;
}

/// An open store. Dropping it closes it.
pub trait Store: Send + Sync {
    /// Returns the access of one client, for one thread.
    fn client(&self) -> Result<Box<dyn Client + '_>>;

    /// Adds these shapes with complete snapshots, in the batch size that is best for the store.
    fn fill(&self, shapes: &[NewShape]) -> Result;

    /// Waits until every acknowledged change is durable across a power loss.
    fn flush(&self) -> Result;

    /// Returns the store if it is a composition of shape-meta.
    fn shape_meta(&self) -> Option<&ShapeMeta> {
        None
    }
}

/// The metadata of a shape that every request reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The hash of the definition.
    pub hash: u64,
    /// The snapshot state as bits: 1 started, 2 complete.
    pub state: u8,
}

/// The operations of one client. A limit supports only those that it is the limit of.
pub trait Client {
    /// Adds a shape. Every client sees it after this returns.
    fn add(&mut self, shape: NewShape) -> Result {
        let _ = shape;
        unsupported()
    }

    /// Adds a shape, and returns when it is durable across a power loss. The default is that of a store in
    /// which every add is.
    fn add_durable(&mut self, shape: NewShape) -> Result {
        self.add(shape)
    }

    /// Removes a live shape.
    fn remove(&mut self, handle: &str) -> Result {
        let _ = handle;
        unsupported()
    }

    /// Returns the metadata of the shape with this handle.
    fn facts(&mut self, handle: &str) -> Result<Option<Facts>> {
        let _ = handle;
        unsupported()
    }

    /// Returns the handle of the shape with this key.
    fn handle_for(&mut self, key: &Key) -> Result<Option<Handle>> {
        let _ = key;
        unsupported()
    }

    /// Reads a copy of the definition, and returns its size in bytes.
    fn definition(&mut self, handle: &str) -> Result<Option<usize>> {
        let _ = handle;
        unsupported()
    }

    /// Returns the handles of all shapes that read any of these relations, without duplicates.
    fn handles_for_relations(&mut self, relations: &[Relation]) -> Result<Vec<Handle>> {
        let _ = relations;
        unsupported()
    }
}

pub(super) fn unsupported<T>() -> Result<T> {
    Err("the candidate does not support this operation".into())
}
