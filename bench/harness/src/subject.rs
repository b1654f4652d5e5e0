//! What the workloads are run on.

mod bare_map;
mod bare_sqlite;
mod copy;
mod ours;

use std::path::Path;

use shape_meta::{Handle, Key, NewShape, Relation, ShapeMeta};

use crate::Result;
pub(crate) use bare_map::BareMap;
pub(crate) use bare_sqlite::BareSqlite;
pub(crate) use copy::Copy;
pub(crate) use ours::{DIRECT, FULL, Ours, compositions};

/// What a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A composition of shape-meta.
    Composition,
    /// Somebody else's way to do the same.
    Peer,
    /// The part of the work that nobody can avoid. It need not be able to do the rest.
    Limit,
}

/// Something that keeps shapes with three ways to them: by handle, by key, by relation.
pub trait Candidate: Send + Sync {
    /// Short and the same in every run.
    fn name(&self) -> &'static str;

    /// In a line or two: what it is made of, when a change is visible, and when it is on disk.
    fn about(&self) -> &'static str;

    /// What it is.
    fn kind(&self) -> Kind;

    /// Opens what is in this directory, or begins it there. Room for `expected` shapes may be made ahead.
    fn open(&self, directory: &Path, expected: u64) -> Result<Box<dyn Subject>>;
}

/// An open store that is measured. Dropping it closes it.
pub trait Subject: Send + Sync {
    /// A client's access to it, for one thread.
    fn client(&self) -> Result<Box<dyn Client + '_>>;

    /// Adds these shapes with their snapshots complete, in the largest batches that suit it.
    fn fill(&self, shapes: &[NewShape]) -> Result;

    /// Returns when everything acknowledged is on disk, such that it survives a loss of power.
    fn flush(&self) -> Result;

    /// The store, if it is one of ours.
    fn ours(&self) -> Option<&ShapeMeta> {
        None
    }
}

/// The small facts about a shape that every request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The check of the definition.
    pub hash: u64,
    /// Bits: 1 started, 2 complete.
    pub state: u8,
}

/// What one client of a store can do. A limit can only do what it is the limit of.
pub trait Client {
    /// Adds a shape: when this has returned, every client sees it.
    fn add(&mut self, shape: NewShape) -> Result {
        let _ = shape;
        cannot()
    }

    /// Removes a shape that is there.
    fn remove(&mut self, handle: &str) -> Result {
        let _ = handle;
        cannot()
    }

    /// The small facts about the shape with this handle.
    fn facts(&mut self, handle: &str) -> Result<Option<Facts>> {
        let _ = handle;
        cannot()
    }

    /// The handle of the shape with this key.
    fn handle_for(&mut self, key: &Key) -> Result<Option<Handle>> {
        let _ = key;
        cannot()
    }

    /// How many bytes the definition has. They are read and made the caller's own.
    fn definition(&mut self, handle: &str) -> Result<Option<usize>> {
        let _ = handle;
        cannot()
    }

    /// The handles of all shapes that read any of these relations, each once.
    fn handles_for_relations(&mut self, relations: &[Relation]) -> Result<Vec<Handle>> {
        let _ = relations;
        cannot()
    }
}

fn cannot<T>() -> Result<T> {
    Err("this candidate cannot do that".into())
}
